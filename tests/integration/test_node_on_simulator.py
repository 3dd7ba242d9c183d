"""Being a node, against a simulated API server and a platform that may be away."""

from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.node.run import run_node
from kraftlet_trio.node.settings import NodeSettings
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator

SETTINGS = NodeSettings(name="cloudy", version="0.1.0", internal_ip="192.0.2.7")
OURS = {"key": "virtual-kubelet.io/provider", "value": "ukc", "effect": "NoSchedule"}


class Platform:
    """Health and quotas, as told by the test."""

    def __init__(self):
        self.status = 200
        self.silent = False
        self.checks = {"images": "healthy"}
        self.quotas = [
            {
                "hard": {
                    "instances": 8,
                    "live_vcpus": 4,
                    "live_memory_mb": 2048,
                    "total_volume_mb": 512,
                },
                "used": {"instances": 1},
            }
        ]

    async def handle(self, request):
        if self.silent:
            await trio.sleep_forever()
        if self.status != 200:
            return Response(status=self.status)
        data = {"checks": self.checks}
        if request.path == "/v1/users/quotas":
            data = {"quotas": self.quotas}
        return json_response({"status": "success", "data": data})


@attrs.define
class Bed:
    """A cluster and a platform; ``node`` runs the node between them."""

    cluster: KubernetesSimulator
    platform: Platform
    requests: list
    events: EventRecorder = attrs.field(factory=lambda: EventRecorder("kraftlet", "cloudy"))

    @property
    def writes(self):
        return [r for r in self.requests if r.method != "GET" and "/nodes" in r.path]

    def get(self):
        return self.cluster.get("nodes", "cloudy")

    def condition(self, kind):
        return next(c for c in self.get()["status"]["conditions"] if c["type"] == kind)

    @asynccontextmanager
    async def node(self, settings=SETTINGS):
        async def handle(request):
            self.requests.append(request)
            return await self.cluster.handle(request)

        async with (
            trio.open_nursery() as streams,
            KubernetesClient(
                ClusterAccess(server="http://kubernetes.test"),
                transport=MemoryTransport(handle, streams),
            ) as kubernetes,
            CloudClient(
                CloudAccess(base_url="http://cloud.test", token=lambda: "t"),
                transport=MemoryTransport(self.platform.handle, streams),
            ) as cloud,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self.events.post_forever, kubernetes)
            await nursery.start(
                partial(run_node, kubernetes, cloud, settings, self.events, Store(), Doorbell())
            )
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()


@pytest.fixture
async def world():
    return Bed(KubernetesSimulator(), Platform(), [])


async def test_started_node_is_registered_ready_and_alive(autojump_clock, world):
    async with world.node():
        node = world.get()
        assert node["metadata"]["labels"]["kubernetes.io/role"] == "agent"
        assert node["spec"]["providerID"] == "unikraft://cloudy"
        assert OURS in node["spec"]["taints"]
        assert node["status"]["capacity"]["pods"] == "8"
        assert node["status"]["addresses"] == [{"type": "InternalIP", "address": "192.0.2.7"}]
        assert node["status"]["conditions"][-1]["type"] == "Ready"
        assert world.condition("Ready")["status"] == "True"
        await trio.sleep(15)
        lease = world.cluster.get("leases", "cloudy", "kube-node-lease")
        assert lease["spec"]["holderIdentity"] == "cloudy"
        assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
        reasons = {event["reason"] for event in world.cluster.objects("events")}
        assert reasons == {"NodeReady"}


async def test_quiet_node_reports_every_five_minutes_only(autojump_clock, world):
    async with world.node():
        await trio.sleep(1)
        world.requests.clear()
        await trio.sleep(900)
        assert len(world.writes) == 3
        first = world.condition("Ready")
        await trio.sleep(300)
        later = world.condition("Ready")
        assert later["lastHeartbeatTime"] > first["lastHeartbeatTime"]
        assert later["lastTransitionTime"] == first["lastTransitionTime"]


async def test_changed_quota_shows_within_one_look(autojump_clock, world):
    async with world.node():
        world.platform.quotas[0]["hard"]["live_vcpus"] = 16
        world.platform.quotas[0]["used"]["total_volume_mb"] = 512
        await trio.sleep(11)
        assert world.get()["status"]["allocatable"]["cpu"] == "16"
        assert world.condition("DiskPressure")["status"] == "True"


@pytest.mark.parametrize("fault", ["silent", "broken"])
async def test_outage_shows_after_a_while_and_its_end_at_once(autojump_clock, world, fault):
    async with world.node():
        world.platform.silent = fault == "silent"
        world.platform.status = 503 if fault == "broken" else 200
        await trio.sleep(19)
        assert world.condition("Ready")["status"] == "True"
        await trio.sleep(50)
        assert world.condition("Ready")["status"] == "False"
        assert world.condition("Ready")["reason"] == "KubeletNotReady"
        assert world.get()["status"]["capacity"]["pods"] == "8"
        world.requests.clear()
        await trio.sleep(120)
        assert len(world.writes) == 0
        world.platform.silent, world.platform.status = False, 200
        await trio.sleep(25)
        assert world.condition("Ready")["status"] == "True"


async def test_refused_token_is_what_the_node_says(autojump_clock, world):
    world.platform.status = 401
    async with world.node():
        ready = world.condition("Ready")
        assert (ready["status"], ready["reason"]) == ("False", "CloudUnauthorized")
        assert "token" in ready["message"]


async def test_degraded_platform_keeps_the_node_ready(autojump_clock, world):
    async with world.node():
        world.platform.checks = {"systemd": "degraded"}
        await trio.sleep(60)
        assert world.condition("Ready")["status"] == "True"
        assert world.condition("UnikraftPlatformHealthy")["status"] == "False"


async def test_account_without_quotas_offers_the_fallback_and_says_so_once(autojump_clock, world):
    world.platform.quotas = []
    async with world.node():
        assert world.get()["status"]["capacity"]["pods"] == "64"
        await trio.sleep(60)
        [event] = [e for e in world.cluster.objects("events") if e["reason"] == "NoQuota"]
        assert event["count"] == 1
        assert "cpu, memory, pods" in event["message"]


async def test_deleted_node_is_registered_again(autojump_clock, world):
    async with world.node():
        before = world.get()
        world.cluster.delete(before)
        await trio.sleep(2)
        after = world.get()
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert world.condition("Ready")["status"] == "True"
        await trio.sleep(12)
        lease = world.cluster.get("leases", "cloudy", "kube-node-lease")
        assert lease["metadata"]["ownerReferences"][0]["uid"] == after["metadata"]["uid"]


async def test_node_deleted_again_and_again_meets_a_slower_hand(autojump_clock, world):
    async with world.node():
        with trio.move_on_after(60):
            while True:
                if nodes := world.cluster.objects("nodes"):
                    world.cluster.delete(nodes[0])
                await trio.sleep(0.05)
        created = [r for r in world.writes if r.method == "POST"]
        assert len(created) < 20


async def test_condition_written_over_by_the_control_plane_is_put_right(autojump_clock, world):
    async with world.node():
        await trio.sleep(20)

        def give_up(node):
            for condition in node["status"]["conditions"]:
                condition.update(status="Unknown", reason="NodeStatusUnknown")
            node["status"]["conditions"].append({"type": "NetworkUnavailable", "status": "False"})
            return node

        world.cluster.change("nodes", "cloudy", give_up, subresource="status")
        await trio.sleep(1)
        assert world.condition("Ready")["status"] == "True"
        assert world.condition("NetworkUnavailable")["status"] == "False"


async def test_existing_node_is_adopted_and_what_is_foreign_survives(autojump_clock, world):
    foreign = {"key": "foreign", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    world.cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "cloudy", "labels": {"foreign": "x"}},
            "spec": {"taints": [foreign]},
        }
    )
    async with world.node():
        node = world.get()
        assert node["metadata"]["labels"]["foreign"] == "x"
        assert node["metadata"]["labels"]["type"] == "kubelet"
        assert foreign in node["spec"]["taints"]
        assert OURS in node["spec"]["taints"]
    async with world.node(attrs.evolve(SETTINGS, taint=None)):
        taints = world.get()["spec"]["taints"]
        assert foreign in taints
        assert OURS not in taints


async def test_restart_with_the_same_settings_writes_no_more_than_a_status(autojump_clock, world):
    async with world.node():
        pass
    world.requests.clear()
    async with world.node():
        assert [(r.method, r.path) for r in world.writes] == [
            ("POST", "/api/v1/nodes"),
            ("PATCH", "/api/v1/nodes/cloudy/status"),
        ]

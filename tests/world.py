"""A whole world in memory: both simulators, and a daemon that can be killed and started again.

Run it under ``MockClock``: nothing of it waits for real time, and there is no socket.
"""

from __future__ import annotations

import random
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any

import attrs
import orjson
import structlog
import trio
from structlog.typing import EventDict
from trio.testing import MockClock

from kraftlet_trio import clock
from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.daemon import run_daemon
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import Handler, Request
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.registry.client import RegistryClient
from kraftlet_trio.settings import Settings, parse_settings
from kraftlet_trio.simulators.cloud import records
from kraftlet_trio.simulators.cloud.images import ImageCatalogue, ImageEntry
from kraftlet_trio.simulators.cloud.runtime import Exited
from kraftlet_trio.simulators.cloud.runtime_virtual import VirtualRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from kraftlet_trio.simulators.kubernetes.errors import ApiError
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from kraftlet_trio.simulators.registry import RegistrySimulator
from tests.manifests import NODE, Json
from tests.monitor import Monitor
from tests.wire import Disturbances, Exchange, Life, Wire

TOKEN = "token"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
Plan = Callable[[Life], None]


class Scripts(ImageCatalogue):
    """What instances of an image do, as the test says; all others run until they are stopped."""

    def put(self, image: str, entry: ImageEntry) -> None:
        self._entries[image] = entry


def settings(**options: str) -> Settings:
    parsed = parse_settings(
        {
            "ukc_default_metro": "http://cloud.test",
            "ukc_token": TOKEN,
            "node_name": NODE,
            "node_internal_ip": "192.0.2.1",
            **options,
        }
    )
    return attrs.evolve(parsed, kubelet_api=None)


@attrs.define(eq=False, repr=False)
class World:
    """Both simulators, and the daemon between them."""

    cluster: KubernetesSimulator
    cloud: CloudSimulator
    scripts: Scripts
    monitor: Monitor
    settings: Settings
    _nursery: trio.Nursery
    registry: RegistrySimulator = attrs.field(factory=RegistrySimulator)
    """Whatever registry an image names, it is this one."""
    cluster_faults: Disturbances = attrs.field(factory=Disturbances)
    """Strike what the daemon asks of the API server, and nobody else."""
    cloud_faults: Disturbances = attrs.field(factory=Disturbances)
    exchanges: list[Exchange] = attrs.field(factory=list)
    """All requests of the daemon, in all of its lives."""
    life: Life | None = None
    """The present one."""
    ports: dict[int, Handler] = attrs.field(factory=dict)
    """What answers on the daemon's ports, where its settings open some."""
    tls: dict[int, Callable[[], ssl.SSLContext]] = attrs.field(factory=dict)
    """Of those ports that have any: for a new connection."""
    restart_seconds: float = 1.0
    """From a kill to the next start, where the daemon is kept running."""

    # The daemon

    async def start_daemon(self, **options: str) -> None:
        """Return once the node is registered and Pods are tended.

        With *options* it is another daemon beside the one that there is, as that of a second node.
        """
        self.life = self._new_life(None)
        chosen = settings(**options) if options else self.settings
        await self._nursery.start(self._live_out, self.life, chosen)

    def kill_daemon(self) -> None:
        """End it between two of its checkpoints, with no chance to finish anything."""
        assert self.life is not None
        self.life.kill()

    def keep_daemon_running(self, *plans: Plan) -> None:
        """Start it, and again after each kill; *plans* are for its first lives."""
        upcoming = chain(plans, repeat(None))
        self.life = self._new_life(next(upcoming))
        self._nursery.start_soon(self._live_on, self.life, upcoming)

    async def _live_on(self, life: Life, plans: Iterator[Plan | None]) -> None:
        while True:
            self._nursery.start_soon(self._live_out, life, self.settings)
            await life.killed.wait()
            await trio.sleep(self.restart_seconds)
            life = self.life = self._new_life(next(plans))

    def _new_life(self, plan: Plan | None) -> Life:
        life = Life(self.monitor, self.exchanges)
        if plan is not None:
            plan(life)
        return life

    async def _live_out(
        self,
        life: Life,
        settings: Settings,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        cluster = Wire("kubernetes", self.cluster.handle, self.cluster_faults, life)
        cloud = Wire("cloud", self.cloud.handle, self.cloud_faults, life)
        with life.scope:
            async with trio.open_nursery() as streams:
                access = CloudAccess(base_url=settings.cloud.url, token=lambda: TOKEN)
                async with (
                    KubernetesClient(
                        ClusterAccess(server="http://kubernetes.test"),
                        transport=MemoryTransport(cluster.handle, streams),
                    ) as kubernetes,
                    CloudClient(access, transport=MemoryTransport(cloud.handle, streams)) as client,
                ):
                    registries = RegistryClient(
                        transport=MemoryTransport(self.registry.handle, streams)
                    )
                    await run_daemon(
                        kubernetes,
                        client,
                        settings,
                        registries=registries if settings.registries else None,
                        dial=self.cloud.dial,
                        listen=self._listen,
                        task_status=task_status,
                    )

    async def _listen(
        self,
        handler: Handler,
        *,
        port: int,
        tls: Callable[[], ssl.SSLContext] | None = None,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
        **_: Any,
    ) -> None:
        self.ports[port] = handler
        if tls is not None:
            self.tls[port] = tls
        task_status.started(port)
        await trio.sleep_forever()

    # Manifests

    def apply(self, *manifests: Json) -> None:
        """Create the objects."""
        for manifest in manifests:
            self.cluster.create(manifest)

    def delete(self, *manifests: Json, grace_seconds: int | None = None) -> None:
        """Ask for the objects' deletion; those that are gone are gone."""
        for manifest in manifests:
            try:
                self.cluster.delete(manifest, grace_seconds=grace_seconds)
            except ApiError as error:
                if error.code != 404:
                    raise

    def scale(self, deployment: str, replicas: int) -> None:
        def change(value: Json) -> Json:
            value["spec"]["replicas"] = replicas
            return value

        self.cluster.change("deployments", deployment, change)

    def script(self, image: str, **entry: Any) -> None:
        """What instances of *image* do from their next start on (an ``ImageEntry``'s fields)."""
        self.scripts.put(image, ImageEntry(**entry))

    def end(self, instance: str, exit_code: int = 1) -> None:
        """Let the application of a running instance return."""
        assert isinstance(self.cloud.runtime, VirtualRuntime)
        self.cloud.runtime.end(self.instances()[instance].uuid, Exited(exit_code))

    async def as_account_owner(self, method: str, path: str, body: Any = None) -> Json:
        """Ask the cloud for something past the daemon; what it answers about the first item."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        content = b"" if body is None else orjson.dumps(body)
        response = await self.cloud.handle(
            Request(method=method, path=path, headers=headers, body=content)
        )
        answer = orjson.loads(response.body)
        assert answer["status"] == "success", answer
        [items] = answer["data"].values()
        item: Json = items[0]
        return item

    async def make_foreign_instance(self, name: str, **fields: Any) -> str:
        """An instance that the daemon knows nothing of; its UUID."""
        self.monitor.foreign.add(name)
        body = {"name": name, "image": "foreign:latest", "memory_mb": 128, **fields}
        uuid: str = (await self.as_account_owner("POST", "/v1/instances", body))["uuid"]
        return uuid

    async def delete_foreign_instance(self, uuid: str) -> None:
        names = {one.name for one in self.cloud.account.instances if one.uuid == uuid}
        await self.as_account_owner("DELETE", f"/v1/instances/{uuid}")
        self.monitor.foreign -= names

    # What there is

    def pods(self) -> list[Json]:
        return self.cluster.objects("pods")

    def pod_names(self) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.pods()}

    def pod(self, name: str = "web", namespace: str = "default") -> Json | None:
        try:
            return self.cluster.get("pods", name, namespace)
        except ApiError:
            return None

    def phase(self, name: str = "web") -> str:
        """Empty when there is no such Pod."""
        return (self.pod(name) or {}).get("status", {}).get("phase", "")

    def container(self, name: str = "app", pod: str = "web") -> Json:
        """Status of a container; an empty one when there is none."""
        status = (self.pod(pod) or {}).get("status", {})
        every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
        return next((one for one in every if one["name"] == name), {})

    def waits_for(self, name: str = "app", pod: str = "web") -> str:
        """Reason that a container waits for, empty when it doesn't wait."""
        reason: str = (
            self.container(name, pod).get("state", {}).get("waiting", {}).get("reason", "")
        )
        return reason

    def is_ready(self, name: str = "web") -> bool:
        conditions = (self.pod(name) or {}).get("status", {}).get("conditions", ())
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def are_ready(self, count: int) -> bool:
        """Whether there are exactly *count* Pods, and all of them are ready."""
        pods = self.pods()
        return len(pods) == count and all(self.is_ready(pod["metadata"]["name"]) for pod in pods)

    def node_condition(self, kind: str = "Ready") -> str:
        conditions = self.cluster.get("nodes", NODE)["status"].get("conditions", ())
        return next((one["status"] for one in conditions if one["type"] == kind), "")

    def events(self, reason: str) -> list[Json]:
        return [event for event in self.cluster.objects("events") if event["reason"] == reason]

    def instances(self) -> dict[str, records.Instance]:
        """Of the cloud, by name."""
        return {instance.name: instance for instance in self.cloud.account.instances}

    def groups(self) -> dict[str, records.ServiceGroup]:
        """Of the cloud, by name."""
        return {group.name: group for group in self.cloud.account.groups}

    def volumes(self) -> dict[str, records.Volume]:
        """Of the cloud, by name."""
        return {volume.name: volume for volume in self.cloud.account.volumes}

    def published(self) -> dict[str, dict[int, int]]:
        """Ports of each of the cloud's groups: public → the instances'."""
        return {
            name: {port.port: port.destination_port or port.port for port in group.services}
            for name, group in self.groups().items()
        }

    def members(self) -> dict[str, set[str]]:
        """Names of the instances in each of the cloud's groups."""
        return {
            name: {instance.name for instance in group.instances.values()}
            for name, group in self.groups().items()
        }

    def is_empty(self) -> bool:
        """Whether no Pod, claim or volume is left, and nothing in the cloud."""
        account = self.cloud.account
        kinds = ("pods", "persistentvolumeclaims", "persistentvolumes")
        return not any((account.instances, account.groups, account.volumes)) and not any(
            self.cluster.objects(kind) for kind in kinds
        )

    def requests(self, method: str, path: str) -> list[Request]:
        """Those of the daemon, answered or not; *path* is a regular expression for the whole."""
        return [
            one.request
            for one in self.exchanges
            if one.request.method == method and re.fullmatch(path, one.request.path)
        ]

    async def eventually(
        self, condition: Callable[[], Any], *, seconds: float = 60.0, every: float = 0.1
    ) -> Any:
        """Wait until *condition* is true, and return what it said; look so *every* so often."""
        with trio.move_on_after(seconds):
            while not (said := condition()):  # noqa: ASYNC110 (nothing rings when the world changes)
                await trio.sleep(every)
            return said
        raise AssertionError(f"not within {seconds} s: {condition}\n{self.describe()}")

    async def check_quiet(self, *, seconds: float = 300.0) -> None:
        """Wait so long, in which the daemon must not write anything but that its node is alive."""
        # A daemon that died over the last request is up again by then.
        await trio.sleep(10)
        before = len(self.exchanges)
        await trio.sleep(seconds)
        written = [
            one.line
            for one in self.exchanges[before:]
            if one.request.method != "GET" and not re.search("/leases|/nodes/", one.line)
        ]
        assert not written, f"{written}\n{self.describe()}"

    def describe(self) -> str:
        """All that matters for finding out what went wrong."""
        return "\n".join(
            (
                *(f"breach: {breach}" for breach in self.monitor.breaches),
                *map(_pod_line, self.pods()),
                *(
                    f"instance {one.name}: {one.state}, reason {one.stop.reason}, "
                    f"group {one.service_group.name if one.service_group else None}"
                    for one in self.cloud.account.instances
                ),
                *(
                    f"group {name}: {ports}, members {self.members()[name]}"
                    for name, ports in self.published().items()
                ),
                *(f"volume {one.name}: {one.state}" for one in self.cloud.account.volumes),
                "latest writes:",
                *(
                    f"  {one.at:8.2f} {one.status} {one.line} {one.request.body[:200].decode()}"
                    for one in [one for one in self.exchanges if one.is_write][-40:]
                ),
            )
        )


def _pod_line(pod: Json) -> str:
    metadata, status = pod["metadata"], pod.get("status", {})
    states = {
        one["name"]: one["state"]
        for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    }
    return (
        f"Pod {metadata['name']}: {status.get('phase')}, {states}, "
        f"finalizers {metadata.get('finalizers')}, annotations {metadata.get('annotations')}, "
        f"deleted {metadata.get('deletionTimestamp')}"
    )


@contextmanager
def _crashes_noted(monitor: Monitor) -> Iterator[None]:
    """Take what is logged of a Pod actor's bug for a breach."""

    def note(_logger: Any, _method: str, event: EventDict) -> EventDict:
        if event["event"] == "pod actor crashed":
            monitor.broken("a Pod actor crashed")
        return event

    # In place, as structlog's own capture_logs: loggers in use keep their list.
    processors = structlog.get_config()["processors"]
    processors.insert(0, note)
    try:
        yield
    finally:
        processors.remove(note)


@asynccontextmanager
async def a_world(
    cloud_settings: CloudSettings | None = None, **options: str
) -> AsyncIterator[World]:
    """Checks on leaving that nothing was broken at any moment."""
    assert isinstance(trio.lowlevel.current_clock(), MockClock)
    # The wall clock, too, starts where a seed puts it: times are cut to seconds here and there.
    clock._epoch_offset.set(EPOCH.timestamp() + random.random() - trio.current_time())
    async with trio.open_nursery() as nursery:
        cluster = KubernetesSimulator()
        scripts = Scripts({})
        cloud = CloudSimulator(token=TOKEN, images=scripts, settings=cloud_settings)
        chosen = settings(**options)
        monitor = Monitor(cluster, cloud, chosen.pods.finalizer)
        await nursery.start(cluster.run)
        await nursery.start(cloud.run)
        world = World(cluster, cloud, scripts, monitor, chosen, nursery)
        with _crashes_noted(monitor):
            yield world
        assert not monitor.breaches, world.describe()
        nursery.cancel_scope.cancel()

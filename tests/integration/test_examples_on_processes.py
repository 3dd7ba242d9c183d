"""The guide's applications with real processes: the daemon between both simulators, on sockets."""

import ssl
from base64 import b64decode
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
import yaml

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.daemon import run_daemon
from kraftlet_trio.http.server import serve
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import load_kubeconfig
from kraftlet_trio.settings import parse_settings
from kraftlet_trio.simulators.cloud.isolation import Isolation, IsolationUnavailable
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from kraftlet_trio.simulators.kubernetes.command import serve_cluster
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator

TOKEN = "demo"
EXAMPLES = Path(__file__).parents[2] / "examples"


class World:
    def __init__(self, cluster, cloud, http):
        self.cluster = cluster
        self.cloud = cloud
        self.http = http

    def apply(self, example, *kinds):
        for document in documents(example, *kinds):
            self.cluster.create(document)

    def delete(self, example, *kinds):
        for document in documents(example, *kinds):
            self.cluster.delete(document)

    async def until_ready(self, count):
        def ready():
            conditions = [
                {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
                for pod in self.cluster.objects("pods")
            ]
            return [each.get("Ready") for each in conditions] == ["True"] * count

        await self.until(ready)

    async def until(self, condition):
        with trio.fail_after(30):
            while not condition():  # noqa: ASYNC110 - the cluster has no event for it
                await trio.sleep(0.05)

    async def get(self, path):
        response = await self.http.get(path)
        assert response.status_code == 200, response.text
        return response

    async def log_of(self, name):
        [instance] = [one for one in self.cloud.account.instances if one.name == name]
        answer = (await self.get(f"/v1/instances/{instance.uuid}/log")).json()
        return b64decode(answer["data"]["instances"][0]["output"]).decode()


def documents(example, *kinds):
    texts = (EXAMPLES / f"{example}.yaml").read_text("utf-8")
    every = [document for document in yaml.safe_load_all(texts) if document]
    return [one for one in every if not kinds or one["kind"] in kinds]


@asynccontextmanager
async def world_of(runtime, kubeconfig):
    async with trio.open_nursery() as nursery:
        cloud = CloudSimulator(
            token=TOKEN, runtime=runtime, settings=CloudSettings(serve_groups=True)
        )
        await nursery.start(cloud.run)
        port = await nursery.start(partial(serve, cloud.handle, host="127.0.0.1", port=0))
        cluster = KubernetesSimulator()
        await nursery.start(cluster.run)
        await nursery.start(serve_cluster, cluster, "127.0.0.1", 0, kubeconfig)
        url = f"http://127.0.0.1:{port}"
        settings = parse_settings(
            {
                "ukc_default_metro": url,
                "ukc_token": TOKEN,
                "node_internal_ip": "127.0.0.1",
                "addr": "127.0.0.1:0",
                "health_addr": "127.0.0.1:0",
                "pod_status_update_interval": "1s",
            }
        )
        access = CloudAccess(base_url=settings.cloud.url, token=lambda: TOKEN)
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with (
            KubernetesClient(load_kubeconfig(kubeconfig)) as kubernetes,
            CloudClient(access) as client,
            httpx.AsyncClient(base_url=url, headers=headers) as http,
            trio.open_nursery() as daemon,
        ):
            await daemon.start(run_daemon, kubernetes, client, settings)
            yield World(cluster, cloud, http)
            daemon.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


@pytest.fixture(params=["isolated", "shared"])
def runtime(request):
    if request.param == "shared":
        return ProcessRuntime()
    isolation = Isolation()
    try:
        with isolation.opened():
            pass
    except IsolationUnavailable as lack:
        pytest.skip(f"no isolation: {lack}")
    return ProcessRuntime(isolation)


async def test_simple_app_answers_through_its_group_from_three_replicas_in_turn(runtime, tmp_path):
    async with world_of(runtime, tmp_path / "kubeconfig") as world:
        world.apply("simple-app")
        await world.until_ready(3)
        [group] = world.cloud.account.groups
        gateways = (await world.get("/simulator/v1/gateways")).json()
        trust = ssl.create_default_context(cadata=(await world.get("/simulator/v1/ca.pem")).text)
        url = f"https://{gateways[group.name]['443']}"
        headers = {"host": group.domains[0]}
        async with httpx.AsyncClient(base_url=url, verify=trust, headers=headers) as client:
            answers = [await client.get("/") for _ in range(6)]
        assert {answer.status_code for answer in answers} == {200}
        served = [answer.headers["x-instance"] for answer in answers]
        assert served[:3] == served[3:]
        assert Counter(served) == {one.name: 2 for one in world.cloud.account.instances}

        world.delete("simple-app")
        await world.until(lambda: not world.cloud.account.instances)
        await world.until(lambda: not world.cloud.account.groups)
        assert (await world.get("/simulator/v1/gateways")).json() == {}


async def test_what_the_stateful_app_writes_is_there_in_the_next_pod(runtime, tmp_path):
    async with world_of(runtime, tmp_path / "kubeconfig") as world:
        world.apply("stateful-app")
        for starts in (1, 2):
            await world.until_ready(1)
            [instance] = world.cloud.account.instances
            with trio.fail_after(10):
                while (  # noqa: ASYNC110 - a log has no event
                    await world.log_of(instance.name)
                ).count("started at") < starts:
                    await trio.sleep(0.05)
            world.delete("stateful-app", "Pod")
            await world.until(lambda: not world.cloud.account.instances)
            assert not world.cluster.objects("pods")
            world.apply("stateful-app", "Pod")
        world.delete("stateful-app")
        await world.until(lambda: not world.cloud.account.volumes)

"""``kraftlet-trio drain``: a node goes, and nothing of it is left."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.drain import drain
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from tests.manifests import NODE, a_claim, a_container, a_deployment, a_pod, a_service
from tests.world import TOKEN


@asynccontextmanager
async def clients(world):
    """Of a drain: it is no life of the daemon."""
    async with trio.open_nursery() as streams:
        async with (
            KubernetesClient(
                ClusterAccess(server="http://kubernetes.test"),
                transport=MemoryTransport(world.cluster.handle, streams),
            ) as kubernetes,
            CloudClient(
                CloudAccess(base_url=world.settings.cloud.url, token=lambda: TOKEN),
                transport=MemoryTransport(world.cloud.handle, streams),
            ) as cloud,
        ):
            yield kubernetes, cloud
        streams.cancel_scope.cancel()


async def drained(world, *, timeout_seconds=120.0, keep_node=False):
    """What is left, and what it said."""
    said = []
    async with clients(world) as (kubernetes, cloud):
        left = await drain(
            kubernetes,
            cloud,
            world.settings,
            timeout_seconds=timeout_seconds,
            keep_node=keep_node,
            say=said.append,
        )
    return left, "\n".join(said)


async def fill(world):
    await world.start_daemon()
    world.apply(
        a_service("web"),
        a_claim(),
        a_pod("web", a_container(ports=[8080], mounts={"data": "/data"}), claims={"data": "data"}),
        a_pod(
            "own",
            a_container(mounts={"scratch": "/tmp"}),
            volumes=[{"name": "scratch", "emptyDir": {}}],
        ),
    )
    await world.eventually(lambda: world.is_ready("web") and world.is_ready("own"))


def nodes(world):
    return world.cluster.objects("nodes")


def check_empty(world):
    assert not world.pods()
    assert not world.instances()
    assert not world.groups()
    assert world.volumes().keys() == {"data"}, "a claim's volume is the claim's"


async def test_daemon_that_runs_takes_its_pods_down(autojump_clock, world):
    await fill(world)
    left, said = await drained(world)
    assert not left
    assert "a daemon tends node" in said
    check_empty(world)


async def test_without_a_daemon_they_are_taken_down_all_the_same(autojump_clock, world):
    await fill(world)
    world.kill_daemon()
    await trio.sleep(60)
    left, said = await drained(world)
    assert not left
    assert "no daemon tends node" in said
    check_empty(world)
    assert not nodes(world)


async def test_deleted_node_is_drained_of_what_it_left(autojump_clock, world):
    await fill(world)
    world.kill_daemon()
    await trio.sleep(60)
    for node in nodes(world):
        world.delete(node)
    assert not (await drained(world))[0]
    check_empty(world)
    assert not nodes(world)


async def test_no_pod_is_sent_to_a_node_that_is_drained(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_deployment("web", replicas=2))
    await world.eventually(lambda: world.are_ready(2))
    left, _ = await drained(world, keep_node=True)
    assert not left
    [node] = nodes(world)
    assert node["spec"]["unschedulable"]
    await trio.sleep(60)
    assert not world.instances()
    assert all("nodeName" not in pod["spec"] for pod in world.pods())


@pytest.mark.parametrize("timeout_seconds", [5.0, 60.0])
async def test_what_somebody_else_holds_is_named(autojump_clock, world, timeout_seconds):
    await world.start_daemon()
    pod = a_pod("web")
    pod["metadata"]["finalizers"] = ["example.com/audit"]
    world.apply(pod)
    await world.eventually(world.is_ready)
    left, _ = await drained(world, timeout_seconds=timeout_seconds)
    assert "Pod default/web (finalizers example.com/audit" in str(left)
    assert nodes(world), "the Node stays while something of it does"


async def test_node_without_anything_goes_at_once(autojump_clock, world):
    await world.start_daemon()
    began = trio.current_time()
    left, said = await drained(world)
    assert not left
    assert trio.current_time() - began < 5
    assert f"node {NODE} is empty and closed" in said

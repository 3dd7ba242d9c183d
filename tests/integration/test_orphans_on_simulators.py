"""What is left in the cloud of Pods that are gone goes too, after a while; nothing else does."""

from __future__ import annotations

import math

import orjson
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from kraftlet_trio.simulators.cloud.faults import AnswerStatus, DropBefore, Truncate
from tests.manifests import a_claim, a_container, a_pod, a_service
from tests.thoroughness import examples
from tests.world import World, a_world

MINUTE = 60.0


async def committed_late(world: World, name: str = "web") -> str:
    """Run a Pod, and when it is gone let its creation take place once more; the instance's name."""
    world.apply(a_pod(name))
    await world.eventually(lambda: world.is_ready(name))
    [creation] = [
        one
        for one in world.requests("POST", "/v1/instances")
        if orjson.loads(one.body)["name"] == f"{name}-app"
    ]
    world.delete(a_pod(name))
    await world.eventually(lambda: world.pod(name) is None)
    assert f"{name}-app" not in world.instances()
    await world.make_foreign_instance(**orjson.loads(creation.body))
    return f"{name}-app"


async def an_orphaned_volume(world: World, instance: str) -> None:
    """An emptyDir's, of the Pod that the orphaned instance is of."""
    tags = [tag for tag in world.instances()[instance].tags if "container" not in tag]
    world.monitor.foreign.add("scratch")
    body = {"name": "scratch", "size_mb": 10, "tags": [*tags, "k8s.io:volume=scratch"]}
    await world.as_account_owner("POST", "/v1/volumes", body)


def said(world: World, reason: str) -> list[str]:
    """Messages of the node's events with that reason."""
    events = world.events(reason)
    assert all(event["involvedObject"]["kind"] == "Node" for event in events)
    return [event["message"] for event in events]


async def test_an_instance_that_was_committed_late_goes_after_the_grace(autojump_clock, world):
    await world.start_daemon()
    name = await committed_late(world)
    await an_orphaned_volume(world, name)
    await trio.sleep(4.5 * MINUTE)
    assert name in world.instances()
    assert "scratch" in world.volumes()
    await world.eventually(lambda: name not in world.instances(), seconds=3 * MINUTE)
    await world.eventually(lambda: "scratch" not in world.volumes(), seconds=2 * MINUTE)
    messages = sorted(said(world, "OrphanDeleted"))
    assert len(messages) == 2
    assert f"instance {name}" in messages[0]
    # It had its time to end by itself.
    [stop] = world.requests("PUT", "/v1/instances/[^/]*/stop")[1:]
    assert orjson.loads(stop.body)["drain_timeout_ms"] == 30_000


async def test_a_group_goes_with_the_last_orphan_in_it(autojump_clock, world):
    await world.start_daemon()
    name = await committed_late(world)
    group = {"name": "web", "services": [{"port": 443, "destination_port": 8080}]}
    world.monitor.foreign.add("web")
    await world.as_account_owner("POST", "/v1/services", group)
    tags = list(world.instances()[name].tags)
    await world.make_foreign_instance("late", tags=tags, service_group={"name": "web"})
    await world.eventually(lambda: not world.instances(), seconds=10 * MINUTE)
    await world.eventually(lambda: not world.groups())


async def test_a_group_that_others_are_in_stays(autojump_clock, world):
    await world.start_daemon()
    name = await committed_late(world)
    world.apply(a_service(app="other"), a_pod("other"))
    await world.eventually(lambda: world.members().get("web") == {"other-app"})
    tags = list(world.instances()[name].tags)
    await world.make_foreign_instance("late", tags=tags, service_group={"name": "web"})
    await world.eventually(lambda: set(world.instances()) == {"other-app"}, seconds=10 * MINUTE)
    await trio.sleep(MINUTE)
    assert world.members() == {"web": {"other-app"}}


async def test_what_is_not_proven_to_be_an_orphan_of_this_node_stays(autojump_clock, world):
    await world.start_daemon()
    name = await committed_late(world)
    mine = world.instances()[name].tags

    def but(prefix: str, *more: str) -> list[str]:
        return [*(tag for tag in mine if not tag.startswith(prefix)), *more]

    await world.make_foreign_instance("no-pod", tags=but("k8s.io:uid="))
    await world.make_foreign_instance("elsewhere", tags=but("kraftlet:node=", "kraftlet:node=n"))
    await world.make_foreign_instance(
        "clusters", tags=but("kraftlet:cluster=", "kraftlet:cluster=c")
    )
    await world.make_foreign_instance("older", tags=but("kraftlet:cluster="))
    world.monitor.foreign.add("claims")
    claims = {"name": "claims", "size_mb": 10, "tags": but("k8s.io:pod=", "k8s.io:pvc=data")}
    await world.as_account_owner("POST", "/v1/volumes", claims)
    await world.eventually(lambda: name not in world.instances(), seconds=10 * MINUTE)
    await trio.sleep(20 * MINUTE)
    assert set(world.instances()) == {"no-pod", "elsewhere", "clusters", "older"}
    assert set(world.volumes()) == {"claims"}


async def test_a_locked_orphan_stays_until_it_is_unlocked(autojump_clock, world):
    await world.start_daemon()
    name = await committed_late(world)
    uuid = world.instances()[name].uuid

    async def lock(*, locked: bool) -> None:
        patch = [{"uuid": uuid, "prop": "delete_lock", "op": "set", "value": locked}]
        await world.as_account_owner("PATCH", "/v1/instances", patch)

    await lock(locked=True)
    await trio.sleep(30 * MINUTE)
    assert name in world.instances()
    assert len(said(world, "OrphanLocked")) == 1
    await lock(locked=False)
    await world.eventually(lambda: name not in world.instances(), seconds=5 * MINUTE)


async def test_a_dry_run_only_tells(autojump_clock):
    async with a_world(orphan_sweep="dry-run", orphan_grace="10s") as world:
        await world.start_daemon()
        name = await committed_late(world)
        await trio.sleep(MINUTE)
        await world.check_quiet(seconds=10 * MINUTE)
        assert name in world.instances()
        [message] = said(world, "OrphanFound")
        assert name in message


async def test_the_sweeper_can_be_switched_off(autojump_clock):
    async with a_world(orphan_sweep="off", orphan_grace="10s") as world:
        await world.start_daemon()
        name = await committed_late(world)
        await trio.sleep(30 * MINUTE)
        assert name in world.instances()
        assert world.events("OrphanFound") == []


@pytest.mark.parametrize("effect", [DropBefore(), AnswerStatus(403), AnswerStatus(500), Truncate()])
async def test_pods_that_cannot_be_listed_are_not_absent(autojump_clock, world, effect):
    await world.start_daemon()
    name = await committed_late(world)
    world.cluster_faults.add(effect, method="GET", path="/api/v1/pods", times=math.inf)
    await trio.sleep(30 * MINUTE)
    assert name in world.instances()
    world.cluster_faults.clear()
    await world.eventually(lambda: name not in world.instances(), seconds=5 * MINUTE)


async def test_a_daemon_sweeps_what_an_earlier_one_left(autojump_clock):
    async with a_world(pod_finalizer="", orphan_grace="30s") as world:
        await world.start_daemon()
        world.apply(a_pod("web"), a_pod("other"))
        await world.eventually(lambda: world.is_ready("web") and world.is_ready("other"))
        world.kill_daemon()
        world.monitor.foreign.add("web-app")  # for nobody can help its being orphaned meanwhile
        world.delete(a_pod("web"), grace_seconds=0)
        await trio.sleep(1)
        await world.start_daemon()
        await world.eventually(lambda: set(world.instances()) == {"other-app"}, seconds=5 * MINUTE)
        assert world.is_ready("other")


async def test_clusters_may_share_an_account_and_a_node_name(autojump_clock, world):
    async with a_world(orphan_grace="10s") as other:
        other.cloud = world.cloud
        other.monitor.cloud = world.cloud
        await world.start_daemon()
        await other.start_daemon()
        world.apply(a_pod("web"))
        other.apply(a_pod("app"))
        world.monitor.foreign.add("app-app")
        other.monitor.foreign.add("web-app")
        await world.eventually(lambda: world.is_ready("web") and other.is_ready("app"))
        instances = set(world.instances().values())
        await trio.sleep(10 * MINUTE)
        assert set(world.instances().values()) == instances


@settings(max_examples=examples(5), deadline=None)
@given(
    lives=st.lists(st.floats(0, 40), max_size=3),
    outages=st.lists(st.tuples(st.floats(0, 60), st.floats(1, 60)), max_size=3),
    seed=st.random_module(),
)
def test_nothing_living_is_ever_swept(lives, outages, seed):
    async def history() -> None:
        async with a_world(orphan_grace="1s") as world:
            world.restart_seconds = 2.0

            async def kill(after: float) -> None:
                await trio.sleep(after)
                world.kill_daemon()

            async def fail(after: float, seconds: float) -> None:
                await trio.sleep(after)
                world.cluster_faults.add(DropBefore(), method="GET", times=math.inf)
                await trio.sleep(seconds)
                world.cluster_faults.clear()

            world.keep_daemon_running()
            volumes = [{"name": "scratch", "emptyDir": {}}]
            async with trio.open_nursery() as nursery:
                for after in lives:
                    nursery.start_soon(kill, after)
                for outage in outages:
                    nursery.start_soon(fail, *outage)
                world.apply(a_claim())
                for number in range(4):
                    container = a_container(ports=[80], mounts={"scratch": "/tmp/scratch"})
                    world.apply(a_pod(f"web-{number}", container, volumes=volumes))
                    await trio.sleep(15)
            await world.eventually(lambda: world.are_ready(4), seconds=300)
            instances = {one.uuid for one in world.instances().values()}
            await trio.sleep(60)
            assert {one.uuid for one in world.instances().values()} == instances
            assert world.events("OrphanDeleted") == []

    trio.run(history, clock=MockClock(autojump_threshold=0))

"""A daemon killed between any two of its writes leaves the same cloud resources, none twice.

One fixed story of a cluster, told again and again with kills at different places: the daemon dies
just before a write, or just after it was carried out and before its answer came, and another one
takes over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.manifests import a_claim, a_container, a_deployment, a_pod, a_service
from tests.thoroughness import examples
from tests.wire import Death, Moment
from tests.world import Plan, World, a_world

DEPLOYMENT = a_deployment("web", replicas=2)
SERVICE = a_service("web")
CLAIM = a_claim("data")
DATABASE = a_pod(
    "db",
    a_container("postgres", mounts={"data": "/data"}, ports=[5432]),
    a_container("metrics", ports=[9187]),
    init=(a_container("prepare", "prepare:latest"),),
    claims={"data": "data"},
    terminationGracePeriodSeconds=5,
)
DATABASE_SERVICE = a_service("db", {5432: 5432, 80: 9187})

WRITES = 85
"""A few more than the story takes when nobody dies in it."""


async def the_story(world: World) -> None:
    """Deploy, scale up and down, delete; the cloud is as it should be after each."""
    world.script("prepare", run_seconds=0.5, exits=(1,), exit_code=0)
    world.apply(SERVICE, DEPLOYMENT, CLAIM, DATABASE, DATABASE_SERVICE)
    await world.eventually(lambda: world.are_ready(3), seconds=120)
    check_cloud(world, replicas=2)
    assert world.container("prepare", "db")["restartCount"] == 1
    world.scale("web", 3)
    await world.eventually(lambda: world.are_ready(4), seconds=120)
    check_cloud(world, replicas=3)
    world.scale("web", 1)
    await world.eventually(lambda: world.are_ready(2), seconds=120)
    check_cloud(world, replicas=1)
    await trio.sleep(30)  # a successor has to wait until its predecessor's lease lapses
    await world.check_quiet(seconds=60)
    world.delete(DEPLOYMENT, SERVICE, DATABASE, DATABASE_SERVICE, CLAIM)
    await world.eventually(world.is_empty, seconds=120)
    await trio.sleep(60)
    assert world.is_empty(), world.describe()


def check_cloud(world: World, *, replicas: int) -> None:
    web = {f"{name}-app" for name in world.pod_names() - {"db"}}
    assert len(web) == replicas
    database = {"db-postgres", "db-metrics"}
    assert world.instances().keys() == web | database | {"db-prepare"}
    running = {name for name, one in world.instances().items() if one.state == "running"}
    assert running == web | database
    assert world.published() == {
        "web": {443: 8080},
        "db-postgres": {5432: 5432},
        "db-metrics": {80: 9187},
    }
    assert world.members() == {
        "web": web,
        "db-postgres": {"db-postgres"},
        "db-metrics": {"db-metrics"},
    }
    assert world.volumes().keys() == {"data"}
    [attached] = world.volumes()["data"].attachments.values()
    assert attached.instance.name == "db-postgres"


async def a_crash_loop(world: World) -> None:
    """Four runs of a container that fails: all are counted, none comes too early."""
    world.script("crashing", run_seconds=1.5, exit_code=1)
    world.apply(a_pod("web", a_container(image="crashing")))
    starts: list[float] = []

    def has_run(times: int) -> bool:
        instance = world.instances().get("web-app")
        if instance is not None and instance.start_count > len(starts):
            starts.append(trio.current_time())
        return len(starts) == times and world.container().get("restartCount") == times - 1

    await world.eventually(lambda: has_run(4), seconds=300)
    await world.eventually(lambda: world.waits_for() == "CrashLoopBackOff")
    assert world.container()["restartCount"] == world.instances()["web-app"].start_count - 1
    _, second, third = (later - earlier for earlier, later in pairwise(starts))
    assert second > 10
    assert third > 20


def tell(story: Callable[[World], Awaitable[None]], *plans: Plan) -> World:
    async def telling() -> World:
        async with a_world() as world:
            world.keep_daemon_running(*plans)
            await story(world)
        return world

    return trio.run(telling, clock=MockClock(autojump_threshold=0))


def deaths(most_writes: int) -> st.SearchStrategy[Plan]:
    return st.builds(Death, st.integers(1, most_writes), st.sampled_from(Moment))


def test_story_without_a_death_takes_no_more_writes_than_deaths_are_tried_at():
    world = tell(the_story)
    assert WRITES * 0.8 < world.life.writes <= WRITES


@given(st.random_module(), st.integers(1, WRITES), st.sampled_from(Moment))
@example(None, 57, Moment.AFTER)  # the last instance is gone, the groups are not
@settings(max_examples=examples(30), deadline=None)
def test_one_death_changes_nothing_in_the_end(seed, count, moment):
    tell(the_story, Death(count, moment))


@given(st.random_module(), deaths(WRITES), st.lists(deaths(12), min_size=1, max_size=6))
@settings(max_examples=examples(15), deadline=None)
def test_several_deaths_in_a_row_change_nothing_in_the_end(seed, first, later):
    tell(the_story, first, *later)


@given(st.random_module(), st.lists(deaths(6), min_size=1, max_size=8))
@settings(max_examples=examples(20), deadline=None)
def test_deaths_neither_hide_nor_hasten_restarts(seed, plans):
    tell(a_crash_loop, *plans)

"""Neither API is always there: what was true before an outage is true after it."""

from __future__ import annotations

import math

import pytest
import trio

from kraftlet_trio.simulators.cloud.faults import (
    AnswerHtml,
    AnswerStatus,
    CommitThenDrop,
    Delay,
    DropBefore,
    Duplicate,
    Truncate,
)
from tests.manifests import NODE, a_claim, a_container, a_deployment, a_pod, a_service
from tests.wire import LateAnswer

FAULTS = [
    DropBefore(),
    CommitThenDrop(),
    AnswerStatus(500),
    AnswerStatus(429, headers={"retry-after": "3"}),
    AnswerHtml(502),
    Delay(40),
    LateAnswer(7),
    Duplicate(),
    Truncate(),
]


def restarts(world):
    """Of the Pods' only containers, in ascending order."""
    statuses = (pod["status"].get("containerStatuses") for pod in world.pods())
    return sorted(one["restartCount"] for status in statuses for one in status or ())


@pytest.mark.parametrize("effect", FAULTS, ids=lambda effect: type(effect).__name__)
@pytest.mark.parametrize("api", ["cloud", "cluster"])
async def test_every_request_may_fail_once(autojump_clock, world, api, effect):
    faults = world.cloud_faults if api == "cloud" else world.cluster_faults
    await world.start_daemon()
    for method in ("POST", "PUT", "PATCH", "DELETE", "GET"):
        faults.add(effect, method=method, path="(?!.*leases).*", times=3)
    service, deployment, claim = a_service(), a_deployment("web", replicas=2), a_claim()
    world.apply(service, deployment, claim)
    await world.eventually(lambda: world.are_ready(2), seconds=300)
    for method in ("POST", "PUT", "PATCH", "DELETE", "GET"):
        faults.add(effect, method=method, path="(?!.*leases).*", times=3)
    world.delete(service, deployment, claim)
    await world.eventually(world.is_empty, seconds=300)


async def test_pods_keep_their_status_while_the_platform_is_away(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service(), a_deployment("web", replicas=2))
    await world.eventually(lambda: world.are_ready(2))
    statuses = [pod["status"] for pod in world.pods()]
    world.cloud_faults.add(DropBefore(), times=math.inf)
    await trio.sleep(15)
    assert world.node_condition() == "True"
    await trio.sleep(600)
    assert world.node_condition() == "False"
    assert [pod["status"] for pod in world.pods()] == statuses
    world.cloud_faults.clear()
    await world.eventually(lambda: world.node_condition() == "True", seconds=30)
    assert [pod["status"] for pod in world.pods()] == statuses
    await world.check_quiet(seconds=60)


async def test_what_is_asked_for_during_an_outage_is_done_after_it(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service(), a_pod("old", labels={"app": "web"}))
    await world.eventually(lambda: world.are_ready(1))
    world.cloud_faults.add(AnswerStatus(503), times=math.inf)
    world.apply(a_pod("new", labels={"app": "web"}))
    world.delete(a_pod("old"))
    await trio.sleep(600)
    assert world.phase("new") == "Pending"
    assert world.pod("old") is not None
    world.cloud_faults.clear()
    await world.eventually(lambda: world.is_ready("new"), seconds=60)
    await world.eventually(lambda: world.pod_names() == {"new"}, seconds=60)
    assert world.members() == {"web": {"new-app"}}


async def test_container_that_ends_during_an_outage_is_restarted_once(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod())
    await world.eventually(world.is_ready)
    world.cloud_faults.add(DropBefore(), times=math.inf)
    world.end("web-app", 1)
    await trio.sleep(300)
    assert world.is_ready()
    world.cloud_faults.clear()
    await world.eventually(lambda: world.container()["restartCount"] == 1, seconds=60)
    await world.eventually(world.is_ready)
    await trio.sleep(60)
    assert world.container()["restartCount"] == 1


async def test_daemon_that_starts_during_an_outage_begins_when_it_ends(autojump_clock, world):
    world.cloud_faults.add(DropBefore(), times=math.inf)
    world.keep_daemon_running()
    world.apply(a_pod())
    await trio.sleep(120)
    assert not world.instances()
    world.cloud_faults.clear()
    await world.eventually(world.is_ready, seconds=60)


async def test_api_server_outage_changes_nothing_in_the_cloud(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service(), a_deployment("web", replicas=2))
    await world.eventually(lambda: world.are_ready(2))
    instances = world.instances()
    world.cluster_faults.add(DropBefore(), times=math.inf)
    world.scale("web", 3)
    ended = next(iter(instances))
    world.end(ended, 1)
    await trio.sleep(300)
    assert world.instances() == instances
    assert instances[ended].start_count == 1  # a run that could not be reported is no run
    world.cluster_faults.clear()
    await world.eventually(lambda: restarts(world) == [0, 0, 1], seconds=120)
    await world.eventually(lambda: world.are_ready(3))


async def test_expired_watches_lose_nothing(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service(), a_deployment("web", replicas=2))
    await world.eventually(lambda: world.are_ready(2))
    watch = world.cluster_faults.add(DropBefore(), path=".*", times=math.inf)
    world.scale("web", 3)
    await trio.sleep(700)  # the watches end
    world.scale("web", 1)
    world.delete(a_service())
    world.apply(a_pod("late"))
    await trio.sleep(5)
    world.cluster.expire_history()
    watch.times = 0
    await world.eventually(lambda: world.are_ready(2), seconds=120)
    assert "late-app" in world.instances()
    assert len(world.instances()) == 2
    await trio.sleep(60)  # each watch has its own back-off
    world.apply(a_pod("unpublished", a_container(), labels={"app": "web"}))
    await world.eventually(lambda: world.is_ready("unpublished"))
    assert world.instances()["unpublished-app"].service_group is None


async def test_old_news_of_the_platform_undoes_nothing(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service())
    for round_number in range(3):
        for seconds in (2, 6, 12):
            world.cloud_faults.add(
                LateAnswer(seconds), method="GET", path="/v1/instances", times=round_number + 1
            )
            world.apply(a_pod("web", a_container(ports=[8080])))
            await trio.sleep(4)
            world.delete(a_pod())
            await world.eventually(lambda: not world.pods())
            assert not world.groups()
        assert len(world.requests("POST", "/v1/instances")) == 3 * (round_number + 1)


async def test_deleted_node_is_registered_again_and_its_pods_live_on(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service(), a_pod())
    await world.eventually(world.is_ready)
    node = world.cluster.get("nodes", NODE)
    world.delete(node)
    await world.eventually(lambda: world.cluster.objects("nodes"), seconds=30)
    await world.eventually(lambda: world.node_condition() == "True")
    assert world.cluster.get("nodes", NODE)["metadata"]["uid"] != node["metadata"]["uid"]
    assert world.is_ready()
    assert world.container()["restartCount"] == 0


async def test_revoked_token_shows_on_the_node_and_heals(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod())
    await world.eventually(world.is_ready)
    world.cloud_faults.add(AnswerStatus(401, "Unauthorized"), times=math.inf)
    world.apply(a_pod("late"))
    await world.eventually(lambda: world.node_condition() == "False", seconds=120)
    assert world.is_ready()
    world.cloud_faults.clear()
    await world.eventually(lambda: world.is_ready("late"), seconds=60)
    await world.eventually(lambda: world.node_condition() == "True", seconds=60)


async def test_slow_platform_is_waited_for(autojump_clock, world):
    world.cloud_faults.add(Delay(5), times=math.inf)
    world.keep_daemon_running()
    world.apply(a_service(), a_deployment("web", replicas=3))
    await world.eventually(lambda: world.are_ready(3), seconds=300)
    world.delete(a_service(), a_deployment())
    await world.eventually(world.is_empty, seconds=300)


async def test_unhealthy_pods_do_not_fill_the_way_to_the_platform(autojump_clock, world):
    world.cloud_faults.add(
        Delay(25), method="POST", path="/v1/instances", times=20
    )  # as many as come first
    await world.start_daemon()
    for number in range(20):
        world.apply(a_pod(f"slow-{number}"))
    await trio.sleep(1)
    world.apply(a_pod("quick", a_container()))
    await world.eventually(lambda: world.is_ready("quick"), seconds=5)

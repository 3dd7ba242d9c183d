"""Pods that go: in order, in time, and with nothing left, whoever looks on."""

from __future__ import annotations

import re

import pytest
import trio

from kraftlet_trio.simulators.cloud.faults import CommitThenDrop, Delay
from tests.manifests import a_container, a_pod, a_service


async def test_deleted_pod_reports_its_end_before_anything_of_it_goes(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod(), a_service())
    await world.eventually(world.is_ready)
    since = len(world.exchanges)
    world.delete(a_pod(), a_service())
    await world.eventually(world.is_empty)
    lines = [_with_phase(one) for one in world.exchanges[since:] if one.is_write]
    place = "/api/v1/namespaces/default/pods/web"
    expected = (
        "PUT /v1/instances/.*/stop",
        f"PATCH {place}/status Succeeded",
        "DELETE /v1/instances/.*",
        "DELETE /v1/services/.*",
        f"DELETE {place}",
        f"PATCH {place}",
    )
    remaining = [line for line in lines if f"PATCH {place}/status Running" not in line]
    assert len(remaining) == len(expected)
    for line, pattern in zip(remaining, expected, strict=True):
        assert re.fullmatch(pattern, line)


def _with_phase(exchange):
    body = exchange.request.json() if exchange.request.body else {}
    return f"{exchange.line} {body.get('status', {}).get('phase', '')}".strip()


async def test_stop_is_given_the_grace_period_and_then_no_more(autojump_clock, world):
    world.script("stubborn", ignores_stop=True)
    pod = a_pod("web", a_container(image="stubborn"), terminationGracePeriodSeconds=20)
    await world.start_daemon()
    world.apply(pod)
    await world.eventually(world.is_ready)
    before = trio.current_time()
    world.delete(pod)
    await world.eventually(lambda: not world.pods())
    assert 19 < trio.current_time() - before < 23
    assert world.is_empty()


async def test_prompt_containers_do_not_use_up_the_grace_period(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", terminationGracePeriodSeconds=600))
    await world.eventually(world.is_ready)
    world.delete(a_pod())
    await world.eventually(lambda: not world.pods(), seconds=2)


async def test_shortened_grace_period_is_followed(autojump_clock, world):
    world.script("stubborn", ignores_stop=True)
    pod = a_pod("web", a_container(image="stubborn"), terminationGracePeriodSeconds=600)
    await world.start_daemon()
    world.apply(pod)
    await world.eventually(world.is_ready)
    world.delete(pod)
    await trio.sleep(10)
    world.delete(pod, grace_seconds=20)
    await world.eventually(world.is_empty, seconds=20)


async def test_forced_deletion_leaves_nothing(autojump_clock, world):
    world.script("stubborn", ignores_stop=True)
    await world.start_daemon()
    world.apply(a_service(), a_pod("web", a_container(image="stubborn", ports=[8080])))
    await world.eventually(world.is_ready)
    world.delete(a_pod(), grace_seconds=0)
    await world.eventually(world.is_empty, seconds=10)


async def test_sidecar_is_stopped_after_the_containers_it_serves(autojump_clock, world):
    world.script("slow", ignores_stop=True)
    sidecar = a_container("proxy", restartPolicy="Always")
    pod = a_pod("web", a_container(image="slow"), init=(sidecar,), terminationGracePeriodSeconds=10)
    await world.start_daemon()
    world.apply(pod)
    await world.eventually(world.is_ready)
    world.delete(pod)
    await trio.sleep(8)
    assert world.instances()["web-proxy"].state == "running"
    await world.eventually(world.is_empty, seconds=10)


@pytest.mark.parametrize("pause", [0.01, 0.3, 2.0])
@pytest.mark.parametrize("effect", [Delay(20), CommitThenDrop()], ids=["slow", "unanswered"])
async def test_pod_deleted_while_its_instance_is_being_created_leaves_nothing(
    autojump_clock, world, effect, pause
):
    world.cloud_faults.add(effect, method="POST", path="/v1/instances")
    await world.start_daemon()
    world.apply(a_service())
    await trio.sleep(1)
    world.apply(a_pod())
    await trio.sleep(pause)
    world.delete(a_pod())
    await world.eventually(world.is_empty, seconds=10)  # nobody waits for an instance in vain
    await world.check_quiet(seconds=60)


async def test_pod_deleted_before_anything_was_made_goes_at_once(autojump_clock, world):
    await world.start_daemon()
    pod = a_pod("web", a_container(env=[_from_missing_secret()]))
    world.apply(pod)
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    world.delete(pod)
    await world.eventually(world.is_empty, seconds=5)


def _from_missing_secret():
    return {"name": "A", "valueFrom": {"secretKeyRef": {"name": "missing", "key": "a"}}}


async def test_namesake_waits_for_nothing_of_its_predecessor(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service())
    for _ in range(4):
        world.apply(a_pod())
        await world.eventually(world.is_ready)
        uid = world.pod()["metadata"]["uid"]
        assert f"k8s.io:uid={uid}" in world.instances()["web-app"].tags
        world.delete(a_pod())
        await world.eventually(lambda: not world.pods())


async def test_pod_deleted_while_the_daemon_is_away_leaves_nothing(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod(), a_service())
    await world.eventually(world.is_ready)
    world.kill_daemon()
    world.delete(a_pod(), a_service())
    await trio.sleep(600)
    assert world.pods()
    await world.start_daemon()
    await world.eventually(world.is_empty)


async def test_finished_pod_is_taken_away_without_a_stop(autojump_clock, world):
    world.script("job", run_seconds=1)
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="job"), restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Succeeded")
    world.delete(a_pod())
    await world.eventually(world.is_empty, seconds=5)
    assert not world.requests("PUT", ".*/stop")


async def test_pod_that_never_ran_here_is_let_be(autojump_clock, world):
    elsewhere = a_pod("elsewhere")
    elsewhere["spec"]["nodeName"] = "another-node"
    await world.start_daemon()
    world.apply(elsewhere)
    await trio.sleep(60)
    assert not world.instances()
    assert "finalizers" not in world.pod("elsewhere")["metadata"]


async def test_locked_instance_keeps_its_pod_until_the_lock_is_off(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web"))
    await world.eventually(world.is_ready)
    uuid = world.instances()["web-app"].uuid
    lock = {"prop": "delete_lock", "op": "set", "value": True}
    await world.as_account_owner("PATCH", "/v1/instances", [{"uuid": uuid, **lock}])
    world.delete(a_pod("web"), grace_seconds=2)
    await world.eventually(lambda: world.events("FailedKillPod"))
    await trio.sleep(120)
    assert "web-app" in world.instances()
    assert world.pod()["metadata"]["deletionTimestamp"]
    assert world.phase() in ("Failed", "Succeeded")
    unlock = {**lock, "value": False}
    await world.as_account_owner("PATCH", "/v1/instances", [{"uuid": uuid, **unlock}])
    await world.eventually(world.is_empty, seconds=60)

"""How Pods end, and what is left of them: deadlines, quotas, clean-up, last words."""

from __future__ import annotations

import math

import attrs
import pytest
import trio

from kraftlet_trio.simulators.cloud.faults import AnswerStatus
from tests.manifests import a_container, a_deployment, a_pod

INSTANCES = "cloud.unikraft.v1.instances/"


async def test_pod_past_its_deadline_fails_with_all_of_it_stopped(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(), activeDeadlineSeconds=60))
    await world.eventually(world.is_ready)
    await trio.sleep(55)
    assert world.phase() == "Running"
    await world.eventually(lambda: world.phase() == "Failed", seconds=15)
    status = world.pod()["status"]
    assert status["reason"] == "DeadlineExceeded"
    assert status["message"] == "Pod was active on the node longer than the specified deadline"
    assert "terminated" in world.container()["state"]
    assert world.instances()["web-app"].state == "stopped"
    assert world.events("DeadlineExceeded")
    await world.check_quiet()


async def test_deadline_holds_through_a_restart_of_the_daemon(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(), activeDeadlineSeconds=60))
    await world.eventually(world.is_ready)
    world.kill_daemon()
    await trio.sleep(100)
    await world.start_daemon()
    await world.eventually(lambda: world.phase() == "Failed", seconds=10)


async def test_deadline_counts_while_nothing_can_start(autojump_clock, world):
    world.script("missing", pull="fail")
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="missing"), activeDeadlineSeconds=60))
    await world.eventually(lambda: world.phase() == "Failed", seconds=90)
    assert "waiting" in world.container()["state"]


async def test_success_gives_instances_back_and_keeps_what_they_wrote(autojump_clock, world):
    world.script("job", run_seconds=5.0, log=("one", "two"))
    await world.start_daemon()
    setup = a_container("setup", "job")
    world.apply(a_pod("web", a_container(image="job"), init=(setup,), restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Succeeded")
    await world.eventually(lambda: not world.instances(), seconds=10)
    status = world.pod()["status"]
    assert world.container()["state"]["terminated"]["reason"] == "Completed"
    await world.check_quiet()
    assert world.pod()["status"] == status
    assert len(world.requests("GET", "/v1/instances/.*/log")) >= 2
    world.delete(a_pod("web"))
    await world.eventually(world.is_empty)


async def test_failed_pod_keeps_its_instances(autojump_clock, world):
    world.script("job", run_seconds=5.0, exit_code=3)
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="job"), restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Failed")
    await trio.sleep(100)
    assert world.instances()["web-app"].state == "stopped"


async def test_clean_up_goes_on_after_a_kill_of_the_daemon(autojump_clock, world):
    world.script("job", run_seconds=5.0)
    await world.start_daemon()
    world.cloud_faults.add(
        AnswerStatus(503), method="DELETE", path="/v1/instances/.*", times=math.inf
    )
    world.apply(a_pod("web", a_container(image="job"), restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Succeeded")
    world.kill_daemon()
    world.cloud_faults.clear()
    await world.start_daemon()
    await world.eventually(lambda: not world.instances())


@pytest.mark.parametrize("controlled", [True, False])
async def test_pod_that_the_quota_keeps_from_running_makes_way(autojump_clock, world, controlled):
    await world.start_daemon()
    if controlled:
        world.apply(a_deployment("web", a_container(), replicas=1))
    else:
        world.apply(a_pod("web", a_container()))
    await world.eventually(lambda: world.pods() and world.are_ready(1))
    [name] = world.pod_names()
    account = world.cloud.account
    account.hard = attrs.evolve(account.hard, live_memory_mb=1)
    world.end(f"{name}-app")
    if controlled:
        await world.eventually(lambda: name not in world.pod_names())
        assert world.events("QuotaExceeded")
        # The node says so soon, lest a replacement after another is sent here.
        looks = world.requests("GET", "/v1/users/quotas")
        await world.eventually(
            lambda: len(world.requests("GET", "/v1/users/quotas")) > len(looks), seconds=1.5
        )
        return
    await world.eventually(lambda: world.phase() == "Failed")
    assert world.pod()["status"]["reason"] == "QuotaExceeded"
    end = world.container()["state"]["terminated"]
    assert (end["reason"], end["exitCode"]) == ("QuotaExceeded", 1)
    await trio.sleep(100)
    assert world.pod() is not None


async def test_pod_that_the_quota_keeps_from_running_stays_where_that_is_asked(
    autojump_clock, world
):
    await world.start_daemon(enable_failed_pod_reclaim="false")
    world.apply(a_deployment("web", a_container(), replicas=1))
    await world.eventually(lambda: world.pods() and world.are_ready(1))
    [name] = world.pod_names()
    account = world.cloud.account
    account.hard = attrs.evolve(account.hard, live_memory_mb=1)
    world.end(f"{name}-app")
    await world.eventually(lambda: world.phase(name) == "Failed")
    await trio.sleep(100)
    assert world.phase(name) == "Failed"


async def test_rules_of_a_container_go_before_the_pods_policy(autojump_clock, world):
    world.script("job", run_seconds=2.0, exits=(42, 3))
    await world.start_daemon()
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    container = a_container(image="job", restartPolicy="Never", restartPolicyRules=[rule])
    world.apply(a_pod("web", container, restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Failed")
    assert world.container()["restartCount"] == 1
    assert world.container()["state"]["terminated"]["exitCode"] == 3
    assert world.container()["lastState"]["terminated"]["exitCode"] == 42


@pytest.mark.parametrize("policy", ["File", "FallbackToLogsOnError"])
async def test_last_words_are_told_where_the_container_asks_for_it(autojump_clock, world, policy):
    log = tuple(f"line {number}" for number in range(200))
    world.script("job", run_seconds=2.0, exit_code=1, log=log)
    await world.start_daemon()
    container = a_container(image="job", terminationMessagePolicy=policy)
    world.apply(a_pod("web", container, restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Failed")
    message = world.container()["state"]["terminated"].get("message", "")
    if policy == "File":
        assert message == ""
    else:
        lines = message.splitlines()
        assert len(lines) == 80
        assert (lines[0], lines[-1]) == ("line 120", "line 199")


async def test_ephemeral_container_is_answered_at_once(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container()))
    await world.eventually(world.is_ready)

    def debug(pod):
        pod["spec"]["ephemeralContainers"] = [{"name": "debugger", "image": "busybox"}]
        return pod

    world.cluster.change("pods", "web", debug, subresource="ephemeralcontainers")
    await world.eventually(lambda: world.pod()["status"].get("ephemeralContainerStatuses"))
    [status] = world.pod()["status"]["ephemeralContainerStatuses"]
    assert status["state"]["terminated"]["reason"] == "StartError"
    assert "kubectl exec" in status["state"]["terminated"]["message"]
    assert world.is_ready()
    assert world.container()["restartCount"] == 0
    await world.check_quiet()


async def test_readiness_gate_keeps_a_pod_from_being_ready(autojump_clock, world):
    await world.start_daemon()
    gate = {"conditionType": "example.com/warm"}
    world.apply(a_pod("web", a_container(), readinessGates=[gate]))
    await world.eventually(lambda: world.container().get("ready"))

    def condition(kind):
        found = [one for one in world.pod()["status"]["conditions"] if one["type"] == kind]
        return found[0] if found else {}

    await world.eventually(lambda: condition("ContainersReady").get("status") == "True")
    assert condition("Ready")["reason"] == "ReadinessGatesNotReady"
    assert 'readiness gate "example.com/warm" does not exist' in condition("Ready")["message"]

    def warm(pod):
        pod["status"]["conditions"].append({"type": "example.com/warm", "status": "True"})
        return pod

    world.cluster.change("pods", "web", warm, subresource="status")
    await world.eventually(world.is_ready)
    assert condition("example.com/warm")["status"] == "True"


async def test_ignored_containers_are_said_to_run_and_nobody_waits_for_them(autojump_clock, world):
    world.script("job", run_seconds=20.0)
    await world.start_daemon()
    world.apply(
        a_pod(
            "web",
            a_container("app", "job"),
            a_container("mesh"),
            annotations={f"{INSTANCES}ignore": "mesh"},
            restartPolicy="Never",
        )
    )
    await world.eventually(world.is_ready)
    assert world.instances().keys() == {"web-app"}
    assert "running" in world.container("mesh")["state"]
    assert world.container("mesh")["ready"]
    await world.eventually(lambda: world.phase() == "Succeeded")
    assert world.container("mesh")["state"]["terminated"]["exitCode"] == 0
    world.delete(a_pod("web"))
    await world.eventually(world.is_empty)


async def test_unknown_ignored_container_keeps_the_pod_from_running(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(), annotations={f"{INSTANCES}ignore": "mash"}))
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    assert "mash" in world.container()["state"]["waiting"]["message"]
    assert not world.instances()

    def correct(pod):
        del pod["metadata"]["annotations"][f"{INSTANCES}ignore"]
        return pod

    world.cluster.change("pods", "web", correct)
    await world.eventually(world.is_ready, seconds=5)

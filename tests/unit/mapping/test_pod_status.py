from datetime import timedelta

import attrs
import pytest

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.kubernetes.pod import IP, ContainerState, PodStatus
from kraftlet_trio.mapping.container_status import Held, Trouble
from kraftlet_trio.mapping.pod_phase import (
    FAILED,
    PENDING,
    RUNNING,
    SUCCEEDED,
    is_over,
    restartable,
)
from kraftlet_trio.mapping.pod_status import pod_status
from tests.builders import (
    NOW,
    a_new_instance,
    a_pod,
    a_sidecar,
    a_status,
    a_stopped_instance,
    an_end,
    an_exited_instance,
    an_instance,
    an_instance_without_image,
    running,
    terminated,
    waiting,
)

NEVER = {"restart_policy": "Never"}
ON_FAILURE = {"restart_policy": "OnFailure"}


def status_of(pod, *instances, held=None, now=NOW, stopped_for_good=False, host_ip="192.0.2.1"):
    names = [one.name for one in (*pod.spec.init_containers, *pod.spec.containers)]
    return pod_status(
        pod,
        pod.status,
        {name: one for one in instances for name in names if one.name == f"web-{name}"},
        held or {},
        host_ip=host_ip,
        now=now,
        stopped_for_good=stopped_for_good,
    )


def after(pod, status):
    return attrs.evolve(pod, status=status)


def conditions_of(status):
    return {one.type: (one.status, one.reason) for one in status.conditions}


# Restart policies


@pytest.mark.parametrize(
    ("policy", "exit_code", "regular", "init"),
    [
        ("Always", 0, True, False),
        ("Always", 1, True, True),
        ("OnFailure", 0, False, False),
        ("OnFailure", 1, True, True),
        ("Never", 0, False, False),
        ("Never", 1, False, False),
        ("", 0, True, False),
    ],
)
def test_the_restart_policy_decides_who_runs_again(policy, exit_code, regular, init):
    pod = a_pod(init=["setup", a_sidecar()], restart_policy=policy)
    assert restartable(pod, pod.spec.containers[0], exit_code) is regular
    assert restartable(pod, pod.spec.init_containers[0], exit_code) is init
    assert restartable(pod, pod.spec.init_containers[1], exit_code) is True


# Phases

FAILURE = {"exit_code": 3}


@pytest.mark.parametrize(
    ("pod", "instances", "phase"),
    [
        pytest.param({}, [], PENDING, id="nothing yet"),
        pytest.param({}, [a_new_instance()], PENDING, id="not started"),
        pytest.param({}, [an_instance(state=cloud.STARTING)], PENDING, id="starting"),
        pytest.param({}, [an_instance_without_image()], PENDING, id="no image"),
        pytest.param(NEVER, [an_instance_without_image()], PENDING, id="no image, Never"),
        pytest.param({}, [an_instance()], RUNNING, id="running"),
        pytest.param({}, [an_instance(state=cloud.STANDBY)], RUNNING, id="standby"),
        pytest.param({}, [an_instance(state=cloud.STOPPING)], RUNNING, id="stopping"),
        pytest.param({}, [an_exited_instance()], RUNNING, id="Always, exit 0"),
        pytest.param({}, [an_exited_instance(**FAILURE)], RUNNING, id="Always, exit 3"),
        pytest.param(ON_FAILURE, [an_exited_instance()], SUCCEEDED, id="OnFailure, exit 0"),
        pytest.param(ON_FAILURE, [an_exited_instance(**FAILURE)], RUNNING, id="OnFailure, exit 3"),
        pytest.param(NEVER, [an_exited_instance()], SUCCEEDED, id="Never, exit 0"),
        pytest.param(NEVER, [an_exited_instance(**FAILURE)], FAILED, id="Never, exit 3"),
        pytest.param(NEVER, [a_stopped_instance(stop_reason=4)], FAILED, id="Never, platform"),
        pytest.param(NEVER, [a_stopped_instance(stop_reason=1)], FAILED, id="Never, crash"),
        pytest.param(
            NEVER, [a_stopped_instance(stop_reason=15, exit_code=0)], FAILED, id="Never, by a user"
        ),
    ],
)
def test_the_phase_of_one_container(pod, instances, phase):
    assert status_of(a_pod(**pod), *instances).phase == phase


@pytest.mark.parametrize(
    ("pod", "instances", "phase"),
    [
        pytest.param({}, [an_instance("a")], PENDING, id="one has yet to start"),
        pytest.param(NEVER, [an_exited_instance("a")], PENDING, id="one ended, one has to start"),
        pytest.param(
            NEVER, [an_exited_instance("a", **FAILURE), an_instance("b")], RUNNING, id="one goes on"
        ),
        pytest.param(
            NEVER, [an_exited_instance("a"), an_exited_instance("b")], SUCCEEDED, id="both succeed"
        ),
        pytest.param(
            NEVER,
            [an_exited_instance("a"), an_exited_instance("b", **FAILURE)],
            FAILED,
            id="one fails",
        ),
        pytest.param(
            ON_FAILURE,
            [an_exited_instance("a"), an_exited_instance("b", **FAILURE)],
            RUNNING,
            id="one is run again",
        ),
    ],
)
def test_the_phase_of_two_containers(pod, instances, phase):
    assert status_of(a_pod(containers=["a", "b"], **pod), *instances).phase == phase


@pytest.mark.parametrize(
    ("pod", "instances", "phase"),
    [
        pytest.param({}, [], PENDING, id="nothing yet"),
        pytest.param({}, [an_instance("setup")], PENDING, id="init runs"),
        pytest.param({}, [an_exited_instance("setup")], PENDING, id="init done"),
        pytest.param({}, [an_exited_instance("setup", **FAILURE)], PENDING, id="init run again"),
        pytest.param(NEVER, [an_exited_instance("setup", **FAILURE)], FAILED, id="init fatal"),
        pytest.param({}, [an_exited_instance("setup"), an_instance()], RUNNING, id="running"),
    ],
)
def test_the_phase_of_a_pod_with_an_init_container(pod, instances, phase):
    assert status_of(a_pod(init=["setup"], **pod), *instances).phase == phase


@pytest.mark.parametrize(
    ("policy", "instances", "phase"),
    [
        pytest.param("Always", [an_instance("proxy")], PENDING, id="alone"),
        pytest.param("Always", [an_instance("proxy"), an_instance()], RUNNING, id="beside"),
        pytest.param("Always", [an_instance()], PENDING, id="has yet to run"),
        pytest.param("Always", [an_exited_instance("proxy"), an_instance()], RUNNING, id="ended"),
        pytest.param("Never", [an_exited_instance("proxy"), an_instance()], RUNNING, id="Never"),
        pytest.param(
            "Never", [an_instance("proxy"), an_exited_instance()], RUNNING, id="outlives success"
        ),
        pytest.param(
            "Never",
            [an_exited_instance("proxy", **FAILURE), an_exited_instance()],
            SUCCEEDED,
            id="its own failure does not matter",
        ),
    ],
)
def test_the_phase_of_a_pod_with_a_sidecar(policy, instances, phase):
    pod = a_pod(init=[a_sidecar()], restart_policy=policy)
    assert status_of(pod, *instances).phase == phase


def test_a_pod_does_not_end_while_its_sidecar_starts_again():
    pod = a_pod(init=[a_sidecar()], **NEVER, status=a_status(running(), init=[terminated("proxy")]))
    status = status_of(pod, an_instance("proxy", cloud.STARTING), an_exited_instance())
    assert status.phase == RUNNING


def test_a_pod_does_not_fail_while_its_sidecar_runs():
    pod = a_pod(init=[a_sidecar(), "setup"], **NEVER)
    failed = an_exited_instance("setup", **FAILURE)
    held_open = status_of(pod, an_instance("proxy"), failed)
    assert held_open.phase == PENDING
    assert is_over(pod, held_open)
    unexplained = a_stopped_instance("proxy", stop_reason=0, seconds_ago=0)
    settling = status_of(after(pod, held_open), unexplained, failed)
    assert settling.phase == PENDING
    stopped = a_stopped_instance("proxy", stop_reason=15, exit_code=0)
    status = status_of(after(pod, settling), stopped, failed)
    assert status.phase == FAILED
    sidecar = status.init_container_statuses[0]
    assert sidecar.state.terminated.exit_code == 0, "we stopped it, it did not fail"


@pytest.mark.parametrize(
    ("statuses", "over"),
    [
        ((), False),
        ((waiting(),), False),
        ((running(),), False),
        ((terminated(),), True),
        ((terminated(exit_code=3),), False),
    ],
)
def test_a_pod_is_over_once_nothing_of_it_is_to_run_again(statuses, over):
    assert is_over(a_pod(**ON_FAILURE), a_status(*statuses)) is over


@pytest.mark.parametrize("phase", [SUCCEEDED, FAILED])
def test_a_terminal_phase_never_changes(phase):
    pod = a_pod(status=a_status(terminated(), phase=phase))
    assert status_of(pod, an_instance()).phase == phase


# The end of a deletion


@pytest.mark.parametrize(
    ("before", "instances", "phase", "exit_codes"),
    [
        pytest.param(running(), [an_exited_instance()], SUCCEEDED, [0], id="clean"),
        pytest.param(
            running(),
            [a_stopped_instance(stop_reason=15, exit_code=0)],
            SUCCEEDED,
            [0],
            id="clean stop by the daemon",
        ),
        pytest.param(running(), [an_exited_instance(**FAILURE)], FAILED, [3], id="error"),
        pytest.param(running(), [a_stopped_instance(stop_reason=28)], FAILED, [137], id="forced"),
        pytest.param(running(), [], FAILED, [137], id="lost"),
        pytest.param(waiting(), [], FAILED, [137], id="never ran"),
        pytest.param(waiting(), [a_new_instance()], FAILED, [137], id="never started"),
        pytest.param(waiting(), [an_instance_without_image()], FAILED, [137], id="no image"),
        pytest.param(
            waiting(reason="CrashLoopBackOff", last_state=an_end(exit_code=3)),
            [an_exited_instance(exit_code=3)],
            FAILED,
            [3],
            id="in a crash loop",
        ),
        pytest.param(terminated(), [], SUCCEEDED, [0], id="ended and lost"),
    ],
)
def test_a_deleted_pod_ends_with_an_end_for_each_container(before, instances, phase, exit_codes):
    pod = a_pod(deleted=True, status=a_status(before))
    status = status_of(pod, *instances, stopped_for_good=True)
    assert status.phase == phase
    ends = [one.state.terminated for one in status.container_statuses]
    assert [end.exit_code for end in ends] == exit_codes
    assert conditions_of(status)["Ready"][0] == "False"


@pytest.mark.parametrize(
    ("instances", "ended"),
    [
        pytest.param([], {"one": 137}, id="at least the first"),
        pytest.param([an_exited_instance("one")], {"one": 0}, id="up to the last that started"),
        pytest.param(
            [an_exited_instance("one"), a_stopped_instance("two", 28)],
            {"one": 0, "two": 137},
            id="two started",
        ),
        pytest.param(
            [an_exited_instance("one"), a_new_instance("two")],
            {"one": 0},
            id="second was only made",
        ),
    ],
)
def test_a_pod_deleted_before_it_was_initialised_ends_only_what_may_have_run(instances, ended):
    pod = a_pod(init=["one", "two", "three"], deleted=True)
    status = status_of(pod, *instances, stopped_for_good=True)
    assert status.phase == FAILED
    assert {
        one.name: one.state.terminated.exit_code
        for one in status.init_container_statuses
        if one.state.terminated
    } == ended
    assert [one.state.waiting.reason for one in status.container_statuses] == ["PodInitializing"]


# Conditions


@pytest.mark.parametrize(
    ("pod", "instances", "expected"),
    [
        pytest.param(
            {},
            [],
            {
                "PodScheduled": ("True", ""),
                "PodReadyToStartContainers": ("False", "PodSandboxNotReady"),
                "Initialized": ("True", ""),
                "ContainersReady": ("False", "ContainersNotReady"),
                "Ready": ("False", "ContainersNotReady"),
            },
            id="nothing yet",
        ),
        pytest.param(
            {},
            [an_instance()],
            {
                "PodReadyToStartContainers": ("True", ""),
                "Initialized": ("True", ""),
                "ContainersReady": ("True", ""),
                "Ready": ("True", ""),
            },
            id="running",
        ),
        pytest.param(
            {"init": ["setup"]},
            [an_instance("setup")],
            {
                "Initialized": ("False", "ContainersNotInitialized"),
                "Ready": ("False", "ContainersNotReady"),
            },
            id="init runs",
        ),
        pytest.param(
            {"init": [a_sidecar()]},
            [an_instance("proxy", cloud.STARTING), an_instance()],
            {"Initialized": ("True", ""), "Ready": ("False", "ContainersNotReady")},
            id="sidecar runs again, initialised for good",
        ),
        pytest.param(
            {"init": [a_sidecar()]},
            [an_exited_instance("proxy"), an_instance()],
            {"Initialized": ("True", ""), "Ready": ("False", "ContainersNotReady")},
            id="sidecar ended with success",
        ),
        pytest.param(
            NEVER,
            [an_exited_instance()],
            {"Initialized": ("True", "PodCompleted"), "Ready": ("False", "PodCompleted")},
            id="succeeded",
        ),
        pytest.param(
            NEVER,
            [an_exited_instance(**FAILURE)],
            {"Initialized": ("True", ""), "Ready": ("False", "PodFailed")},
            id="failed",
        ),
    ],
)
def test_conditions_follow_from_the_containers(pod, instances, expected):
    conditions = conditions_of(status_of(a_pod(**pod), *instances))
    assert {kind: conditions[kind] for kind in expected} == expected


def test_messages_name_the_containers_that_hold_the_pod_back():
    pod = a_pod(containers=["b", "a"], init=["setup", a_sidecar()])
    messages = {one.type: one.message for one in status_of(pod).conditions}
    assert messages["Initialized"] == "containers with incomplete status: [setup proxy]"
    assert messages["ContainersReady"] == "containers with unready status: [proxy b a]"


def test_a_condition_keeps_its_time_until_its_status_changes():
    pod = a_pod(status=status_of(a_pod(), an_instance(state=cloud.STARTING)))
    later = status_of(pod, an_instance(), now=NOW + timedelta(seconds=5.5))
    times = {one.type: one.last_transition_time for one in later.conditions}
    assert times["Ready"] == NOW + timedelta(seconds=5)
    assert times["PodScheduled"] == NOW


# The rest


def test_a_stop_without_a_reason_is_over_when_its_time_is_up_to_the_fraction():
    """Else what is to be done about it, and what is told, would wait for each other."""
    pod = a_pod(status=a_status(running()))
    unexplained = a_stopped_instance(stop_reason=0, stopped_at=NOW + timedelta(seconds=0.2))
    early = status_of(pod, unexplained, now=NOW + timedelta(seconds=2.1))
    assert early.container_statuses[0].state.running
    status = status_of(pod, unexplained, now=NOW + timedelta(seconds=2.2))
    end = status.container_statuses[0].state.terminated
    assert (end.reason, end.finished_at) == ("ContainerStatusUnknown", NOW)


def test_all_times_are_whole_seconds():
    fraction = timedelta(seconds=0.7)
    lost = status_of(a_pod(status=a_status(running())), now=NOW + fraction)
    [container] = lost.container_statuses
    assert container.state.terminated.finished_at == NOW
    assert lost.start_time == NOW
    fresh = status_of(a_pod(), an_instance(started_at=None), now=NOW + fraction)
    assert fresh.container_statuses[0].state.running.started_at == NOW
    ended = status_of(a_pod(**NEVER), an_exited_instance(stopped_at=None), now=NOW + fraction)
    assert ended.container_statuses[0].state.terminated.finished_at == NOW


def test_a_pod_has_the_address_of_its_first_container():
    pod = a_pod(containers=["b", "a"])
    addresses = [an_instance("a", private_ip="10.0.0.1"), an_instance("b", private_ip="10.0.0.2")]
    status = status_of(pod, *addresses)
    assert (status.pod_ip, status.pod_ips) == ("10.0.0.2", (IP(ip="10.0.0.2"),))
    assert (status.host_ip, status.host_ips) == ("192.0.2.1", (IP(ip="192.0.2.1"),))
    assert status_of(after(pod, status)).pod_ip == "10.0.0.2", "kept after its instance is gone"


def test_a_node_without_an_address_gives_its_pods_none():
    status = status_of(a_pod(), host_ip="")
    assert (status.host_ip, status.host_ips) == ("", ())


def test_a_pod_starts_once():
    first = status_of(a_pod(), now=NOW + timedelta(microseconds=5))
    assert first.start_time == NOW
    assert status_of(a_pod(status=first), now=NOW + timedelta(hours=1)).start_time == NOW


def test_a_status_says_which_generation_it_is_of():
    status = status_of(a_pod(generation=7))
    assert {
        status.observed_generation,
        *(one.observed_generation for one in status.conditions),
    } == {7}


def test_containers_are_listed_by_name_and_init_containers_in_their_order():
    status = status_of(a_pod(containers=["b", "a"], init=["z", "y"]))
    assert [one.name for one in status.container_statuses] == ["a", "b"]
    assert [one.name for one in status.init_container_statuses] == ["z", "y"]


def test_trouble_is_told_of_its_container_only():
    held = {"a": Held(trouble=Trouble("CreateContainerConfigError", 'secret "s" not found'))}
    a, b = status_of(a_pod(containers=["a", "b"]), held=held).container_statuses
    assert a.state.waiting.reason == "CreateContainerConfigError"
    assert b.state.waiting.reason == "ContainerCreating"


def test_waiting_containers_of_a_pod_with_init_containers_say_so():
    status = status_of(a_pod(init=["setup"]))
    every = (*status.init_container_statuses, *status.container_statuses)
    assert [one.state.waiting.reason for one in every] == ["PodInitializing"] * 2


def test_a_lost_instance_fails_a_pod_that_must_not_restart():
    status = status_of(a_pod(**NEVER, status=a_status(running())))
    assert status.phase == FAILED
    assert status.container_statuses[0].state.terminated.reason == "ContainerStatusUnknown"


def test_a_lost_instance_of_another_pod_is_made_anew():
    assert status_of(a_pod(status=a_status(running()))).phase == RUNNING


def test_a_status_settles():
    pod = a_pod(containers=["a", "b"], init=["setup", a_sidecar()])
    instances = [an_exited_instance("setup"), an_instance("proxy"), an_instance("a")]
    status = status_of(pod, *instances)
    later = NOW + timedelta(minutes=1)
    assert status_of(after(pod, status), *instances, now=later) == status


def test_statuses_that_others_left_behind_do_no_harm():
    stranger = attrs.evolve(
        a_status(running("stranger"), attrs.evolve(running(), state=ContainerState())),
        qos_class="Burstable",
    )
    status = status_of(a_pod(init=["setup"], status=stranger))
    assert [one.name for one in status.container_statuses] == ["app"]
    assert status.qos_class == "Burstable"
    assert not is_over(a_pod(init=["setup"]), stranger)
    assert not is_over(a_pod(), PodStatus())

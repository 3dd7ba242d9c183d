import attrs
import pytest

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.kubernetes.pod import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    ResourceRequirements,
)
from kraftlet_trio.mapping.container_status import Held, Trouble, container_status
from tests.builders import (
    NOW,
    a_container,
    a_new_instance,
    a_stopped_instance,
    ago,
    an_end,
    an_exited_instance,
    an_instance,
    an_instance_without_image,
    running,
    terminated,
    waiting,
)

CRASH_LOOP = Held(back_off_seconds=20)
CRASH_LOOPING = ContainerStatus(
    name="app",
    image="app:latest",
    container_id="unikraft://uuid-of-app",
    state=ContainerState(
        waiting=ContainerStateWaiting(
            reason="CrashLoopBackOff",
            message="back-off 20s restarting failed container=app pod=web_default(u1)",
        )
    ),
    last_state=an_end(exit_code=3),
    started=False,
    restart_count=1,
)


def status_of(previous, instance, held=Held(), *, container=None, **options):  # noqa: B008
    return container_status(
        container or a_container(),
        previous,
        instance,
        held,
        **{
            "init": False,
            "creating": "ContainerCreating",
            "deleting": False,
            "pod": "web_default(u1)",
            "now": NOW,
        }
        | options,
    )


@pytest.mark.parametrize("creating", ["ContainerCreating", "PodInitializing"])
def test_a_container_without_an_instance_is_on_its_way(creating):
    status = status_of(None, None, creating=creating)
    assert status.state == ContainerState(waiting=ContainerStateWaiting(reason=creating))
    assert (status.ready, status.started, status.container_id) == (False, False, "")
    assert status.image == "app:latest"


@pytest.mark.parametrize("instance", [a_new_instance(), an_instance(state=cloud.STARTING)])
def test_a_container_that_boots_is_on_its_way(instance):
    status = status_of(None, instance)
    assert status.state.waiting.reason == "ContainerCreating"
    assert status.container_id == "unikraft://uuid-of-app"


def test_a_running_container_is_ready_and_tells_what_it_runs():
    resources = ResourceRequirements(requests={"cpu": "1"}, limits={"memory": "1Gi"})
    instance = an_instance(image="app@sha256:0", started_at=ago(1.5))
    status = status_of(None, instance, container=a_container(resources=resources))
    assert status.state == ContainerState(running=ContainerStateRunning(started_at=ago(2)))
    assert (status.ready, status.started, status.restart_count) == (True, True, 0)
    assert status.container_id == "unikraft://uuid-of-app"
    assert status.image_id == "app@sha256:0"
    assert (status.resources, status.allocated_resources) == (resources, {"cpu": "1"})


def test_a_running_container_that_drains_or_stops_is_started_but_not_ready():
    for state in (cloud.DRAINING, cloud.STOPPING):
        status = status_of(running(), an_instance(state=state))
        assert (status.ready, status.started) == (False, True)
        assert status.state == running().state


@pytest.mark.parametrize("state", [cloud.STANDBY, cloud.STARTING, cloud.RUNNING])
def test_falling_asleep_and_waking_up_are_no_restart(state):
    instance = an_instance(state=state, started_at=NOW)
    assert attrs.evolve(status_of(running(), instance), resources=None) == running()


def test_an_end_is_told_in_full():
    status = status_of(running(), an_exited_instance(exit_code=3, seconds_ago=9.5))
    assert status.state == ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=3,
            reason="Error",
            started_at=ago(100),
            finished_at=ago(10),
            container_id="unikraft://uuid-of-app",
        )
    )
    assert (status.ready, status.started, status.restart_count) == (False, False, 0)


def test_a_run_lasted_from_its_start_to_its_end_although_it_slept():
    woken_late = an_exited_instance(started_at=ago(12))
    assert status_of(running(), woken_late).state.terminated.started_at == ago(100)


def test_an_end_that_was_reported_stays_as_it_was():
    before = terminated(exit_code=137, restart_count=2, last_state=an_end(exit_code=9))
    after = status_of(before, an_exited_instance(exit_code=0))
    assert attrs.evolve(after, resources=None) == before


def test_a_run_after_an_end_is_a_restart():
    status = status_of(terminated(exit_code=3, restart_count=4), an_instance(started_at=ago(1)))
    assert status.restart_count == 5
    assert status.state.running.started_at == ago(1)
    assert status.last_state == an_end(exit_code=3)


def test_a_run_that_was_never_seen_alive_counts():
    first, second = an_end(exit_code=3, seconds_ago=10), an_exited_instance(seconds_ago=4)
    status = status_of(terminated(exit_code=3), second)
    assert status.restart_count == 1
    assert status.state.terminated.finished_at == ago(4)
    assert status.last_state == first


def test_a_run_that_ended_within_the_second_of_the_end_before_counts_if_it_is_known_to_be():
    before, again = terminated(exit_code=3), an_exited_instance(exit_code=3)
    assert status_of(before, again).restart_count == 0
    assert status_of(before, again, Held(restarted=True)).restart_count == 1


def test_a_container_held_back_after_its_end_is_in_a_crash_loop():
    before = running(restart_count=1)
    status = status_of(before, an_exited_instance(exit_code=3), CRASH_LOOP)
    assert attrs.evolve(status, resources=None) == CRASH_LOOPING


@pytest.mark.parametrize(
    "instance",
    [an_exited_instance(exit_code=3), an_instance(state=cloud.STARTING), a_new_instance(), None],
    ids=["due", "starting", "made anew", "lost"],
)
def test_a_crash_loop_is_told_until_the_container_runs(instance):
    status = status_of(CRASH_LOOPING, instance)
    assert (status.state, status.last_state) == (CRASH_LOOPING.state, CRASH_LOOPING.last_state)
    assert status.restart_count == 1


def test_a_container_that_leaves_its_crash_loop_was_restarted_once():
    status = status_of(CRASH_LOOPING, an_instance())
    assert status.restart_count == 2
    assert status.state.running
    assert status.last_state == an_end(exit_code=3)


def test_a_longer_back_off_changes_the_message_only():
    status = status_of(
        CRASH_LOOPING,
        an_exited_instance(exit_code=3),
        attrs.evolve(CRASH_LOOP, back_off_seconds=40),
    )
    assert (
        status.state.waiting.message
        == "back-off 40s restarting failed container=app pod=web_default(u1)"
    )
    assert status.last_state == an_end(exit_code=3)
    assert status.restart_count == 1


def test_an_end_stays_told_while_the_container_is_started_again_at_once():
    before = terminated(exit_code=3, last_state=an_end(exit_code=9))
    status = status_of(before, an_instance(state=cloud.STARTING))
    assert (status.state, status.last_state) == (before.state, before.last_state)


def test_an_image_failure_is_told_first_and_the_waiting_afterwards():
    held = Held(back_off_seconds=10)
    failed = status_of(waiting(), an_instance_without_image(), held)
    assert failed.state.waiting.reason == "ErrImagePull"
    assert '"app:latest"' in failed.state.waiting.message
    backing_off = status_of(failed, an_instance_without_image(), held)
    assert backing_off.state.waiting.reason == "ImagePullBackOff"
    assert "back-off 10s" in backing_off.state.waiting.message
    assert status_of(backing_off, an_instance_without_image(), held) == backing_off
    due = status_of(backing_off, an_instance_without_image())
    assert due == backing_off


def test_a_failed_pull_is_no_run():
    status = status_of(terminated(exit_code=3), an_instance_without_image())
    assert status.restart_count == 0
    assert status.last_state == an_end(exit_code=3)
    assert status_of(status, an_instance()).restart_count == 1


@pytest.mark.parametrize("instance", [None, a_new_instance()])
@pytest.mark.parametrize("before", [None, waiting(), terminated(exit_code=3)])
def test_trouble_is_told_in_place_of_being_on_the_way(instance, before):
    held = Held(trouble=Trouble("CreateContainerConfigError", 'secret "s" not found'))
    status = status_of(before, instance, held)
    assert status.state.waiting == ContainerStateWaiting(
        reason="CreateContainerConfigError", message='secret "s" not found'
    )
    assert status.last_state == (
        before.state if before and before.state.terminated else ContainerState()
    )


def test_a_lost_instance_is_an_end_of_unknown_outcome():
    status = status_of(running(restart_count=1), None)
    assert status.state == ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=137,
            reason="ContainerStatusUnknown",
            message="The instance is gone from Unikraft Cloud",
            started_at=ago(100),
            finished_at=NOW,
            container_id="unikraft://uuid-of-app",
        )
    )
    assert (status.ready, status.started, status.restart_count) == (False, False, 1)


def test_an_instance_lost_after_its_end_takes_nothing_of_it_along():
    before = terminated(exit_code=3, restart_count=2)
    assert attrs.evolve(status_of(before, None), resources=None) == before


@pytest.mark.parametrize(
    "instance",
    [
        an_instance(uuid="another"),
        an_instance(uuid="another", state=cloud.STARTING),
        a_new_instance(uuid="another"),
        an_exited_instance(uuid="another", exit_code=3, seconds_ago=1),
    ],
    ids=["running", "starting", "new", "ended"],
)
def test_an_instance_in_the_place_of_a_running_one_is_a_restart(instance):
    status = status_of(running(), instance)
    if status.state.terminated and status.last_state.terminated is None:
        assert status.state.terminated.reason == "ContainerStatusUnknown"
        status = status_of(status, an_instance(uuid="another"))
    assert status.restart_count == 1
    assert status.container_id == "unikraft://another"
    lost = status.last_state.terminated
    assert (lost.reason, lost.container_id) == ("ContainerStatusUnknown", "unikraft://uuid-of-app")


def test_the_end_of_an_instance_is_not_mistaken_for_that_of_the_one_before():
    lost = terminated(exit_code=137, last_state=an_end(exit_code=1))
    status = status_of(lost, an_exited_instance(uuid="another", seconds_ago=10))
    assert status.restart_count == 1
    assert status.state.terminated.container_id == "unikraft://another"


def test_a_stop_whose_reason_is_not_known_yet_is_no_news_but_not_ready():
    unexplained = a_stopped_instance(stop_reason=0, seconds_ago=0)
    status = status_of(running(), unexplained)
    assert attrs.evolve(status, ready=True, resources=None) == running()
    assert status.ready is False
    fresh = status_of(None, unexplained)
    assert fresh.state.waiting.reason == "ContainerCreating"


def test_an_init_container_that_succeeded_is_ready():
    assert status_of(None, an_exited_instance(), init=True).ready is True
    assert status_of(None, an_exited_instance(exit_code=1), init=True).ready is False
    assert status_of(None, an_exited_instance(), init=False).ready is False


def test_an_init_container_is_ready_by_the_end_that_was_reported():
    """An explanation that came too late does not make a success of what was told as lost."""
    assert status_of(terminated(exit_code=137), an_exited_instance(), init=True).ready is False


@pytest.mark.parametrize("held", [Held(), CRASH_LOOP, Held(trouble=Trouble("R", "m"))])
@pytest.mark.parametrize(
    "before", [None, waiting(), running(), terminated(), terminated(exit_code=3), CRASH_LOOPING]
)
@pytest.mark.parametrize(
    "instance",
    [
        None,
        a_new_instance(),
        an_exited_instance(),
        an_exited_instance(exit_code=3),
        an_instance_without_image(),
        a_stopped_instance(stop_reason=0, seconds_ago=0),
        *(
            an_instance(state=state)
            for state in (cloud.STARTING, cloud.RUNNING, cloud.DRAINING, cloud.STOPPING)
        ),
    ],
)
def test_there_is_exactly_one_state_and_it_settles(before, instance, held):
    status = status_of(before, instance, held)
    seen = [status]
    while status_of(status, instance, held) != status:
        status = status_of(status, instance, held)
        assert status not in seen
        seen.append(status)
    for one in seen:
        assert sum(part is not None for part in attrs.astuple(one.state, recurse=False)) == 1
        assert one.last_state.waiting is None
        assert one.last_state.running is None
        assert one.started is not None
    assert len(seen) <= 3

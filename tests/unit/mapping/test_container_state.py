from datetime import timedelta

import pytest

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.mapping.container_state import (
    REASON_LAG,
    Ended,
    ImageUnavailable,
    NeverStarted,
    Running,
    Settling,
    Starting,
    container_run,
)
from tests.builders import (
    CLEAN_KERNEL_EXIT,
    NOW,
    OUT_OF_MEMORY,
    a_new_instance,
    a_stopped_instance,
    an_exited_instance,
    an_instance,
    an_instance_without_image,
)

CRASHED, EXITED, SHUT_DOWN = 1, 3, 7
USER_KILLED, USER_STOPPED, USER_FORCED, USER_FORCED_EXITED = 13, 15, 28, 31
SCALED_TO_ZERO = 39


def run_of(instance, *, deleting=False, now=NOW):
    return container_run(instance, now, deleting=deleting)


@pytest.mark.parametrize(
    ("state", "run"),
    [
        (cloud.STARTING, Starting()),
        (cloud.RUNNING, Running(ready=True)),
        (cloud.STANDBY, Running(ready=True)),
        (cloud.DRAINING, Running(ready=False)),
        (cloud.STOPPING, Running(ready=False)),
        ("of a later version", Starting()),
    ],
)
def test_each_live_state_has_its_meaning(state, run):
    assert run_of(an_instance(state=state)) == run


def test_an_instance_put_to_standby_still_runs():
    assert run_of(an_instance(state=cloud.STANDBY, stop_reason=SCALED_TO_ZERO)) == Running(
        ready=True
    )


def test_an_instance_that_was_never_started_has_not_ended():
    assert run_of(a_new_instance()) == NeverStarted()
    assert run_of(a_new_instance(stop_reason=0)) == NeverStarted()


@pytest.mark.parametrize(
    ("stop_reason", "stop_code", "exit_code", "expected"),
    [
        pytest.param(EXITED, CLEAN_KERNEL_EXIT, 0, (0, "Completed"), id="exit 0"),
        pytest.param(EXITED, CLEAN_KERNEL_EXIT, 3, (3, "Error"), id="exit 3"),
        pytest.param(EXITED, CLEAN_KERNEL_EXIT, None, (0, "Completed"), id="zero left out"),
        pytest.param(CRASHED, OUT_OF_MEMORY, None, (137, "OOMKilled"), id="out of memory"),
        pytest.param(CRASHED, 0x0E7F04, None, (255, "Error"), id="page fault, other errno"),
        pytest.param(CRASHED, 0x0C7F05, None, (255, "Error"), id="other fault, ENOMEM"),
        pytest.param(CRASHED, 0x7F01, None, (255, "Error"), id="assertion"),
        pytest.param(CRASHED, None, None, (255, "Error"), id="crash without a code"),
        pytest.param(CRASHED, OUT_OF_MEMORY, 7, (137, "OOMKilled"), id="exit code not valid"),
        pytest.param(4, 0, None, (255, "PlatformError"), id="platform, unknown"),
        pytest.param(4, 77, None, (255, "PlatformError"), id="platform, later code"),
        pytest.param(4, None, None, (255, "PlatformError"), id="platform, no code"),
        pytest.param(SHUT_DOWN, CLEAN_KERNEL_EXIT, 0, (143, "Error"), id="platform shutdown"),
        pytest.param(SHUT_DOWN, CLEAN_KERNEL_EXIT, 3, (3, "Error"), id="shutdown, exit 3"),
        pytest.param(5, CLEAN_KERNEL_EXIT, None, (137, "Error"), id="platform, killed"),
        pytest.param(SCALED_TO_ZERO, CLEAN_KERNEL_EXIT, 0, (143, "Error"), id="never woke"),
        pytest.param(USER_STOPPED, CLEAN_KERNEL_EXIT, 0, (143, "Error"), id="user"),
        pytest.param(USER_STOPPED, CLEAN_KERNEL_EXIT, 3, (3, "Error"), id="user, exit 3"),
        pytest.param(USER_KILLED, CLEAN_KERNEL_EXIT, 0, (137, "Error"), id="user, killed"),
        pytest.param(12, None, None, (143, "Error"), id="user, nothing known"),
        pytest.param(USER_FORCED, None, None, (137, "Error"), id="user, forced"),
        pytest.param(USER_FORCED_EXITED, None, 0, (143, "Error"), id="forced, yet exited"),
        pytest.param(USER_FORCED_EXITED, None, 3, (3, "Error"), id="forced, yet exit 3"),
        pytest.param(64, None, None, (255, "PlatformError"), id="bits of a later version"),
    ],
)
def test_each_stop_has_an_exit_code_and_a_reason(stop_reason, stop_code, exit_code, expected):
    run = run_of(
        a_stopped_instance(stop_reason=stop_reason, stop_code=stop_code, exit_code=exit_code)
    )
    assert isinstance(run, Ended)
    assert (run.exit_code, run.reason) == expected


@pytest.mark.parametrize("stop_reason", [USER_STOPPED, USER_FORCED_EXITED, SHUT_DOWN])
def test_a_clean_stop_from_outside_is_a_success_only_in_a_deletion(stop_reason):
    instance = a_stopped_instance(stop_reason=stop_reason, exit_code=0)
    ended = run_of(instance, deleting=True)
    assert (ended.exit_code, ended.reason) == (0, "Completed")
    assert run_of(instance).exit_code == 143


@pytest.mark.parametrize("stop_reason", [USER_STOPPED, USER_FORCED, USER_KILLED, SHUT_DOWN, 5, 4])
def test_a_stop_from_outside_says_who_it_was(stop_reason):
    message = run_of(a_stopped_instance(stop_reason=stop_reason)).message
    assert "Unikraft Cloud" in message
    assert ("API" in message) == bool(stop_reason & cloud.STOP_USER)


def test_a_crash_tells_its_stop_code():
    assert "0x7f01" in run_of(a_stopped_instance(stop_reason=CRASHED, stop_code=0x7F01)).message


def test_a_deletion_makes_no_success_of_a_failure():
    for stop in (
        an_exited_instance(exit_code=3),
        a_stopped_instance(stop_reason=USER_FORCED),
        a_stopped_instance(stop_reason=CRASHED, stop_code=OUT_OF_MEMORY),
    ):
        assert run_of(stop, deleting=True) == run_of(stop)


def test_an_image_that_cannot_be_fetched_is_no_end():
    assert run_of(an_instance_without_image()) == ImageUnavailable()


def test_a_stop_code_of_one_means_the_image_only_where_the_platform_stopped_alone():
    assert isinstance(run_of(a_stopped_instance(stop_reason=CRASHED, stop_code=1)), Ended)


@pytest.mark.parametrize("stop_reason", [None, 0])
def test_the_reason_of_a_stop_is_waited_for_and_then_unknown(stop_reason):
    instance = a_stopped_instance(stop_reason=stop_reason, seconds_ago=0)
    assert run_of(instance) == Settling()
    assert run_of(instance, now=NOW + REASON_LAG / 2) == Settling()
    late = run_of(instance, now=NOW + REASON_LAG)
    assert (late.exit_code, late.reason) == (137, "ContainerStatusUnknown")


def test_a_stop_without_reason_or_time_is_unknown_at_once():
    run = run_of(an_instance(state=cloud.STOPPED))
    assert (run.exit_code, run.reason) == (137, "ContainerStatusUnknown")


def test_a_stop_ahead_of_our_clock_settles():
    instance = a_stopped_instance(stop_reason=0, seconds_ago=-1)
    assert run_of(instance) == Settling()
    assert isinstance(run_of(instance, now=NOW + timedelta(seconds=3)), Ended)

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.pod import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
)
from kraftlet_trio.mapping.console_runs import (
    LogRun,
    NoLog,
    RunOffsets,
    Which,
    run_offsets,
    run_to_show,
    tags_of_next_run,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING = ContainerState(running=ContainerStateRunning(started_at=NOW))


def ended(uuid: str = "u", at: datetime = NOW) -> ContainerState:
    container_id = f"unikraft://{uuid}" if uuid else ""
    return ContainerState(
        terminated=ContainerStateTerminated(exit_code=1, finished_at=at, container_id=container_id)
    )


def waiting(reason: str) -> ContainerState:
    return ContainerState(waiting=ContainerStateWaiting(reason=reason))


def status(state: ContainerState, last: ContainerState | None = None) -> ContainerStatus:
    return ContainerStatus(
        name="c",
        container_id="unikraft://u",
        state=state,
        last_state=last or ContainerState(),
    )


def an_instance(state: str = cloud.RUNNING, **fields) -> Instance:
    fields = {"start_count": 2, "tags": ("kraftlet:console=1.0.100",), **fields}
    return Instance(uuid="u", state=state, **fields)


STOPPED = an_instance(
    cloud.STOPPED, stop_reason=cloud.STOP_APPLICATION, started_at=NOW, stopped_at=NOW
)
UNPULLED = an_instance(cloud.STOPPED, stop_reason=4, stop_code=1, stopped_at=NOW)


def shown(state, last=None, instance=None, *, previous=False) -> LogRun:
    return run_to_show("p", "c", status(state, last), instance, NOW, previous=previous)


def test_running_container_shows_its_run():
    assert shown(RUNNING, ended(), an_instance()) == LogRun("unikraft://u", Which.LATEST)
    assert shown(RUNNING, ended(), an_instance(), previous=True) == LogRun(
        "unikraft://u", Which.PREVIOUS, NOW
    )


@pytest.mark.parametrize("instance", [STOPPED, None])
def test_container_that_ended_shows_its_last_run(instance):
    assert shown(ended(), None, instance).which is Which.LATEST
    assert shown(ended(), ended(), instance, previous=True) == LogRun(
        "unikraft://u", Which.PREVIOUS, NOW
    )


@pytest.mark.parametrize(("state", "instance"), [(RUNNING, an_instance()), (ended(), STOPPED)])
def test_instance_that_was_replaced_took_its_console_along(state, instance):
    run = shown(state, ended("older"), instance, previous=True)
    assert run == LogRun("unikraft://older", Which.LATEST, NOW)


def test_container_that_waits_for_its_next_run_shows_the_last_as_both():
    for previous in (False, True):
        run = shown(waiting("CrashLoopBackOff"), ended(), STOPPED, previous=previous)
        assert run == LogRun("unikraft://u", Which.LATEST, NOW)


def test_run_that_the_status_does_not_tell_of_yet_counts():
    for state in (waiting("CrashLoopBackOff"), ended()):
        last = ended() if state.waiting else None
        assert shown(state, last, an_instance()) == LogRun("unikraft://u", Which.LATEST)
        run = shown(state, last, an_instance(), previous=True)
        assert run == LogRun("unikraft://u", Which.PREVIOUS, NOW)


@pytest.mark.parametrize(
    "instance",
    [
        UNPULLED,
        attrs.evolve(STOPPED, tags=("kraftlet:console=2.50.100",)),
        an_instance(cloud.STARTING),
    ],
)
def test_run_that_has_not_come_to_anything_hides_none(instance):
    for previous in (False, True):
        run = shown(waiting("ImagePullBackOff"), ended(), instance, previous=previous)
        assert run == LogRun("unikraft://u", Which.PREVIOUS, NOW)


def test_new_instance_that_starts_hides_no_log():
    for previous in (False, True):
        run = shown(
            waiting("CrashLoopBackOff"),
            ended("older"),
            an_instance(cloud.STARTING, start_count=0, tags=()),
            previous=previous,
        )
        assert run == LogRun("unikraft://older", Which.LATEST, NOW)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (waiting("ContainerCreating"), "is waiting to start: ContainerCreating"),
        (waiting("ErrImagePull"), "is waiting to start: image can't be pulled"),
        (
            waiting("ImagePullBackOff"),
            "is waiting to start: trying and failing to pull image",
        ),
        (ContainerState(), "is waiting to start - no logs yet"),
        (ended(""), "is terminated"),
    ],
)
def test_what_has_no_log_says_so_as_the_kubelet_does(state, text):
    with pytest.raises(NoLog, match=rf'^container "c" in pod "p" {text}$'):
        shown(state, None, an_instance(cloud.STARTING, start_count=0, tags=()))


def test_unknown_status_is_not_available():
    with pytest.raises(NoLog, match=r'^container "c" in pod "p" is not available$'):
        run_to_show("p", "c", None, None, NOW, previous=False)


@pytest.mark.parametrize("state", [RUNNING, ended(), waiting("ContainerCreating")])
def test_first_run_has_none_before_it(state):
    with pytest.raises(NoLog, match=r'^previous terminated container "c" in pod "p" not found$'):
        shown(state, None, STOPPED, previous=True)


def test_each_start_is_noted_once():
    instance = attrs.evolve(STOPPED, tags=("other",), start_count=1)
    assert run_offsets(instance.tags) == RunOffsets()
    tags = tags_of_next_run(instance, 100, NOW)
    assert tags == ("other", "kraftlet:console=1.0.100")
    assert run_offsets(tags) == RunOffsets(latest=100, previous=0, starts=1)
    instance = attrs.evolve(instance, tags=tags)
    assert tags_of_next_run(instance, 100, NOW) is None
    again = tags_of_next_run(attrs.evolve(instance, start_count=2), 100, NOW)
    assert run_offsets(again) == RunOffsets(latest=100, previous=100, starts=2)


def test_start_without_an_image_is_no_run():
    tags = tags_of_next_run(UNPULLED, 130, NOW)
    assert run_offsets(tags) == RunOffsets(latest=130, previous=0, starts=2)


@pytest.mark.parametrize("tag", ["kraftlet:console=", "kraftlet:console=a.b.c", "x"])
def test_notes_of_others_are_none(tag):
    assert run_offsets((tag,)) == RunOffsets()

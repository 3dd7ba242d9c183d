"""A container's status from its instance and from the status reported before.

The status before carries what no instance tells: the restart count and the end of the run before.
Times are cut to whole seconds, as the API server stores them, so that equal statuses compare equal.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.pod import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    PodStatus,
)
from kraftlet_trio.mapping.container_state import (
    Ended,
    ImageUnavailable,
    NeverStarted,
    Running,
    Settling,
    Starting,
    container_run,
)

CONTAINER_ID_SCHEME = "unikraft"

_CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
_QUOTA_EXCEEDED = "QuotaExceeded"
_ERR_IMAGE_PULL = "ErrImagePull"
_IMAGE_PULL_BACK_OFF = "ImagePullBackOff"


@attrs.frozen
class Trouble:
    """Why a wanted container does not run: becomes its waiting reason."""

    reason: str
    message: str


@attrs.frozen(kw_only=True)
class Held:
    """What the daemon knows of a container besides its instance."""

    trouble: Trouble | None = None
    back_off_seconds: float | None = None
    """How long the present back-off is, while it holds the container back."""
    restarted: bool = False
    """Started again by the daemon since the status that was last reported."""
    started: bool = True
    ready: bool = True
    """What its probes and its ``postStart`` hook say of the present run."""
    resizing: bool = False
    """It does not have the resources yet that its manifest asks for."""
    update_trouble: Trouble | None = None
    """Why it cannot be given what its manifest asks for now."""
    last_words: str = ""
    """The end of its console, for the message of its end."""
    refused: str = ""
    """What the platform said when it had no room for it."""


def container_status_of(status: PodStatus, name: str) -> ContainerStatus | None:
    """The status of a container or init container by name."""
    every = (*status.init_container_statuses, *status.container_statuses)
    return next((one for one in every if one.name == name), None)


def container_id(instance: Instance) -> str:
    """The instance as Kubernetes names a container: ``<type>://<id>``."""
    return f"{CONTAINER_ID_SCHEME}://{instance.uuid}"


def last_end(status: ContainerStatus | None) -> ContainerStateTerminated | None:
    """The end of the latest run, unless the status shows a container that runs."""
    if status is None or status.state.running:
        return None
    return status.state.terminated or status.last_state.terminated


RunsTold = tuple[int, ContainerStateTerminated | None]


def runs_told(status: ContainerStatus | None) -> RunsTold:
    """How far *status* tells of the container's runs: another value once it tells of more."""
    return (status.restart_count if status else 0, last_end(status))


def reported_end(
    status: ContainerStatus | None, instance: Instance, *, restarted: bool
) -> ContainerStateTerminated | None:
    """The end of a stopped instance's latest run, if *status* tells of it already.

    *restarted* says that this run began after the end that *status* tells of. Their times, which
    are whole seconds, may not show it.
    """
    end = last_end(status)
    if end is None or restarted or end.container_id != container_id(instance):
        return None
    finished_at = _whole_seconds(instance.stopped_at)
    if finished_at and end.finished_at and finished_at > end.finished_at:
        return None
    return end


def container_status(
    container: Container,
    previous: ContainerStatus | None,
    instance: Instance | None,
    held: Held,
    *,
    init: bool,
    creating: str,
    deleting: bool,
    pod: str,
    now: datetime,
) -> ContainerStatus:
    """The status to report. *creating* is the waiting reason of a container that is on its way.

    *pod* names its Pod in messages, as the kubelet does: ``<name>_<namespace>(<uid>)``.
    """
    previous = previous or ContainerStatus(name=container.name)
    if instance is not None and previous.container_id != container_id(instance):
        previous = _ended_unseen(previous, "The instance was replaced", now)
    status = attrs.evolve(
        previous,
        image=container.image,
        **_resources(container, previous, held),
    )
    if held.refused and not status.state.running:
        return _refused(status, held.refused, now)
    waiting = ContainerStateWaiting(reason=creating)
    if held.trouble:
        waiting = ContainerStateWaiting(reason=held.trouble.reason, message=held.trouble.message)
    if instance is None:
        status = _ended_unseen(status, "The instance is gone from Unikraft Cloud", now)
        if _tells_end(status) and not held.trouble:
            return status
        return _waiting(status, waiting)
    status = attrs.evolve(
        status,
        container_id=container_id(instance),
        image_id=instance.image or previous.image_id,
    )
    match container_run(instance, now, deleting=deleting):
        case Running(ready):
            # An init container is ready once it is done.
            ready = ready and held.ready and not init
            return _running(status, previous, instance, held, ready=ready, now=now)
        case Ended() as end:
            return _ended(status, previous, instance, end, held, init=init, pod=pod, now=now)
        case ImageUnavailable():
            return _waiting(status, _image_trouble(container.image, previous, held))
        case Settling() if previous.state.running:
            # About to say why it stopped: not ready, and no news yet.
            return attrs.evolve(status, ready=False)
        case Starting() if previous.state.running:
            # Waking from standby is no restart.
            return status
        case NeverStarted() | Starting() | Settling():
            # What ended before is told until it runs again.
            if _tells_end(previous) and not held.trouble:
                return status
            return _waiting(status, waiting)


def _resources(container: Container, previous: ContainerStatus, held: Held) -> dict[str, Any]:
    """What applies to it now, which is what its manifest asks for unless that is new."""
    if held.resizing and previous.resources is not None:
        return {
            "resources": previous.resources,
            "allocated_resources": previous.allocated_resources,
        }
    return {
        "resources": container.resources,
        "allocated_resources": container.resources.requests or None,
    }


def _refused(status: ContainerStatus, message: str, now: datetime) -> ContainerStatus:
    """The end of a container that the platform has no room for."""
    if status.state.terminated and status.state.terminated.reason == _QUOTA_EXCEEDED:
        return status
    end = ContainerStateTerminated(
        exit_code=1,
        reason=_QUOTA_EXCEEDED,
        message=message,
        finished_at=_whole_seconds(now),
        container_id=status.container_id,
    )
    return attrs.evolve(
        status,
        state=ContainerState(terminated=end),
        last_state=ContainerState(terminated=last_end(status)),
        ready=False,
        started=False,
    )


def _image_trouble(image: str, previous: ContainerStatus, held: Held) -> ContainerStateWaiting:
    """The failure, and once that was told, that the next attempt has to wait."""
    text = f'Unikraft Cloud cannot pull image "{image}"'
    told = previous.state.waiting
    if told is None or told.reason not in (_ERR_IMAGE_PULL, _IMAGE_PULL_BACK_OFF):
        return ContainerStateWaiting(reason=_ERR_IMAGE_PULL, message=text)
    if held.back_off_seconds is None:
        return told
    return ContainerStateWaiting(
        reason=_IMAGE_PULL_BACK_OFF, message=f"back-off {held.back_off_seconds:.0f}s: {text}"
    )


def _tells_end(status: ContainerStatus) -> bool:
    waiting = status.state.waiting
    return status.state.terminated is not None or (
        waiting is not None and waiting.reason == _CRASH_LOOP_BACK_OFF
    )


def _waiting(status: ContainerStatus, waiting: ContainerStateWaiting) -> ContainerStatus:
    return attrs.evolve(
        status,
        state=ContainerState(waiting=waiting),
        last_state=ContainerState(terminated=last_end(status)),
        ready=False,
        started=False,
    )


def _ended_unseen(status: ContainerStatus, message: str, now: datetime) -> ContainerStatus:
    """*status*, unless it shows a container that runs: then its end, which nobody saw."""
    if not status.state.running:
        return status
    end = unknown_end(status, message, now)
    return attrs.evolve(status, state=ContainerState(terminated=end), ready=False, started=False)


def unknown_end(status: ContainerStatus, message: str, now: datetime) -> ContainerStateTerminated:
    """The end of a container that nobody saw end, in kubelet's form."""
    return ContainerStateTerminated(
        exit_code=137,
        reason="ContainerStatusUnknown",
        message=message,
        started_at=status.state.running.started_at if status.state.running else None,
        finished_at=_whole_seconds(now),
        container_id=status.container_id,
    )


def _running(
    status: ContainerStatus,
    previous: ContainerStatus,
    instance: Instance,
    held: Held,
    *,
    ready: bool,
    now: datetime,
) -> ContainerStatus:
    if previous.state.running:
        return attrs.evolve(status, ready=ready, started=held.started)
    end = last_end(previous)
    return attrs.evolve(
        status,
        state=ContainerState(
            running=ContainerStateRunning(started_at=_whole_seconds(instance.started_at or now))
        ),
        last_state=ContainerState(terminated=end),
        ready=ready,
        started=held.started,
        restart_count=previous.restart_count + (end is not None),
    )


def _ended(
    status: ContainerStatus,
    previous: ContainerStatus,
    instance: Instance,
    end: Ended,
    held: Held,
    *,
    init: bool,
    pod: str,
    now: datetime,
) -> ContainerStatus:
    before = last_end(previous)
    reported = reported_end(previous, instance, restarted=held.restarted)
    if reported:
        terminated, older = reported, None
        if previous.state.terminated:
            older = previous.last_state.terminated
    else:
        started_at = previous.state.running.started_at if previous.state.running else None
        terminated = ContainerStateTerminated(
            exit_code=end.exit_code,
            reason=end.reason,
            message=held.last_words or end.message,
            started_at=started_at or _whole_seconds(instance.started_at),
            finished_at=_whole_seconds(instance.stopped_at or now),
            container_id=status.container_id,
        )
        older = before or previous.last_state.terminated
    status = attrs.evolve(
        status,
        ready=init and terminated.exit_code == 0,
        started=False,
        restart_count=previous.restart_count + (before is not None and reported is None),
    )
    if held.back_off_seconds is None:
        if reported and _tells_end(previous):
            return status
        return attrs.evolve(
            status,
            state=ContainerState(terminated=terminated),
            last_state=ContainerState(terminated=older),
        )
    message = (
        f"back-off {held.back_off_seconds:.0f}s restarting failed container={status.name} pod={pod}"
    )
    return attrs.evolve(
        status,
        state=ContainerState(
            waiting=ContainerStateWaiting(reason=_CRASH_LOOP_BACK_OFF, message=message)
        ),
        last_state=ContainerState(terminated=terminated),
        ready=False,
    )


def _whole_seconds(moment: datetime | None) -> datetime | None:
    return moment.replace(microsecond=0) if moment else None

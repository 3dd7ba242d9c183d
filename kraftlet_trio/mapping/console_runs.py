"""Where in an instance's console its runs begin, and which of them a question for logs is about.

The platform keeps one console for all runs of an instance. Where the latest two begin is noted in
a tag whenever the daemon starts it again: tags are read with the instance, and outlive the daemon.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import attrs

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.pod import ContainerStatus
from kraftlet_trio.mapping.container_state import ImageUnavailable, container_run, is_alive
from kraftlet_trio.mapping.container_status import container_id, last_end

_CONSOLE = "kraftlet:console="


@attrs.frozen
class RunOffsets:
    """Offsets in the console: of the latest run's first byte, and of that of the run before."""

    latest: int = 0
    previous: int | None = None
    """None where there was no such run."""
    starts: int = -1
    """The instance's ``start_count`` when this was noted, right before a start."""


def run_offsets(tags: tuple[str, ...]) -> RunOffsets:
    """As noted; a console without a note is that of a first run."""
    for note in console_notes(tags):
        parts = note.removeprefix(_CONSOLE).split(".")
        if len(parts) == 3 and all(part.isdigit() for part in parts):
            starts, previous, latest = map(int, parts)
            return RunOffsets(latest, previous, starts)
    return RunOffsets()


def console_notes(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Those of *tags* that say where runs begin."""
    return tuple(tag for tag in tags if tag.startswith(_CONSOLE))


def tags_of_next_run(instance: Instance, console_end: int, now: datetime) -> tuple[str, ...] | None:
    """Tags of a stopped *instance* that is started again; its console is *console_end* long.

    None where an earlier attempt at this very start has noted it already.
    """
    noted = run_offsets(instance.tags)
    if noted.starts == instance.start_count:
        return None
    previous = noted.latest
    if _ran_nothing(instance, now):
        previous = noted.previous or 0
    others = tuple(tag for tag in instance.tags if not tag.startswith(_CONSOLE))
    return (*others, f"{_CONSOLE}{instance.start_count}.{previous}.{console_end}")


class Which(Enum):
    """Of the runs in an instance's console."""

    LATEST = "latest"
    PREVIOUS = "previous"


@attrs.frozen
class LogRun:
    """A run whose log is asked for."""

    container_id: str
    which: Which
    ended_at: datetime | None = None
    """When, as far as its Pod's status tells."""


class NoLog(Exception):
    """There is no log; the text says why, as the kubelet says it."""


def run_to_show(
    pod: str,
    container: str,
    status: ContainerStatus | None,
    instance: Instance | None,
    now: datetime,
    *,
    previous: bool,
) -> LogRun:
    """The run whose log is shown of a container with that *status*.

    Source: kubelet, ``validateContainerLogStatus``. Where *instance* shows that a new run has begun
    and the status does not tell of it yet, it counts.

    Raises:
        NoLog: there is none.
    """
    where = f'container "{container}" in pod "{pod}"'
    if status is None:
        raise NoLog(f"{where} is not available")
    state, end = status.state, last_end(status)
    runs_anew = not state.running and _runs(instance)
    nothing_since = instance is not None and not runs_anew and _has_run_nothing(instance, now)
    if previous:
        ended = end if runs_anew else status.last_state.terminated
        if ended is None or not ended.container_id:
            raise NoLog(f'previous terminated container "{container}" in pod "{pod}" not found')
        present = container_id(instance) if instance is not None else status.container_id
        # One that waits has not begun a run since, and a new instance has a console of its own.
        waits = state.waiting is not None and not runs_anew and not nothing_since
        is_latest = waits or ended.container_id != present
        which = Which.LATEST if is_latest else Which.PREVIOUS
        return LogRun(ended.container_id, which, ended.finished_at)
    if state.running or runs_anew:
        present = container_id(instance) if instance and runs_anew else status.container_id
        return LogRun(present, Which.LATEST)
    if end is not None:
        if not end.container_id and status.last_state.terminated is not None:
            end = status.last_state.terminated
        if not end.container_id:
            raise NoLog(f"{where} is terminated")
        is_present = instance is not None and end.container_id == container_id(instance)
        which = Which.PREVIOUS if nothing_since and is_present else Which.LATEST
        return LogRun(end.container_id, which, end.finished_at)
    raise NoLog(f"{where} is waiting to start{_why(status)}")


def _runs(instance: Instance | None) -> bool:
    return instance is not None and is_alive(instance) and instance.state != cloud.STARTING


def _ran_nothing(instance: Instance, now: datetime) -> bool:
    """Whether its latest start came to nothing: there was no image."""
    return isinstance(container_run(instance, now, deleting=False), ImageUnavailable)


def _has_run_nothing(instance: Instance, now: datetime) -> bool:
    """Whether the latest run that is noted has not begun, or not come to anything."""
    is_ahead = run_offsets(instance.tags).starts == instance.start_count
    return is_ahead or instance.state == cloud.STARTING or _ran_nothing(instance, now)


def _why(status: ContainerStatus) -> str:
    match status.state.waiting.reason if status.state.waiting else None:
        case None:
            return " - no logs yet"
        case "ErrImagePull":
            return ": image can't be pulled"
        case "ImagePullBackOff":
            return ": trying and failing to pull image"
        case reason:
            return f": {reason}"

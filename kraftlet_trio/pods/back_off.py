"""When a container may run again after an end.

Kubelet's crash back-off: the first restart is immediate, then 10 s, doubling to 5 min, counted from
the end; a container that stayed up long enough starts over. Init containers are retried from 1 s,
doubling to 5 min, as Unikraft's own virtual kubelet does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from kraftlet_trio.kubernetes.pod import ContainerStatus
from kraftlet_trio.mapping.container_status import last_end
from kraftlet_trio.pods.plan import BackOff

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 300.0
RESET_AFTER = timedelta(seconds=2 * LONGEST_SECONDS)


def init_retry_seconds(restart_count: int) -> float:
    """1, 2, 4 … 300 s by the number of restarts so far."""
    return min(LONGEST_SECONDS, 2.0 ** min(restart_count, 10))


def due_after_end(
    finished_at: datetime | None, status: ContainerStatus, back_off: BackOff | None, now: datetime
) -> tuple[datetime, float]:
    """When the next run may begin, and how long that back-off is in seconds."""
    finished_at = finished_at or now
    back_off = back_off or recalled(status, finished_at)
    if back_off is None or _is_over(back_off, finished_at):
        return finished_at, 0.0
    return finished_at + timedelta(seconds=back_off.seconds), back_off.seconds


def recalled(status: ContainerStatus, finished_at: datetime) -> BackOff | None:
    """The back-off that nobody remembers after an end at *finished_at*, None where there is none.

    The restart count tells how far it had grown: a daemon that was restarted must not let a
    crashing container loop faster.
    """
    if status.restart_count == 0 or _stayed_up(status, finished_at):
        return None
    seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(status.restart_count - 1, 10))
    return BackOff(seconds=seconds, bumped_at=finished_at)


def _stayed_up(status: ContainerStatus, finished_at: datetime) -> bool:
    run = status.state.running or last_end(status)
    if run is None or run.started_at is None:
        return False
    return finished_at - run.started_at > RESET_AFTER


def due_after_failed_pull(
    failed_at: datetime | None, back_off: BackOff | None, now: datetime
) -> tuple[datetime, float]:
    """As ``due_after_end``; a pull is never retried at once, so it is a step ahead."""
    failed_at = failed_at or now
    seconds = bumped(back_off, failed_at, now).seconds
    return failed_at + timedelta(seconds=seconds), seconds


def bumped(back_off: BackOff | None, finished_at: datetime | None, now: datetime) -> BackOff:
    """The back-off after a restart at *now* of a run that ended at *finished_at*."""
    if back_off is None or _is_over(back_off, finished_at or now):
        return BackOff(seconds=FIRST_SECONDS, bumped_at=now)
    return BackOff(seconds=min(LONGEST_SECONDS, back_off.seconds * 2), bumped_at=now)


def _is_over(back_off: BackOff, finished_at: datetime) -> bool:
    return finished_at - back_off.bumped_at > RESET_AFTER

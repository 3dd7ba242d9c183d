"""What an instance's state and stop codes say about the container it runs.

Sources: the platform's reference of instance states, stop reasons (a bit mask) and stop codes;
kubelet's reasons and exit codes for the same situations.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import Instance

_ALIVE = (cloud.STARTING, cloud.RUNNING, cloud.DRAINING, cloud.STOPPING, cloud.STANDBY)
_PAGE_FAULT = 4
_ENOMEM = 12
_IMAGE_UNAVAILABLE = 1

REASON_LAG = timedelta(seconds=2)
"""``stopped`` may show some milliseconds before its reason does; past this it never comes."""


@attrs.frozen
class NeverStarted:
    """Created, and not started yet."""


@attrs.frozen
class Starting:
    """Pulling its image, or booting."""


@attrs.frozen
class Running:
    """Alive: running, in standby, or on its way out."""

    ready: bool
    """False while it drains or stops."""


@attrs.frozen
class Settling:
    """Stopped, but the platform has not said why yet."""


@attrs.frozen
class ImageUnavailable:
    """The platform could not fetch the image."""


@attrs.frozen(kw_only=True)
class Ended:
    """The container's run is over."""

    exit_code: int
    reason: str
    message: str = ""


ContainerRun = NeverStarted | Starting | Running | Settling | ImageUnavailable | Ended


RunKey = str


def run_key(instance: Instance) -> RunKey:
    """Names one run of an instance: another value after each start."""
    return f"{instance.uuid}/{instance.start_count}"


def is_alive(instance: Instance) -> bool:
    """Whether something of it runs, or will without anybody's doing."""
    return instance.state in _ALIVE


def container_run(instance: Instance, now: datetime, *, deleting: bool) -> ContainerRun:
    """Where the instance's present or latest run stands.

    A clean stop that came from outside, through the platform's API or by the platform itself,
    counts as success only when the Pod is being deleted: otherwise somebody took the container
    away, which is exit code 143 (SIGTERM).
    """
    match instance.state:
        case cloud.RUNNING | cloud.STANDBY:
            return Running(ready=True)
        case cloud.DRAINING | cloud.STOPPING:
            # One that is falling asleep wakes for whoever calls it.
            return Running(ready=bool((instance.stop_reason or 0) & cloud.STOP_SCALE_TO_ZERO))
        case cloud.STOPPED:
            return _stopped_run(instance, now, deleting=deleting)
        case _:
            # States of later platform versions: not known to run, not known to have ended.
            return Starting()


def _stopped_run(instance: Instance, now: datetime, *, deleting: bool) -> ContainerRun:
    reason = instance.stop_reason or 0
    if not reason:
        if instance.started_at is None and instance.stopped_at is None:
            return NeverStarted()
        if instance.stopped_at is not None and now - instance.stopped_at < REASON_LAG:
            return Settling()
        return Ended(
            exit_code=137,
            reason="ContainerStatusUnknown",
            message="Unikraft Cloud gives no reason for the stop",
        )
    if not reason & (cloud.STOP_KERNEL | cloud.STOP_APPLICATION | cloud.STOP_USER):
        if instance.stop_code == _IMAGE_UNAVAILABLE:
            return ImageUnavailable()
        if instance.started_at is None:
            return NeverStarted()  # there was no room for it; starting it will tell
        return Ended(
            exit_code=255,
            reason="PlatformError",
            message=f"Unikraft Cloud stopped the instance, stop code {instance.stop_code}",
        )
    stopped_by = _stopped_by(reason)
    if reason & cloud.STOP_APPLICATION:
        code = instance.exit_code or (143 if stopped_by and not deleting else 0)
        return Ended(exit_code=code, reason="Error" if code else "Completed", message=stopped_by)
    if stopped_by:
        # Where the kernel went without the application, it had to be killed.
        killed = reason & (cloud.STOP_KERNEL | cloud.STOP_FORCED)
        return Ended(exit_code=137 if killed else 143, reason="Error", message=stopped_by)
    return _crash(instance.stop_code or 0)


def _stopped_by(reason: int) -> str:
    """Who stopped it from outside, in words; empty where the stop came from within."""
    if reason & cloud.STOP_USER:
        return "stopped through Unikraft Cloud's API"
    return "stopped by Unikraft Cloud" if reason & cloud.STOP_PLATFORM else ""


def _crash(stop_code: int) -> Ended:
    fault, errno = stop_code & 0xFF, stop_code >> 16 & 0xFF
    if fault == _PAGE_FAULT and errno == _ENOMEM:
        return Ended(exit_code=137, reason="OOMKilled")
    return Ended(
        exit_code=255, reason="Error", message=f"the kernel stopped, stop code {stop_code:#x}"
    )

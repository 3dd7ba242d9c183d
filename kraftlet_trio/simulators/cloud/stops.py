"""Why an instance stopped, in the platform's bits and codes (reference, why it stopped)."""

from __future__ import annotations

import attrs

from kraftlet_trio.cloud.objects import (
    STOP_APPLICATION,
    STOP_FORCED,
    STOP_KERNEL,
    STOP_PLATFORM,
    STOP_SCALE_TO_ZERO,
    STOP_USER,
)
from kraftlet_trio.simulators.cloud.runtime import Crashed, Ending, Exited, Killed

_CLEAN_STOP_CODE = 0x8100
_MEDIUM_NOT_AVAILABLE = 1
"""The platform's stop code for an image that it cannot get."""

FROM_INSIDE = 0
BY_USER = STOP_PLATFORM | STOP_USER
BY_SUSPENSION = BY_USER | STOP_SCALE_TO_ZERO
BY_IDLING = STOP_PLATFORM | STOP_SCALE_TO_ZERO


@attrs.frozen
class Stop:
    """What an instance says about its stop; None is left out."""

    reason: int | None = None
    code: int | None = None
    exit_code: int | None = None


FORCED = Stop(BY_USER | STOP_FORCED)
IMAGE_NOT_AVAILABLE = Stop(STOP_PLATFORM, _MEDIUM_NOT_AVAILABLE)
START_REFUSED = Stop(STOP_PLATFORM, 0)
"""By quota or a volume in use; the platform's code for it is not documented."""


def stop_into_standby(initiator: int) -> Stop:
    """Whatever became of the guest, standby reads as a complete stop (39 for an idle one)."""
    return Stop(initiator | STOP_KERNEL | STOP_APPLICATION)


def stop_of(ending: Ending, initiator: int) -> Stop:
    """How *ending* is reported when *initiator*, some of the bits, brought it about."""
    match ending:
        case Exited(exit_code):
            reason = initiator | STOP_KERNEL | STOP_APPLICATION
            return Stop(reason, _CLEAN_STOP_CODE, exit_code)
        case _ if initiator & STOP_SCALE_TO_ZERO:
            return stop_into_standby(initiator)
        case Crashed(stop_code):
            return Stop(initiator | STOP_KERNEL, stop_code)
        case Killed():
            return Stop(initiator | STOP_KERNEL)

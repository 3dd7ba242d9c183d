"""What can be done to a running instance's task from outside."""

from __future__ import annotations

import attrs
import trio

from kraftlet_trio.cloud.objects import STOPPED
from kraftlet_trio.simulators.cloud.stops import BY_USER


@attrs.define(eq=False)
class Life:
    """The time from a start until the instance rests, restarts included."""

    predecessor: trio.Event | None
    """Set once the instance's former task has cleaned up."""
    stop: trio.Event = attrs.field(factory=trio.Event)
    goal: str = STOPPED
    """Where a stop leads to: stopped or standby."""
    initiator: int = BY_USER
    """Who asked for the stop, as bits of the stop reason."""
    boot: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Pulling and booting, which a stop ends at once."""
    guest: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """The run itself: its cancellation kills the guest."""
    whole: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    idling: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """The watch for the present run's traffic to cease."""
    draining: trio.CancelScope | None = None
    """The wait for connections to close, once a stop began with one."""
    frozen: bool = False
    """In standby with its memory kept: the guest is there, but does nothing."""
    ended: trio.Event = attrs.field(factory=trio.Event)

    @property
    def told_to_end(self) -> bool:
        return self.stop.is_set() or self.draining is not None

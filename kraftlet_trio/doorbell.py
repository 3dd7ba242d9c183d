"""A wake-up for one waiting task."""

from __future__ import annotations

import attrs
import trio


@attrs.define
class Doorbell:
    """Rings before the next answer count as one, and none is lost: it says "look again"."""

    _rung: trio.Event = attrs.field(factory=trio.Event, init=False)
    rung_at: float | None = attrs.field(default=None, init=False)
    """Trio's time of the first ring that nobody has answered yet."""

    def ring(self) -> None:
        if self.rung_at is None:
            self.rung_at = trio.current_time()
            self._rung.set()

    async def wait(self) -> None:
        """Return once rung since the last return. For one waiter only."""
        await self._rung.wait()
        self._rung = trio.Event()
        self.rung_at = None

"""A wake-up for one waiting task."""

from __future__ import annotations

import attrs
import trio


@attrs.define
class Doorbell:
    """Rings before the next answer count as one, and none is lost: it says "look again"."""

    _rung: trio.Event = attrs.field(factory=trio.Event, init=False)

    def ring(self) -> None:
        self._rung.set()

    async def wait(self) -> None:
        """Return once rung since the last return. For one waiter only."""
        await self._rung.wait()
        self._rung = trio.Event()

"""What is to be sent on a connection, in order, while others wait for their turn.

Protocol answers (pongs, resets) go in without waiting, so that who reads a connection never waits
for who writes to it: two peers that do both cannot block each other. A peer that asks for answers
and does not read them is given up.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

MOST_WAITING_BYTES = 128 * 1024
"""Senders of data wait beyond it."""
MOST_UNREAD_BYTES = 1024 * 1024
"""Answers beyond it are for nobody."""


@attrs.define(eq=False)
class Outbox:
    _give_up: Callable[[str], None]
    """Called, perhaps more than once, with the reason."""
    _waiting: bytearray = attrs.field(factory=bytearray, init=False)
    _added: trio.Event = attrs.field(factory=trio.Event, init=False)
    _sent: trio.Event = attrs.field(factory=trio.Event, init=False)
    _sending: bool = attrs.field(default=False, init=False)

    def put(self, data: bytes) -> None:
        """Send *data* after all that was put before."""
        if len(self._waiting) + len(data) > MOST_UNREAD_BYTES:
            self._give_up(f"the peer does not read, {len(self._waiting)} bytes wait")
            return
        self._waiting += data
        self._added.set()

    async def wait_room(self) -> None:
        """Until there is little left to be sent."""
        await trio.lowlevel.checkpoint()
        while len(self._waiting) > MOST_WAITING_BYTES:
            await self._sent.wait()

    async def drained(self) -> None:
        """Until everything has been handed to the network."""
        while self._waiting or self._sending:
            await self._sent.wait()

    async def send_forever(self, stream: trio.abc.SendStream) -> None:
        """Raises ``trio.BrokenResourceError`` when the peer has gone."""
        while True:
            await self._added.wait()
            self._added = trio.Event()
            while self._waiting:
                data, self._waiting = self._waiting, bytearray()
                self._sending = True
                self._wake()
                await stream.send_all(data)
                self._sending = False
            self._wake()

    def _wake(self) -> None:
        sent, self._sent = self._sent, trio.Event()
        sent.set()

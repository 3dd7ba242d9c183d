"""What has come on one of a connection's streams and has not been read yet."""

from __future__ import annotations

import attrs
import trio

from kraftlet_trio.streaming.remote_command import MOST_PIECE_BYTES

MOST_BUFFERED_BYTES = 256 * 1024
"""Of one stream, before the connection waits for its reader."""


@attrs.define(eq=False)
class ReceivedBytes:
    _unread: bytearray = attrs.field(factory=bytearray, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _cut: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def take(self, max_bytes: int | None = None) -> bytes:
        """What there is, at most *max_bytes* or else 32 KiB; empty at the end.

        Raises ``trio.BrokenResourceError`` where it was cut before.
        """
        await trio.lowlevel.checkpoint()
        while not self._unread and not self._ended:
            if self._cut:
                raise trio.BrokenResourceError("the stream was reset")
            await self._changed.wait()
        size = max_bytes or MOST_PIECE_BYTES
        data = bytes(self._unread[:size])
        del self._unread[:size]
        self._wake()
        return data

    async def feed(self, data: bytes) -> None:
        """Return once there is room for more. What comes after the end is thrown away."""
        if self._ended or self._cut:
            return
        self._unread += data
        self._wake()
        while len(self._unread) > MOST_BUFFERED_BYTES and not self._cut:
            await self._changed.wait()

    def end(self) -> None:
        """Nothing more comes; what is there can still be read."""
        self._ended = True
        self._wake()

    def cut(self) -> None:
        """Nobody needs to read what comes: who feeds waits no more."""
        self._cut = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

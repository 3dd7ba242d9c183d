"""A SPDY connection served on a Trio stream: its streams as streams.

A stream that is not read fills its buffer, and then the whole connection waits for it: so do the
kubelet and Go's client, for without flow control nobody could say that just one is to wait, and
to reset it would lose what a slow reader has every right to. What others have to send goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs
import structlog
import trio

from kraftlet_trio.streaming.outbox import Outbox
from kraftlet_trio.streaming.received_bytes import ReceivedBytes
from kraftlet_trio.streaming.remote_command import MOST_PIECE_BYTES
from kraftlet_trio.streaming.spdy_connection import (
    DataReceived,
    Event,
    SPDYConnection,
    StreamEnded,
    StreamOpened,
    StreamReset,
)
from kraftlet_trio.streaming.spdy_errors import SPDYError
from kraftlet_trio.streaming.spdy_frames import ResetStatus

log = structlog.get_logger()

IDLE_SECONDS = 4 * 3600.0
"""The kubelet's ``streamingConnectionIdleTimeout``."""
FINISH_SECONDS = 10.0
"""For the last words."""


@attrs.define(eq=False)
class SPDYStream(trio.abc.HalfCloseableStream):
    """One stream. Reading and writing raise ``trio.BrokenResourceError`` once it was reset."""

    stream_id: int
    headers: Mapping[str, str]
    _session: SPDYSession
    _received: ReceivedBytes = attrs.field(factory=ReceivedBytes, init=False)
    _gone: bool = attrs.field(default=False, init=False)

    def accept(self) -> None:
        self._session.connection.accept(self.stream_id)

    def reset(self, status: ResetStatus = ResetStatus.CANCEL) -> None:
        """Refuse it, or end it without any more words."""
        self._session.connection.reset(self.stream_id, status)
        self._session.drop(self)

    def forget(self) -> None:
        """Care no more for what the client still sends on it."""
        self._session.connection.forget(self.stream_id)
        self._session.drop(self)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What there is, at most *max_bytes* or else 32 KiB; empty at the end."""
        return await self._received.take(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, len(view), MOST_PIECE_BYTES):
            await self._session.outbox.wait_room()
            if self._gone:
                raise trio.BrokenResourceError("the stream was reset")
            piece = bytes(view[start : start + MOST_PIECE_BYTES])
            self._session.connection.send_data(self.stream_id, piece)

    async def wait_send_all_might_not_block(self) -> None:
        await self._session.outbox.wait_room()

    async def send_eof(self) -> None:
        self._session.connection.end(self.stream_id)
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.reset()
        await trio.lowlevel.checkpoint()

    # For the session only.

    async def feed(self, data: bytes) -> None:
        """Return once there is room for more."""
        await self._received.feed(data)

    def note_end(self) -> None:
        self._received.end()

    def note_reset(self) -> None:
        self._gone = True
        self._received.cut()


@attrs.define(eq=False)
class SPDYSession:
    """The client's streams, as they come."""

    outbox: Outbox = attrs.field(init=False)
    connection: SPDYConnection = attrs.field(init=False)
    _streams: dict[int, SPDYStream] = attrs.field(factory=dict, init=False)
    """On which something may come."""
    _attention: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _opened: trio.MemorySendChannel[SPDYStream] = attrs.field(init=False)
    _coming: trio.MemoryReceiveChannel[SPDYStream] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.outbox = Outbox(self._give_up)
        self.connection = SPDYConnection(self.outbox.put)
        self._opened, self._coming = trio.open_memory_channel(0)

    async def next_stream(self) -> SPDYStream:
        """To be accepted, or reset. Somebody has to wait here all the time."""
        return await self._coming.receive()

    def abandon(self) -> None:
        """The client no longer wants what this session is for: cancel whoever speaks."""
        self._attention.cancel()

    async def serve(
        self, stream: trio.abc.Stream, speak: Callable[[SPDYSession], Awaitable[None]]
    ) -> None:
        """Have *speak* hold the conversation; cancelled when the client goes away."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, stream)
            nursery.start_soon(self._receive, stream)
            with self._attention:
                await speak(self)
                with trio.move_on_after(FINISH_SECONDS):
                    self.connection.leave()
                    await self.outbox.drained()
            nursery.cancel_scope.cancel()

    def drop(self, stream: SPDYStream) -> None:
        """Nothing that comes on it is for anybody."""
        self._streams.pop(stream.stream_id, None)
        stream.note_reset()

    def _give_up(self, reason: str) -> None:
        if not self._attention.cancel_called:
            log.warning("SPDY connection closed", error=reason)
        self.abandon()

    async def _send(self, stream: trio.abc.Stream) -> None:
        try:
            await self.outbox.send_forever(stream)
        except trio.BrokenResourceError:
            self.abandon()

    async def _receive(self, stream: trio.abc.Stream) -> None:
        try:
            while data := await self._received(stream):
                for event in self.connection.receive(data):
                    await self._heard(event)
        except trio.BrokenResourceError:
            pass
        except SPDYError as error:
            self._give_up(str(error))
        self.abandon()

    async def _received(self, stream: trio.abc.Stream) -> bytes:
        """Empty at the end, or after a very long silence."""
        with trio.move_on_after(IDLE_SECONDS):
            return bytes(await stream.receive_some())
        return b""

    async def _heard(self, event: Event) -> None:
        match event:
            case StreamOpened(stream_id, headers):
                stream = self._streams[stream_id] = SPDYStream(stream_id, headers, self)
                await self._opened.send(stream)
            case DataReceived(stream_id, data) if stream_id in self._streams:
                await self._streams[stream_id].feed(data)
            case StreamEnded(stream_id) if stream_id in self._streams:
                self._streams[stream_id].note_end()
            case StreamReset(stream_id) if stream_id in self._streams:
                self.drop(self._streams[stream_id])
            case _:
                pass  # on a stream that nobody cares for any more

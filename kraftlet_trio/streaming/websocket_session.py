"""A WebSocket served on a Trio stream.

Pings are answered also while much is to be written. As with SPDY, a stream that nobody reads fills
its buffer, and then the connection waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import structlog
import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    TextMessage,
)

from kraftlet_trio.streaming.outbox import Outbox
from kraftlet_trio.streaming.websocket_errors import WebSocketError

log = structlog.get_logger()

IDLE_SECONDS = 4 * 3600.0
"""The kubelet's ``streamingConnectionIdleTimeout``."""
FINISH_SECONDS = 10.0
"""For the last words."""
CLOSE_SECONDS = 2.0
"""For the client to close in its turn."""

_NORMAL = 1000
"""All else is an error to Kubernetes' clients, whatever the status said."""

Hear = Callable[[bytes, bool], Awaitable[None]]
"""Given the next piece of a message, and whether it is its last.

May raise ``WebSocketError``, and wait, for which the connection then waits.
"""


@attrs.define(eq=False)
class WebSocketSession:
    _outbox: Outbox = attrs.field(init=False)
    _websocket: Connection = attrs.field(
        factory=lambda: Connection(ConnectionType.SERVER), init=False
    )
    _conversation: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _link: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    """As long as there is somebody to talk to."""
    _heard_all: trio.Event = attrs.field(factory=trio.Event, init=False)
    _over: bool = attrs.field(default=False, init=False)
    """Nobody listens to messages any more."""

    def __attrs_post_init__(self) -> None:
        self._outbox = Outbox(self._give_up)

    async def send(self, message: bytes | str) -> None:
        """One message, of at most 32 KiB; thrown away once the client has closed."""
        await self._outbox.wait_room()
        if isinstance(message, str):
            self._put(TextMessage(data=message))
        else:
            self._put(BytesMessage(data=message))

    async def serve(
        self, stream: trio.abc.Stream, hear: Hear, speak: Callable[[], Awaitable[None]]
    ) -> None:
        """Have *speak* hold the conversation; cancelled when the client goes away.

        When it has returned, *hear* must no longer wait for anything.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, stream)
            nursery.start_soon(self._receive, stream, hear)
            with self._link:
                with self._conversation:
                    await speak()
                    # All of it, to a slow reader too: kubectl may well be piped into a pager.
                    await self._outbox.drained()
                self._over = True
                with trio.move_on_after(FINISH_SECONDS) as finishing:
                    self._put(CloseConnection(code=_NORMAL))
                    await self._outbox.drained()
                if not finishing.cancelled_caught:
                    with trio.move_on_after(CLOSE_SECONDS):
                        await self._heard_all.wait()
            nursery.cancel_scope.cancel()

    def _put(self, event: Event) -> None:
        if self._websocket.state is ConnectionState.OPEN:
            self._outbox.put(bytes(self._websocket.send(event)))

    def _give_up(self, reason: str) -> None:
        if not self._link.cancel_called:
            log.warning("WebSocket closed", error=reason)
        self._link.cancel()

    async def _send(self, stream: trio.abc.Stream) -> None:
        try:
            await self._outbox.send_forever(stream)
        except trio.BrokenResourceError:
            self._link.cancel()

    async def _receive(self, stream: trio.abc.Stream, hear: Hear) -> None:
        try:
            while not self._heard_all.is_set():
                data = await self._received(stream)
                if not data:
                    self._link.cancel()
                    return
                self._websocket.receive_data(data)
                for event in self._websocket.events():
                    await self._heard(event, hear)
        except trio.BrokenResourceError:
            self._link.cancel()
        except WebSocketError as error:
            if not self._over:
                log.warning("WebSocket closed", error=str(error))
            self._put(CloseConnection(code=error.code, reason=str(error)))
            self._heard_all.set()
            self._conversation.cancel()

    async def _received(self, stream: trio.abc.Stream) -> bytes:
        """Empty at the end, or after a very long silence."""
        with trio.move_on_after(IDLE_SECONDS):
            return bytes(await stream.receive_some())
        return b""

    async def _heard(self, event: Event, hear: Hear) -> None:
        match event:
            case BytesMessage() | TextMessage() if not self._over:
                data = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                await hear(data, event.message_finished)
            case Ping():
                self._put(event.response())
            case CloseConnection():
                self._closed(event)
            case _:
                pass

    def _closed(self, event: CloseConnection) -> None:
        match self._websocket.state:
            case ConnectionState.REMOTE_CLOSING:
                self._outbox.put(bytes(self._websocket.send(event.response())))
            case ConnectionState.CLOSED:
                pass
            case _:  # no frame of the client's, but wsproto's word for a malformed one
                raise WebSocketError(event.reason or "malformed frame", event.code)
        self._heard_all.set()
        self._conversation.cancel()

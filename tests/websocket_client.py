"""A WebSocket client as small as tests need it, without the opening handshake."""

from __future__ import annotations

import attrs
import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    TextMessage,
)


@attrs.define(eq=False)
class WebSocketClient:
    stream: trio.abc.Stream
    messages: list[bytes | str] = attrs.field(factory=list)
    """Whole ones."""
    pongs: list[bytes] = attrs.field(factory=list)
    close_code: int | None = None
    answers_close: bool = True
    closed: bool = False
    server_done: trio.Event = attrs.field(factory=trio.Event)
    """For who serves it, to be set at the end."""
    _websocket: Connection = attrs.field(factory=lambda: Connection(ConnectionType.CLIENT))
    _sending: trio.Lock = attrs.field(factory=trio.Lock)
    _partial: bytes | str | None = None
    _news: trio.Event = attrs.field(factory=trio.Event)

    async def send(self, message: bytes | str, *, finished: bool = True) -> None:
        kind = TextMessage if isinstance(message, str) else BytesMessage
        await self.say(kind(data=message, message_finished=finished))

    async def say(self, *events: Event) -> None:
        async with self._sending:
            wire = b"".join(bytes(self._websocket.send(event)) for event in events)
            await self.stream.send_all(wire)

    async def ping(self, payload: bytes = b"") -> None:
        await self.say(Ping(payload=payload))

    def on(self, channel: int) -> bytes:
        """What came on *channel* in binary messages."""
        return b"".join(message[1:] for message in self.messages if message[0] == channel)

    async def until(self, condition) -> None:
        while not condition():
            assert not self.closed, "the server has closed the connection"
            await self._news.wait()

    async def wait_closed(self) -> None:
        while not self.closed:
            await self._news.wait()

    async def run(self) -> None:
        """Read until the server closes."""
        try:
            while data := await self.stream.receive_some():
                self._websocket.receive_data(bytes(data))
                for event in self._websocket.events():
                    await self._hear(event)
                self._tell()
        except trio.BrokenResourceError:
            pass
        self.closed = True
        self._tell()

    async def _hear(self, event: Event) -> None:
        match event:
            case BytesMessage() | TextMessage():
                data = event.data if isinstance(event.data, str) else bytes(event.data)
                whole = data if self._partial is None else self._partial + data
                self._partial = None if event.message_finished else whole
                if event.message_finished:
                    self.messages.append(whole)
            case Pong():
                self.pongs.append(bytes(event.payload))
            case CloseConnection():
                self.close_code = event.code
                is_first = self._websocket.state is ConnectionState.REMOTE_CLOSING
                if is_first and self.answers_close:
                    await self.say(event.response())

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

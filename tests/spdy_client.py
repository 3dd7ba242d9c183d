"""A SPDY/3.1 client as small as tests need it: it opens streams, and nothing limits it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio

from kraftlet_trio.streaming.spdy_frames import (
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    Ping,
    RstStream,
    SynReply,
    SynStream,
)


@attrs.define(eq=False)
class ClientStream:
    client: SPDYClient
    stream_id: int
    data: bytearray = attrs.field(factory=bytearray)
    accepted: bool = False
    ended: bool = False
    reset: int | None = None

    async def send(self, data: bytes, *, fin: bool = False) -> None:
        await self.client.send(Data(self.stream_id, data, fin))

    async def until(self, condition) -> None:
        while not condition():
            await self.client.heard()

    async def whole(self) -> bytes:
        """All that the server sends on it."""
        await self.until(lambda: self.ended or self.reset is not None)
        assert self.ended, f"reset with {self.reset}"  # it may be reset after its end
        return bytes(self.data)


@attrs.define(eq=False)
class SPDYClient:
    stream: trio.abc.Stream
    streams: dict[int, ClientStream] = attrs.field(factory=dict)
    frames: list[Frame] = attrs.field(factory=list)
    """All that the server has sent, in order."""
    pings: list[int] = attrs.field(factory=list)
    gone_away: bool = False
    closed: bool = False
    _reader: FrameReader = attrs.field(factory=FrameReader)
    _writer: FrameWriter = attrs.field(factory=FrameWriter)
    _sending: trio.Lock = attrs.field(factory=trio.Lock)
    _next_id: int = 1
    _news: trio.Event = attrs.field(factory=trio.Event)

    async def open(self, headers: Mapping[str, str], *, fin: bool = False) -> ClientStream:
        stream = self.streams[self._next_id] = ClientStream(self, self._next_id)
        self._next_id += 2
        await self.send(SynStream(stream.stream_id, headers, fin))
        return stream

    async def send(self, *frames: Frame) -> None:
        async with self._sending:
            await self.stream.send_all(b"".join(map(self._writer.encode, frames)))

    async def heard(self) -> None:
        assert not self.closed, "the server has closed the connection"
        await self._news.wait()

    async def wait_closed(self) -> None:
        while not self.closed:
            await self._news.wait()

    async def run(self) -> None:
        """Read until the server closes."""
        try:
            while data := await self.stream.receive_some():
                for frame in self._reader.receive(bytes(data)):
                    self._hear(frame)
                self._tell()
        except trio.BrokenResourceError:
            pass
        self.closed = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _hear(self, frame: Frame) -> None:
        self.frames.append(frame)
        match frame:
            case SynReply(stream_id):
                self.streams[stream_id].accepted = True
            case Data(stream_id, data, fin):
                stream = self.streams[stream_id]
                assert stream.accepted, "data before the reply is lost"
                assert not stream.ended, "data after the end"
                stream.data += data
                stream.ended = fin
            case RstStream(stream_id, status):
                if stream_id in self.streams:
                    self.streams[stream_id].reset = status
            case Ping(number):
                self.pings.append(number)
            case GoAway():
                self.gone_away = True

"""The server's side of a SPDY/3.1 connection as a state machine; no I/O.

Only the client opens streams. There is no flow control, as Go's implementation has none.

Source: SPDY protocol, draft 3.1; github.com/moby/spdystream, connection.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import attrs

from kraftlet_trio.streaming.spdy_frames import (
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    Ping,
    ResetStatus,
    RstStream,
    SynReply,
    SynStream,
)

MOST_STREAMS = 1024
"""Open at once; a forwarded connection takes two."""


@attrs.frozen
class StreamOpened:
    """To be accepted, or reset."""

    stream_id: int
    headers: Mapping[str, str]


@attrs.frozen
class DataReceived:
    stream_id: int
    data: bytes


@attrs.frozen
class StreamEnded:
    """The client sends nothing more on it."""

    stream_id: int


@attrs.frozen
class StreamReset:
    """The client neither sends nor reads any more; the stream is gone."""

    stream_id: int


Event = StreamOpened | DataReceived | StreamEnded | StreamReset


@attrs.define
class _Stream:
    they_ended: bool = False
    we_ended: bool = False


@attrs.define
class SPDYConnection:
    """What it has to say goes to *send* at once, in order."""

    _send: Callable[[bytes], None]
    _reader: FrameReader = attrs.field(factory=FrameReader, init=False)
    _writer: FrameWriter = attrs.field(factory=FrameWriter, init=False)
    _streams: dict[int, _Stream] = attrs.field(factory=dict, init=False)
    _last_id: int = attrs.field(default=0, init=False)

    def receive(self, data: bytes) -> Iterator[Event]:
        """What *data* means. Take all events before the next call.

        Raises ``SPDYError``, after which nothing can be received.
        """
        for frame in self._reader.receive(data):
            match frame:
                case SynStream():
                    yield from self._opened(frame)
                case Data():
                    yield from self._data(frame)
                case RstStream(stream_id):
                    if self._streams.pop(stream_id, None) is not None:
                        yield StreamReset(stream_id)
                case Ping(ping_id) if ping_id % 2:  # of the client's own
                    self._put(Ping(ping_id))
                case _:
                    pass  # no meaning to a server that opens no streams

    def accept(self, stream_id: int) -> None:
        """Before anything is sent on it: the client throws away what comes earlier."""
        if stream_id in self._streams:
            self._put(SynReply(stream_id))

    def send_data(self, stream_id: int, data: bytes) -> None:
        """On a stream that is neither reset nor ended."""
        self._put(Data(stream_id, data))

    def end(self, stream_id: int) -> None:
        """Send nothing more on it. A stream that is gone, or ended already, stays as it is."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.we_ended:
            return
        stream.we_ended = True
        self._put(Data(stream_id, fin=True))
        self._forget_if_over(stream_id, stream)

    def reset(self, stream_id: int, status: ResetStatus = ResetStatus.CANCEL) -> None:
        """Neither send nor read any more. A stream that is gone stays so."""
        if self._streams.pop(stream_id, None) is not None:
            self._put(RstStream(stream_id, status))

    def forget(self, stream_id: int) -> None:
        """Care no more for what the client still sends on it."""
        self._streams.pop(stream_id, None)

    def leave(self) -> None:
        """Say so, with nothing to come: Go's client reads nothing after it."""
        for stream_id in [*self._streams]:
            self.reset(stream_id)
        self._put(GoAway(self._last_id))

    def _opened(self, frame: SynStream) -> Iterator[Event]:
        stream_id = frame.stream_id
        if not stream_id % 2 or stream_id <= self._last_id:
            # As Go does, the number is refused, not the connection, nor a stream that has it.
            self._put(RstStream(stream_id, ResetStatus.PROTOCOL_ERROR))
            return
        self._last_id = stream_id
        if len(self._streams) >= MOST_STREAMS:
            self._put(RstStream(stream_id, ResetStatus.REFUSED_STREAM))
            return
        self._streams[stream_id] = _Stream(they_ended=frame.fin)
        yield StreamOpened(stream_id, frame.headers)
        if frame.fin:
            yield StreamEnded(stream_id)

    def _data(self, frame: Data) -> Iterator[Event]:
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            # What a client sent before it heard of a reset is no fault.
            if frame.stream_id > self._last_id and frame.data:
                self._put(RstStream(frame.stream_id, ResetStatus.INVALID_STREAM))
            return
        if stream.they_ended:
            self._put(RstStream(frame.stream_id, ResetStatus.STREAM_ALREADY_CLOSED))
            del self._streams[frame.stream_id]
            yield StreamReset(frame.stream_id)
            return
        if frame.fin:
            stream.they_ended = True
        if frame.data:
            # Until the next event is asked for, the stream may be reset, or ended by us.
            yield DataReceived(frame.stream_id, frame.data)
        if frame.fin:
            self._forget_if_over(frame.stream_id, stream)
            yield StreamEnded(frame.stream_id)

    def _forget_if_over(self, stream_id: int, stream: _Stream) -> None:
        if stream.they_ended and stream.we_ended:
            self._streams.pop(stream_id, None)

    def _put(self, frame: Frame) -> None:
        self._send(self._writer.encode(frame))

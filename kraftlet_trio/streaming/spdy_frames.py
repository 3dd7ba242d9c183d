"""Frames of SPDY/3.1, from bytes and to bytes; no I/O.

::

    control:  1 | version(15) = 3 | type(16)    flags(8) | length(24)
    data:     0 | stream id(31)                 flags(8) | length(24)

Source: SPDY protocol, draft 3.1, 2.2 and 2.6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum

import attrs

from kraftlet_trio.streaming.spdy_errors import SPDYError
from kraftlet_trio.streaming.spdy_header_block import HeaderDecoder, HeaderEncoder

MOST_CONTROL_BYTES = 64 * 1024
"""Of a control frame's payload. Kubernetes sends some 100."""

_VERSION = 3
_FIN = 0x01
_HEAD = struct.Struct(">II")
_ONE = struct.Struct(">I")
_TWO = struct.Struct(">II")
_ID_MASK = 0x7FFFFFFF


class ResetStatus(IntEnum):
    """Why a stream is reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    STREAM_ALREADY_CLOSED = 9


class _Type(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


@attrs.frozen
class SynStream:
    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


@attrs.frozen
class SynReply:
    stream_id: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    fin: bool = False


@attrs.frozen
class RstStream:
    stream_id: int
    status: int


@attrs.frozen
class Ping:
    ping_id: int


@attrs.frozen
class GoAway:
    last_stream_id: int
    status: int = 0


@attrs.frozen
class Headers:
    stream_id: int
    headers: Mapping[str, str]
    fin: bool = False


@attrs.frozen
class Data:
    """A data frame, or a part of a long one; ``fin`` comes with its last part."""

    stream_id: int
    data: bytes = b""
    fin: bool = False


Frame = SynStream | SynReply | RstStream | Ping | GoAway | Headers | Data


class FrameWriter:
    def __init__(self) -> None:
        self._headers = HeaderEncoder()

    def encode(self, frame: Frame) -> bytes:
        """Must be sent in the order of the calls."""
        match frame:
            case Data(stream_id, data, fin):
                return _HEAD.pack(stream_id, _flags(fin) << 24 | len(data)) + data
            case SynStream(stream_id, headers, fin):
                body = _TWO.pack(stream_id, 0) + b"\0\0" + self._headers.encode(headers)
                return _control(_Type.SYN_STREAM, body, _flags(fin))
            case SynReply(stream_id, headers, fin):
                body = _ONE.pack(stream_id) + self._headers.encode(headers)
                return _control(_Type.SYN_REPLY, body, _flags(fin))
            case Headers(stream_id, headers, fin):
                body = _ONE.pack(stream_id) + self._headers.encode(headers)
                return _control(_Type.HEADERS, body, _flags(fin))
            case RstStream(stream_id, status):
                return _control(_Type.RST_STREAM, _TWO.pack(stream_id, status))
            case Ping(ping_id):
                return _control(_Type.PING, _ONE.pack(ping_id))
            case GoAway(last_stream_id, status):
                return _control(_Type.GOAWAY, _TWO.pack(last_stream_id, status))


class FrameReader:
    """Keeps no more than one control frame, whatever the peer sends."""

    def __init__(self) -> None:
        self._headers = HeaderDecoder()
        self._unread = bytearray()
        self._data: tuple[int, int, bool] | None = None
        """Of the data frame that has begun: its stream, how much is to come, whether it ends."""

    def receive(self, data: bytes) -> Iterator[Frame]:
        """The frames that *data* completes, settings and window updates left out.

        Take all of them before the next call. Raises ``SPDYError``, after which there are no more.
        """
        self._unread += data
        while True:
            if self._data is not None:
                part = self._data_part()
                if part is None:
                    return
                yield part
                continue
            if len(self._unread) < _HEAD.size:
                return
            first, second = _HEAD.unpack_from(self._unread)
            flags, length = second >> 24, second & 0xFFFFFF
            if not first >> 31:
                del self._unread[: _HEAD.size]
                self._data = (first, length, bool(flags & _FIN))
                continue
            if first >> 16 != 0x8000 | _VERSION:
                raise SPDYError(f"a frame of version {first >> 16 & 0x7FFF}")
            if length > MOST_CONTROL_BYTES:
                raise SPDYError(f"a control frame of {length} bytes")
            if len(self._unread) < _HEAD.size + length:
                return
            body = bytes(self._unread[_HEAD.size : _HEAD.size + length])
            del self._unread[: _HEAD.size + length]
            frame = self._control(first & 0xFFFF, flags, body)
            if frame is not None:
                yield frame

    def _data_part(self) -> Data | None:
        """None when more bytes are needed."""
        assert self._data is not None
        stream_id, missing, fin = self._data
        part = bytes(self._unread[:missing])
        if missing and not part:
            return None
        del self._unread[:missing]
        missing -= len(part)
        self._data = (stream_id, missing, fin) if missing else None
        return Data(stream_id, part, fin=fin and not missing)

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        fin = bool(flags & _FIN)
        match kind:
            case _Type.SYN_STREAM:
                if len(body) < 10:
                    raise SPDYError("a SYN_STREAM that is too short")
                headers = self._headers.decode(body[10:])
                return SynStream(_stream_id(body), headers, fin)
            case _Type.SYN_REPLY | _Type.HEADERS:
                if len(body) < 4:
                    raise SPDYError("a SYN_REPLY or HEADERS that is too short")
                headers = self._headers.decode(body[4:])
                cls = SynReply if kind == _Type.SYN_REPLY else Headers
                return cls(_stream_id(body), headers, fin)
            case _Type.RST_STREAM:
                _, status = _unpacked(_TWO, body, "RST_STREAM")
                return RstStream(_stream_id(body), status)
            case _Type.PING:
                (ping_id,) = _unpacked(_ONE, body, "PING")
                return Ping(ping_id)
            case _Type.GOAWAY:
                _, status = _unpacked(_TWO, body, "GOAWAY")
                return GoAway(_stream_id(body), status)
            case _Type.SETTINGS | _Type.WINDOW_UPDATE:
                return None  # Kubernetes has no flow control, and no setting has a meaning
            case _:
                raise SPDYError(f"a control frame of the unknown type {kind}")


def _flags(fin: bool) -> int:  # noqa: FBT001 (a bit of the frame)
    return _FIN if fin else 0


def _control(kind: int, body: bytes, flags: int = 0) -> bytes:
    return _HEAD.pack((0x8000 | _VERSION) << 16 | kind, flags << 24 | len(body)) + body


def _stream_id(body: bytes) -> int:
    (number,) = _ONE.unpack_from(body)
    return int(number) & _ID_MASK


def _unpacked(layout: struct.Struct, body: bytes, name: str) -> tuple[int, ...]:
    if len(body) != layout.size:
        raise SPDYError(f"a {name} of {len(body)} bytes")
    return layout.unpack(body)

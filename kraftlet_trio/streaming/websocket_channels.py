"""Channels within one WebSocket, from messages and to messages; no I/O.

The first byte of a message names its channel: as it is, or as a digit before base64.

Source: Kubernetes, staging/src/k8s.io/streaming, pkg/httpstream/wsstream/conn.go.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import attrs

from kraftlet_trio.streaming.remote_command import MOST_PIECE_BYTES
from kraftlet_trio.streaming.websocket_errors import WebSocketError

MOST_MESSAGE_BYTES = 1024 * 1024
"""Of one message from a client. Kubernetes' own send 32 KiB."""
BASE64_PROTOCOLS = ("v4.base64.channel.k8s.io", "base64.channel.k8s.io")
CLOSING_PROTOCOL = "v5.channel.k8s.io"
"""In which a message ``[255, n]`` ends the channel *n*."""

_CLOSE = 255
_TOO_BIG = 1009
_NOT_BASE64 = 1007


@attrs.frozen
class ChannelData:
    """A piece: messages mean nothing beyond naming their channel."""

    channel: int
    data: bytes


@attrs.frozen
class ChannelEnded:
    channel: int


@attrs.define
class ChannelWriter:
    """*protocol* is None for the oldest, which has no name."""

    protocol: str | None

    def encode(self, channel: int, data: bytes = b"") -> Iterator[bytes | str]:
        """Messages of at most 32 KiB: text where the protocol has base64. At least one."""
        coded = self.protocol in BASE64_PROTOCOLS
        most = (MOST_PIECE_BYTES - 1) // 4 * 3 if coded else MOST_PIECE_BYTES - 1
        for start in range(0, max(len(data), 1), most):
            piece = data[start : start + most]
            if coded:
                yield chr(ord("0") + channel) + base64.b64encode(piece).decode()
            else:
                yield bytes([channel]) + piece


@attrs.define
class ChannelReader:
    """*protocol* is None for the oldest, which has no name."""

    protocol: str | None
    _channel: int | None = attrs.field(default=None, init=False)
    """Of the message under way; only its first byte tells."""
    _size: int = attrs.field(default=0, init=False)
    _rest: bytes = attrs.field(default=b"", init=False)
    """Of base64, less than makes whole bytes."""
    _padded: bool = attrs.field(default=False, init=False)

    def receive(self, piece: bytes, *, finished: bool) -> Iterator[ChannelData | ChannelEnded]:
        """The next *piece* of a message, the last one if *finished*.

        Channels may be any from 0 to 255, also such as nobody uses. Take all before the next call.

        Raises ``WebSocketError``, after which nothing can be received.
        """
        self._size += len(piece)
        if self._size > MOST_MESSAGE_BYTES:
            raise WebSocketError(f"a message of more than {MOST_MESSAGE_BYTES} bytes", _TOO_BIG)
        if self._channel is None and piece:
            self._channel, piece = self._named(piece[0]), piece[1:]
        data = self._decoded(piece, finished=finished) if self._is_coded else piece
        channel = self._channel
        if finished:
            self._channel, self._size, self._padded = None, 0, False
        if channel is None or not data:
            return
        if channel == _CLOSE and self.protocol == CLOSING_PROTOCOL:
            yield ChannelEnded(data[0])
        else:
            yield ChannelData(channel, data)

    @property
    def _is_coded(self) -> bool:
        return self.protocol in BASE64_PROTOCOLS

    def _named(self, byte: int) -> int:
        if not self._is_coded:
            return byte
        if byte < ord("0"):
            raise WebSocketError("a message that names no channel", _NOT_BASE64)
        return byte - ord("0")

    def _decoded(self, piece: bytes, *, finished: bool) -> bytes:
        text = self._rest + piece
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        if (finished and self._rest) or (self._padded and text):
            raise WebSocketError("base64 with a wrong length", _NOT_BASE64)
        self._padded = self._padded or text[:whole].endswith(b"=")
        try:
            return binascii.a2b_base64(text[:whole], strict_mode=True) if whole else b""
        except binascii.Error as error:
            raise WebSocketError(f"malformed base64: {error}", _NOT_BASE64) from error

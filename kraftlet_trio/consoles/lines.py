"""A log from its bytes: lines, where the last of them begin, and what is sent of each.

Nothing here is decoded: a console's bytes pass as they are, whatever they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import attrs

LONGEST_PIECE_BYTES = 16 * 1024
"""Of a line without an end; the kubelet's runtimes pass it on in pieces as long."""


@attrs.frozen
class Piece:
    """A line with its end, or a part of one that is longer, or unfinished."""

    offset: int
    """Of its first byte in the console."""
    data: bytes
    begins_line: bool = True


class LineCutter:
    """Cuts bytes that follow one another into lines, however they come."""

    def __init__(self, offset: int) -> None:
        """The first byte is the console's at *offset*, and begins a line."""
        self._offset = offset
        self._rest = bytearray()
        self._begins_line = True

    @property
    def offset(self) -> int:
        """Of the byte that is to come next."""
        return self._offset + len(self._rest)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The lines that *data* ends; to be exhausted before the next call."""
        self._rest += data
        begin = 0
        while begin < len(self._rest):
            longest = begin + LONGEST_PIECE_BYTES
            end = self._rest.find(b"\n", begin, longest) + 1
            if not end:
                if len(self._rest) < longest:
                    break
                end = longest
            yield self._piece(bytes(self._rest[begin:end]))
            begin = end
        del self._rest[:begin]

    def finish(self) -> Iterator[Piece]:
        """What is left without an end, and never will get one. A line begins after it."""
        if self._rest:
            rest = bytes(self._rest)
            self._rest.clear()
            yield self._piece(rest)
        self._begins_line = True

    def skip_to(self, offset: int) -> None:
        """What comes next is the console's at *offset*. Call it right after ``finish``."""
        self._offset = offset

    def _piece(self, data: bytes) -> Piece:
        piece = Piece(self._offset, data, self._begins_line)
        self._offset += len(data)
        self._begins_line = data.endswith(b"\n")
        return piece


class TailSearch:
    """Finds where the last lines begin, in pages that are fed from the end backwards."""

    def __init__(self, lines: int, end: int) -> None:
        """*end* is the offset behind the last byte. A line without an end counts as well."""
        self.offset = end
        """Where the last lines begin, once ``is_found``; else the end of the next page."""
        self.is_found = lines == 0
        self._lines = lines
        self._is_last = True

    def feed(self, page: bytes) -> None:
        """*page* is not empty, and ends at ``offset``."""
        end = len(page)
        if self._is_last and page.endswith(b"\n"):
            end -= 1  # it ends the last line
        self._is_last = False
        while (newline := page.rfind(b"\n", 0, end)) >= 0:
            self._lines -= 1
            if self._lines == 0:
                self.offset -= len(page) - newline - 1
                self.is_found = True
                return
            end = newline
        self.offset -= len(page)


@attrs.define
class LogForm:
    """What is sent of a log's pieces.

    As the kubelet has it, ``limit_bytes`` counts the prefixes, and cuts wherever it is reached.
    """

    timestamps: bool = False
    since: datetime | None = None
    """Lines of an earlier time are left out."""
    bytes_left: int | None = None
    """None: without limit."""
    time_of: Callable[[int], datetime] = attrs.field(kw_only=True)
    """When the byte at an offset was written."""
    _leaves_out: bool = attrs.field(default=False, init=False)

    @property
    def is_full(self) -> bool:
        return self.bytes_left is not None and self.bytes_left <= 0

    def sent(self, piece: Piece) -> bytes:
        prefix = b""
        if piece.begins_line and (self.timestamps or self.since is not None):
            time = self.time_of(piece.offset)
            self._leaves_out = self.since is not None and time < self.since
            if self.timestamps:
                prefix = timestamp(time)
        if self._leaves_out:
            return b""
        sent = prefix + piece.data
        if self.bytes_left is not None:
            sent = sent[: self.bytes_left]
            self.bytes_left -= len(sent)
        return sent


def timestamp(time: datetime) -> bytes:
    """The prefix of a line written at *time* (UTC): nine digits, as Go's RFC3339NanoFixed."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond:06}000Z ".encode()

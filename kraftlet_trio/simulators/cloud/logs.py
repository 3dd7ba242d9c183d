"""An instance's console output: bytes in one offset space that survives restarts."""

from __future__ import annotations

import attrs


@attrs.define
class Log:
    """Keeps the last *capacity* bytes; offsets count from the instance's creation."""

    _capacity: int
    _kept: bytearray = attrs.field(factory=bytearray, init=False)
    start: int = attrs.field(default=0, init=False)
    """Offset of the oldest byte still there."""

    @property
    def end(self) -> int:
        """Offset behind the newest byte."""
        return self.start + len(self._kept)

    def append(self, data: bytes) -> None:
        self._kept += data
        surplus = len(self._kept) - self._capacity
        if surplus > 0:
            del self._kept[:surplus]
            self.start += surplus

    @classmethod
    def resumed(cls, capacity: int, start: int, content: bytes) -> Log:
        """One that goes on where an earlier one ended."""
        log = cls(capacity)
        log.start = start
        log.append(content)
        return log

    @property
    def content(self) -> bytes:
        """All that is still there."""
        return bytes(self._kept)

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """Up to *limit* bytes from *offset*, and the offset they begin at.

        A negative offset counts from the end; one that was dropped moves up to the oldest byte,
        and one behind the end reads nothing there.
        """
        begin = self.end + offset if offset < 0 else offset
        begin = min(max(begin, self.start), self.end)
        at = begin - self.start
        return begin, bytes(self._kept[at : at + limit])

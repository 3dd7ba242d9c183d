"""When consoles had grown how far: the platform keeps no times of what an instance writes.

A mark says how long a console was when somebody looked. A line's time is that of the first mark
behind its first byte: by then it had appeared. Marks are looked for every some seconds, so that
is how much later a line may seem; what was there at the first look seems of that moment.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from datetime import UTC, datetime, timedelta

MOST_MARKS = 256
"""Of an instance; 4 KiB of memory."""
_NEWEST = 64
"""That many are not thinned out."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Marks:
    """Of one console. As their number is bounded, the older ones are ever farther apart."""

    def __init__(self) -> None:
        self._ends = array("q")
        self._times = array("q")
        """Microseconds since 1970, which like the ends only grow."""

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def end(self) -> int:
        """The length at the last mark."""
        return self._ends[-1] if self._ends else 0

    def note(self, end: int, time: datetime) -> None:
        """*end* bytes had been written by *time*. Says nothing new where they had been before."""
        if end <= self.end:
            return
        microseconds = (time - _EPOCH) // _MICROSECOND
        if self._times:
            microseconds = max(microseconds, self._times[-1])
        self._ends.append(end)
        self._times.append(microseconds)
        if len(self._ends) > MOST_MARKS:
            # Whoever loses a mark takes the next one's time: it had appeared by then, too.
            del self._ends[:-_NEWEST:2], self._times[:-_NEWEST:2]

    def time_of(self, offset: int) -> datetime | None:
        """By when the byte at *offset* had appeared; None behind the last mark."""
        position = bisect_right(self._ends, offset)
        if position == len(self._times):
            return None
        return _EPOCH + timedelta(microseconds=self._times[position])

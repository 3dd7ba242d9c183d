"""Times of bytes, from marks of how long a console was when."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.consoles.marks import MOST_MARKS, Marks

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


@given(growths=st.lists(st.integers(0, 3), max_size=1000), offset=st.integers(0, 3000))
def test_byte_had_appeared_by_its_time_and_marks_are_bounded(growths, offset):
    marks, ends, end = Marks(), [], 0
    for second, growth in enumerate(growths):
        end += growth
        ends.append(end)
        marks.note(end, at(second))
        assert len(marks) <= MOST_MARKS
    time = marks.time_of(offset)
    appeared = bisect_right(ends, offset)
    if appeared == len(ends):
        assert time is None
    else:
        assert time is not None
        assert time >= at(appeared)
        if len(ends) <= MOST_MARKS:
            assert time == at(appeared)


@given(ends=st.lists(st.tuples(st.integers(0, 1000), st.integers(-100, 100)), max_size=600))
def test_times_never_go_back_within_a_console(ends):
    marks = Marks()
    for end, second in ends:
        marks.note(end, at(second))
    times = [marks.time_of(offset) for offset in range(0, 1001, 7)]
    known = [time for time in times if time is not None]
    assert known == sorted(known)
    assert all(time is None for time in times[len(known) :])


def test_newest_marks_are_exact():
    marks = Marks()
    for second in range(5000):
        marks.note(second + 1, at(second))
    for second in range(4950, 5000):
        assert marks.time_of(second) == at(second)

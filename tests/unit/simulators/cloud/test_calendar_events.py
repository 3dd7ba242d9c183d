"""Calendar expressions of schedules."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.simulators.cloud.calendar_events import read_calendar_event
from kraftlet_trio.simulators.cloud.errors import ItemError

FRIDAY = datetime(2026, 5, 29, 8, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "next_time"),
    [
        ("*-*-* 09:00:00", "2026-05-29T09:00:00"),
        ("*-*-* 08:30:15", "2026-05-30T08:30:15"),
        ("09:00", "2026-05-29T09:00:00"),
        ("Sat,Sun *-*-* 20:00:00", "2026-05-30T20:00:00"),
        ("mon..wed", "2026-06-01T00:00:00"),
        ("2027-1-2", "2027-01-02T00:00:00"),
        ("2-29 12:00", "2028-02-29T12:00:00"),
        ("*:0/15", "2026-05-29T08:45:00"),
        ("*:*:1..59/20", "2026-05-29T08:30:21"),
        ("2020-*-*", None),
    ],
)
def test_the_next_time_is_found(text, next_time):
    found = read_calendar_event(text).next_after(FRIDAY)
    assert (found and found.strftime("%Y-%m-%dT%H:%M:%S")) == next_time


@pytest.mark.parametrize(
    "text",
    ["", " ", "daily?", "25:00", "13-1", "a-b-c", "9:00 9:00", "5..1:00", "*:0/0", "1-2-3-4"],
)
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(ItemError):
        read_calendar_event(text)


@given(st.text("*0123456789-:,./ montuewd", max_size=20))
def test_any_text_is_an_expression_or_refused(text):
    try:
        event = read_calendar_event(text)
    except ItemError:
        return
    found = event.next_after(FRIDAY)
    assert found is None or found > FRIDAY

"""Calendar events as systemd writes them, in UTC: when a schedule acts (reference, schedules).

``[weekday] [[year-]month-day] [hour:minute[:second]]``, each part a ``*``, a number, a range
``a..b``, either with a step ``/n``, or a list of those parted by commas.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs

from kraftlet_trio.simulators.cloud.errors import invalid

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_YEARS = (1970, 2200)
_MOST_DAYS_AHEAD = 366 * 8
"""A 29th of February can be so far away."""


@attrs.frozen
class CalendarEvent:
    weekdays: frozenset[int]
    years: frozenset[int]
    months: frozenset[int]
    days: frozenset[int]
    hours: Sequence[int]
    minutes: Sequence[int]
    seconds: Sequence[int]

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after *moment*, None if there is none in the coming years."""
        moment = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        midnight = moment.replace(hour=0, minute=0, second=0)
        for ahead in range(_MOST_DAYS_AHEAD):
            day = midnight + timedelta(days=ahead)
            if not self._has_day(day):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    for second in self.seconds:
                        at = day.replace(hour=hour, minute=minute, second=second)
                        if at >= moment:
                            return at
        return None

    def _has_day(self, day: datetime) -> bool:
        return (
            day.weekday() in self.weekdays
            and day.year in self.years
            and day.month in self.months
            and day.day in self.days
        )


def read_calendar_event(text: str) -> CalendarEvent:
    """Raises ``ItemError`` if *text* is none."""
    words = text.split()
    weekdays, date, time = "*", "*-*-*", "00:00:00"
    if words and words[0][:1].isalpha():
        weekdays = words.pop(0)
    if words and "-" in words[0]:
        date = words.pop(0)
    if words and ":" in words[0]:
        time = words.pop(0)
    try:
        if words or not text.strip():
            raise ValueError
        year, month, day = _parts(date, "-", "*")
        hour, minute, second = _parts(time, ":", "00", at_end=True)
        return CalendarEvent(
            weekdays=frozenset(_values(_numbered(weekdays), 0, 6)),
            years=frozenset(_values(year, *_YEARS)),
            months=frozenset(_values(month, 1, 12)),
            days=frozenset(_values(day, 1, 31)),
            hours=_values(hour, 0, 23),
            minutes=_values(minute, 0, 59),
            seconds=_values(second, 0, 59),
        )
    except ValueError as error:
        raise invalid(f"Invalid calendar expression '{text[:80]}'") from error


def _parts(text: str, separator: str, missing: str, *, at_end: bool = False) -> list[str]:
    """Three parts, of which one may be *missing* at the beginning or the end."""
    parts = text.split(separator)
    if len(parts) == 2:
        parts = [*parts, missing] if at_end else [missing, *parts]
    if len(parts) != 3:
        raise ValueError
    return parts


def _numbered(weekdays: str) -> str:
    for number, name in enumerate(_WEEKDAYS):
        weekdays = weekdays.lower().replace(name, str(number))
    return weekdays


def _values(text: str, low: int, high: int) -> list[int]:
    """Raises ``ValueError`` for what is no such list of numbers from *low* to *high*."""
    values: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        first, dots, last = span.partition("..")
        if first == "*" and not dots:
            begin, end = low, high
        else:
            begin = _number(first)
            end = _number(last) if dots else high if slash else begin
        if not low <= begin <= end <= high:
            raise ValueError
        values.update(range(begin, end + 1, _number(step) if slash else 1))
    return sorted(values)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise ValueError
    return int(text)

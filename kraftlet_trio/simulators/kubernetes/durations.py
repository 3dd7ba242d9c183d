"""Times as kubectl prints ages. Source: apimachinery ``util/duration``."""

from __future__ import annotations

from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def age(since: str | None, now: datetime) -> str:
    """Of an RFC 3339 time; ``<unknown>`` for none."""
    if not since:
        return "<unknown>"
    return human_duration(int((now - datetime.fromisoformat(since)).total_seconds()))


def human_duration(seconds: int) -> str:
    """In one unit or two: ``90s``, ``5m30s``, ``170m``, ``3h2m``, ``47h``, ``2d1h``, ``8d``."""
    seconds = max(seconds, 0)
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 10 * _MINUTE:
        return _two(seconds, _MINUTE, "m", 1, "s")
    if seconds < 3 * _HOUR:
        return f"{seconds // _MINUTE}m"
    if seconds < 8 * _HOUR:
        return _two(seconds, _HOUR, "h", _MINUTE, "m")
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR}h"
    if seconds < 8 * _DAY:
        return _two(seconds, _DAY, "d", _HOUR, "h")
    if seconds < 2 * 365 * _DAY:
        return f"{seconds // _DAY}d"
    if seconds < 8 * 365 * _DAY:
        return _two(seconds, 365 * _DAY, "y", _DAY, "d")
    return f"{seconds // (365 * _DAY)}y"


def _two(seconds: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large}{large_unit}" + (f"{rest}{small_unit}" if rest else "")

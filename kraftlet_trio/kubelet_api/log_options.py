"""The query of ``/containerLogs`` as a kubelet reads it.

Sources: kubelet, ``getContainerLogs``; apimachinery's conversions of queries; validation of
PodLogOptions. Only the absence of a boolean, ``false`` and ``0`` mean no.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

import attrs

from kraftlet_trio.consoles.run_log import LogQuestion

_INTEGER = re.compile(r"[+-]?[0-9]+")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]+))?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)
_INT64 = range(-(2**63), 2**63)
_LONGEST_SINCE_SECONDS = 10**9
"""Longer ago is always: 32 years."""


class BadLogOptions(Exception):
    """The query is not understood; *status* and the text are what a kubelet answers."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen(kw_only=True)
class LogOptions:
    previous: bool
    question: LogQuestion


def log_options(query: Iterable[tuple[str, str]], now: datetime) -> LogOptions:
    """Of parameters that repeat the first counts. Raises ``BadLogOptions``."""
    values: dict[str, str] = {}
    for name, value in query:
        values.setdefault(name, value)
    if tail := values.get("tail"):
        values.pop("tailLines", None)
        if tail != "all":
            values["tailLines"] = tail
    if values.get("stream", "All") not in ("All", ""):
        raise BadLogOptions(400, "stdout and stderr are one stream on this node: ask for All")
    tail_lines = _integer(values, "tailLines")
    limit_bytes = _integer(values, "limitBytes")
    since_seconds = _integer(values, "sinceSeconds")
    since = _time(values, "sinceTime")
    if (
        (tail_lines is not None and tail_lines < 0)
        or (limit_bytes is not None and limit_bytes < 1)
        or (since_seconds is not None and (since_seconds < 1 or since is not None))
    ):
        raise BadLogOptions(422, '{"message": "Invalid request."}')
    if since_seconds is not None:
        since = now - timedelta(seconds=min(since_seconds, _LONGEST_SINCE_SECONDS))
    return LogOptions(
        previous=_boolean(values, "previous"),
        question=LogQuestion(
            follow=_boolean(values, "follow"),
            timestamps=_boolean(values, "timestamps"),
            since=since,
            tail_lines=tail_lines,
            limit_bytes=limit_bytes,
        ),
    )


def _undecodable() -> BadLogOptions:
    return BadLogOptions(400, '{"message": "Unable to decode query."}')


def _boolean(values: dict[str, str], name: str) -> bool:
    return name in values and values[name].lower() not in ("false", "0")


def _integer(values: dict[str, str], name: str) -> int | None:
    if name not in values:
        return None
    if not _INTEGER.fullmatch(values[name]) or len(values[name]) > 20:
        raise _undecodable()
    if (number := int(values[name])) not in _INT64:
        raise _undecodable()
    return number


def _time(values: dict[str, str], name: str) -> datetime | None:
    text = values.get(name, "")
    if text in ("", "null"):
        return None
    parts = _TIME.fullmatch(text)
    if parts is None:
        raise _undecodable()
    seconds, fraction, zone = parts.groups()
    try:
        time = datetime.fromisoformat(seconds + ("+00:00" if zone == "Z" else zone))
        return time + timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))
    except (ValueError, OverflowError):
        raise _undecodable() from None

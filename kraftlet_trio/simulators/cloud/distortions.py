"""Answers changed on their way to the client. Streams pass as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs
import orjson

from kraftlet_trio.http.messages import Response

_TIME_KEYS = re.compile(r".*_at|retained_until|not_before|not_after|next|timestamp")
"""Members that hold a time of the platform's, wherever they are."""


def truncated(response: Response, keep: float) -> Response:
    """With the part *keep* of the body."""
    if response.stream is not None:
        return response
    return attrs.evolve(response, body=response.body[: int(len(response.body) * keep)])


def unfamiliar(
    response: Response, fields: Mapping[str, object], state: str | None, code: int | None
) -> Response:
    """With *fields* in the envelope and in each item, whose state and error code change."""

    def change(envelope: Any) -> Any:
        if not isinstance(envelope, dict):
            return envelope
        data = envelope.get("data")
        for items in data.values() if isinstance(data, dict) else ():
            for item in items if isinstance(items, list) else ():
                if state is not None and "state" in item:
                    item["state"] = state
                if code is not None and "error" in item:
                    item["error"] = code
                item.update(fields)
        return {**envelope, **fields}

    return _changed(response, change)


def skewed(response: Response, seconds: float) -> Response:
    """With all times moved by *seconds*."""
    return _changed(response, lambda document: _move_times(document, timedelta(seconds=seconds)))


def _move_times(value: Any, by: timedelta, key: str = "") -> Any:
    match value:
        case dict():
            return {name: _move_times(member, by, name) for name, member in value.items()}
        case list():
            return [_move_times(member, by, key) for member in value]
        case str() if _TIME_KEYS.fullmatch(key):
            return _moved(value, by)
        case _:
            return value


def _moved(text: str, by: timedelta) -> str:
    try:
        moved = datetime.fromisoformat(text) + by
    except (ValueError, OverflowError):
        return text
    return moved.isoformat().replace("+00:00", "Z")


def _changed(response: Response, change: Callable[[Any], Any]) -> Response:
    if response.stream is not None:
        return response
    try:
        document = orjson.loads(response.body)
    except ValueError:
        return response
    return attrs.evolve(response, body=orjson.dumps(change(document)))

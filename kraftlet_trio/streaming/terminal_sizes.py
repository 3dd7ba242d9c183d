"""Sizes of a terminal as they come from a client: JSON objects, in pieces or several at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import trio

from kraftlet_trio.streaming.remote_command import TerminalSize

MOST_UNREAD_CHARACTERS = 4096
_LARGEST = 0xFFFF
_DECODER = json.JSONDecoder()


@attrs.define(eq=False)
class TerminalSizes:
    """Holds the last size until somebody takes it."""

    _unread: str = attrs.field(default="", init=False)
    _last: TerminalSize | None = attrs.field(default=None, init=False)
    _added: trio.Event = attrs.field(factory=trio.Event, init=False)

    def feed(self, data: bytes) -> None:
        """What means nothing is left out."""
        self._unread = (self._unread + data.decode("utf-8", "replace")).lstrip()
        while self._unread:
            try:
                value, end = _DECODER.raw_decode(self._unread)
            except (ValueError, RecursionError):  # also for a number of thousands of digits
                if len(self._unread) > MOST_UNREAD_CHARACTERS:
                    self._unread = ""
                return
            self._unread = self._unread[end:].lstrip()
            size = _size(value)
            if size is not None:
                self._last = size
                self._added.set()

    async def next(self) -> TerminalSize:
        await self._added.wait()
        self._added = trio.Event()
        size, self._last = self._last, None
        assert size is not None
        return size


def _size(value: Any) -> TerminalSize | None:
    if not isinstance(value, Mapping):
        return None
    width, height = (value.get(name) for name in ("Width", "Height"))
    if type(width) is not int or type(height) is not int:
        return None
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        return None
    return TerminalSize(width, height)

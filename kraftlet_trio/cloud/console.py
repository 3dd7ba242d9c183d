"""An instance's console: one stream of bytes over all runs, of which the head may be lost."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import attrs

from kraftlet_trio.cloud.errors import CloudUnavailable

CONSOLE_PAGE_BYTES = 16383
"""The most that the platform hands out at once."""


@attrs.frozen
class ConsolePart:
    """What to read of an instance's console: at most *limit* bytes from *offset* on."""

    uuid: str
    offset: int
    limit: int = CONSOLE_PAGE_BYTES


@attrs.frozen(kw_only=True)
class ConsolePage:
    """A part of the console, and how much of it there is."""

    data: bytes
    start: int
    """Offset of ``data`` in the stream of all runs."""
    available_start: int
    """Offset of the oldest byte that the platform still has."""
    available_end: int
    """Offset behind the newest byte."""
    state: str
    """The instance's, at the moment of reading."""

    @property
    def end(self) -> int:
        """Offset behind ``data``: where to read on."""
        return self.start + len(self.data)


@attrs.frozen
class ConsoleReading:
    """What a read of many consoles found. One that could not be told about is in neither."""

    pages: Mapping[str, ConsolePage]
    """By the instance's uuid."""
    missing: frozenset[str]
    """UUIDs of instances that do not exist."""


def console_page(item: Mapping[str, Any]) -> ConsolePage:
    """The page that an item of the platform's answer holds. Raises ``CloudUnavailable``."""
    try:
        data = base64.b64decode(item.get("output") or "", validate=True)
        available = item.get("available") or {}
        range_ = item.get("range") or {}
        end = int(available.get("end") or 0)
        return ConsolePage(
            data=data,
            start=int(range_.get("start") or 0) if data else end,
            available_start=int(available.get("start") or 0),
            available_end=end,
            state=str(item.get("state") or ""),
        )
    except (binascii.Error, TypeError, ValueError, AttributeError) as error:
        raise CloudUnavailable(f"the platform's answer holds no console: {error}") from error

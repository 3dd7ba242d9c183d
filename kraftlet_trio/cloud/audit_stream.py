"""The platform's stream of events, as far as it says that an instance is worth a look.

Server-Sent Events, without ids and without replay: what happened while nobody listened is never
told, nor are creations and deletions. So events are hints, and what is true is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
import orjson

from kraftlet_trio.cloud.errors import CloudUnavailable

LONGEST_SILENCE_SECONDS: Final = 45.0
"""The platform sends a heartbeat when nothing has happened for 30 s."""
_LONGEST_EVENT = 1 << 20
_GAP = "gap"


@attrs.frozen
class Changed:
    """Something happened to the instance with this UUID."""

    uuid: str


@attrs.frozen
class Missed:
    """Events were dropped: anything may have happened."""


Hint = Changed | Missed


@attrs.define
class EventStreamParser:
    """Turns a stream's bytes, cut anywhere, into hints."""

    _rest: bytes = b""
    _kind: str = ""
    _data: list[bytes] = attrs.field(factory=list)

    def feed(self, piece: bytes) -> Iterator[Hint]:
        """Raises ``CloudUnavailable`` for an event that does not end."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            yield from self._take(line.removesuffix(b"\r"))
        if len(self._rest) + sum(map(len, self._data)) > _LONGEST_EVENT:
            raise CloudUnavailable("the platform's event stream holds an event without end")

    def _take(self, line: bytes) -> Iterator[Hint]:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"":
                if not line:
                    yield from self._event()
            case b"event":
                self._kind = value.decode(errors="replace")
            case b"data":
                self._data.append(value)

    def _event(self) -> Iterator[Hint]:
        kind, data = self._kind, b"\n".join(self._data)
        self._kind, self._data = "", []
        if kind == _GAP:
            yield Missed()
        elif data:
            try:
                uuid = orjson.loads(data)["object"]["uuid"]
            except (ValueError, LookupError, TypeError):
                return  # a kind of event that this version does not know
            if isinstance(uuid, str):
                yield Changed(uuid)

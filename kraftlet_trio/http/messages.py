"""One HTTP exchange as values: what a request handler is given and what it answers.

A handler has two fronts: the h11 server (``server.py``) and an httpx transport in memory
(``memory.py``). It can tell neither from the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import attrs
import orjson

SendBytes = Callable[[bytes], Awaitable[None]]
"""Sends one piece of a streamed body; raises ``trio.BrokenResourceError`` once the peer is gone."""

Streamer = Callable[[SendBytes], Awaitable[None]]
"""Writes a streamed body; returns at its end, and is cancelled when the peer goes away."""


@attrs.frozen(kw_only=True)
class Request:
    """A request, its body read whole."""

    method: str
    path: str
    """Percent-encoded, without the query."""
    query_string: str = ""
    """Percent-encoded, without the question mark."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Names in lower case; a repeated header's values are joined by a comma."""
    body: bytes = b""

    @property
    def query(self) -> list[tuple[str, str]]:
        """Decoded pairs in the order sent; names may repeat."""
        return parse_qsl(self.query_string, keep_blank_values=True)

    def json(self) -> Any:
        """The body as JSON. Raises ``ValueError`` when it is not."""
        return orjson.loads(self.body)


@attrs.frozen(kw_only=True)
class Response:
    """An answer: a whole ``body``, or a ``stream`` that is written while the peer reads."""

    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    stream: Streamer | None = None
    """When set, ``body`` is ignored and the answer is chunked."""


def json_response(value: Any, status: int = 200) -> Response:
    return Response(
        status=status,
        headers={"content-type": "application/json"},
        body=orjson.dumps(value),
    )


Handler = Callable[[Request], Awaitable[Response]]

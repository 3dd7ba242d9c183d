"""One HTTP exchange as values: what a request handler is given and what it answers.

A handler has two fronts: the h11 server (``server.py``) and an httpx transport in memory
(``memory.py``). It can tell neither from the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import attrs
import orjson
import trio

SendBytes = Callable[[bytes], Awaitable[None]]
"""Sends one piece of a streamed body; raises ``trio.BrokenResourceError`` once the peer is gone."""

Streamer = Callable[[SendBytes], Awaitable[None]]
"""Writes a streamed body; returns at its end, and is cancelled when the peer goes away."""


Upgraded = Callable[[trio.abc.Stream], Awaitable[None]]
"""Speaks another protocol on the connection, from the first byte behind the request's head.

The connection is closed when it returns or is cancelled. It need not close the stream itself, and
an error of the stream may leave it.
"""


class ConnectionDropped(Exception):
    """Raised by a handler or a streamer to have the connection cut without another byte.

    The server closes it, the transport in memory raises ``httpx.RemoteProtocolError``.
    """


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
    peer_certificate: bytes | None = attrs.field(default=None, repr=False)
    """The client's certificate (DER) where TLS asked for one and has verified it."""

    @property
    def query(self) -> list[tuple[str, str]]:
        """Decoded pairs in the order sent; names may repeat."""
        return parse_qsl(self.query_string, keep_blank_values=True)

    def json(self) -> Any:
        """The body as JSON. Raises ``ValueError`` when it is not."""
        return orjson.loads(self.body)

    @classmethod
    def from_wire(
        cls,
        method: bytes,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        peer_certificate: bytes | None = None,
    ) -> Request:
        """A request from its undecoded parts; *target* is a path with query, or a whole URL."""
        if not target.startswith(b"/"):
            _, _, rest = target.partition(b"://")
            target = b"/" + rest.partition(b"/")[2] if rest else target
        path, _, query = target.partition(b"?")
        joined: dict[str, str] = {}
        for raw_name, raw_value in headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return cls(
            method=method.decode("latin-1"),
            path=path.decode("latin-1"),
            query_string=query.decode("latin-1"),
            headers=joined,
            body=body,
            peer_certificate=peer_certificate,
        )


@attrs.frozen(kw_only=True)
class Response:
    """An answer: a whole ``body``, or a ``stream`` that is written while the peer reads.

    One with the status 101 has neither, but an ``upgrade``.
    """

    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    stream: Streamer | None = None
    """When set, ``body`` is ignored and the answer is chunked."""
    patience_seconds: float = 60.0
    """For how long the peer may leave a piece of the stream unread."""
    upgrade: Upgraded | None = None
    """What follows an answer of 101; the request must have asked for it."""


def json_response(value: Any, status: int = 200) -> Response:
    return Response(
        status=status,
        headers={"content-type": "application/json"},
        body=orjson.dumps(value),
    )


Handler = Callable[[Request], Awaitable[Response]]

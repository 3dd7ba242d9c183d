"""One GET over a connection of its own, by h11. Whoever answers, what is read of it is bounded."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import attrs
import h11
import trio

from kraftlet_trio.probes.http_request import HttpRequest
from kraftlet_trio.probes.means import Dial, cannot_connect
from kraftlet_trio.probes.outcome import CannotProbe

MOST_BODY_BYTES = 10 * 1024
"""Kubelet reads no more of a body; what follows is left unread."""
_MOST_HEAD_BYTES = 64 * 1024
_MOST_INFORMATIONAL = 5
"""Answers before the answer (Go's limit)."""
_READ_BYTES = 4096


class HttpFailed(Exception):
    """There is no answer."""


class HttpAnsweredToTls(HttpFailed):
    """Whoever was to speak TLS speaks plain HTTP."""


@attrs.frozen(kw_only=True)
class HttpAnswer:
    status: int
    location: str
    body: bytes
    """Its first 10 KiB."""


async def get(
    dial: Dial, request: HttpRequest, at: Callable[[str], None] = lambda _: None
) -> HttpAnswer:
    """The answer. Callers bound it in time; *at* is told ``answer`` and ``body`` once waited for.

    Raises:
        HttpFailed: nobody answered, or not in HTTP.
        CannotProbe: the answer's body broke off.
    """
    try:
        stream: trio.abc.Stream = await dial(request.host, request.port)
    except OSError as error:
        raise HttpFailed(cannot_connect(error, request.host, request.port)) from error
    at("answer")
    try:
        if request.scheme == "https":
            stream = await _secured(stream, request.host)
        return await _exchange(stream, request, at)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise HttpFailed(str(error.__cause__ or error) or "the connection broke") from error
    except h11.RemoteProtocolError as error:
        raise HttpFailed(f"malformed HTTP response: {error}") from error
    except h11.LocalProtocolError as error:
        raise HttpFailed(f"invalid request: {error}") from error
    finally:
        await trio.aclose_forcefully(stream)


async def _secured(stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
    heard = _Heard(stream)
    try:
        secure = trio.SSLStream(heard, _unverified(), server_hostname=host, https_compatible=True)
    except ValueError as error:
        raise HttpFailed(f"{host!r} is no host to speak TLS with: {error}") from error
    try:
        await secure.do_handshake()
    except trio.BrokenResourceError as error:
        if heard.beginning.startswith(b"HTTP/"):
            raise HttpAnsweredToTls("server gave HTTP response to HTTPS client") from error
        raise
    return secure


def _unverified() -> ssl.SSLContext:
    """Certificates of probed applications are not looked at, by the API's definition."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _exchange(
    stream: trio.abc.Stream, request: HttpRequest, at: Callable[[str], None]
) -> HttpAnswer:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD_BYTES)
    headers = [(name.encode(), value.encode()) for name, value in request.sent_headers]
    head = h11.Request(method="GET", target=request.target, headers=headers)
    await stream.send_all((http.send(head) or b"") + (http.send(h11.EndOfMessage()) or b""))
    for _ in range(_MOST_INFORMATIONAL + 1):
        answer = await _next_event(http, stream)
        if isinstance(answer, h11.Response):
            break
    else:
        raise HttpFailed("too many 1xx informational responses")
    at("body")
    location = next((value for name, value in answer.headers if name == b"location"), b"")
    try:
        body = await _beginning_of_body(http, stream)
    except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
        raise CannotProbe(f"unexpected end of the answer's body: {error}") from error
    return HttpAnswer(status=answer.status_code, location=location.decode("latin-1"), body=body)


async def _beginning_of_body(http: h11.Connection, stream: trio.abc.Stream) -> bytes:
    body = bytearray()
    while len(body) < MOST_BODY_BYTES:
        event = await _next_event(http, stream)
        if not isinstance(event, h11.Data):
            break
        body += event.data
    return bytes(body[:MOST_BODY_BYTES])


async def _next_event(http: h11.Connection, stream: trio.abc.Stream) -> h11.Event:
    while True:
        event = http.next_event()
        if isinstance(event, h11.Event):
            return event
        if event is h11.PAUSED:
            raise HttpFailed("the server switched protocols")
        data = bytes(await stream.receive_some(_READ_BYTES))
        if not data and http.their_state is h11.SEND_RESPONSE:
            raise HttpFailed("EOF")
        http.receive_data(data)


class _Heard(trio.abc.Stream):
    """A stream that remembers how its peer began."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.beginning = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if len(self.beginning) < len(b"HTTP/"):
            self.beginning += data[: len(b"HTTP/")]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

"""The network under httpx: h11 on Trio streams, connections kept alive.

httpx's own transport looks at every connection of its pool at every request and passes bodies
through a tower of generators; for one server and small JSON bodies this costs half its CPU.
HTTP/1.1 without proxies, redirects or upgrades. How many requests run at once is the caller's
business: each takes an idle connection or opens one.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import attrs
import h11
import httpx
import trio

KEEP_IDLE_SECONDS = 60.0
"""Below the 90 s after which API servers close an idle connection, so that it is we who close."""
MAX_IDLE = 32
MAX_HEAD_BYTES = 64 * 1024
READ_BYTES = 64 * 1024


@attrs.frozen
class _Origin:
    scheme: str
    host: str
    port: int
    tls_name: str
    """Whom the certificate must name."""


class KeepAliveTransport(httpx.AsyncBaseTransport):
    """Raises httpx's errors; those of a connection that was never made are ``ConnectError`` and
    ``ConnectTimeout``. A request's timeouts bound its connect, and each write and read."""

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None = None,
        *,
        keep_idle_seconds: float = KEEP_IDLE_SECONDS,
    ) -> None:
        """*ssl_context* is for ``https``; by default one that trusts the system's authorities."""
        self._ssl_context = ssl_context
        self._keep_idle_seconds = keep_idle_seconds
        self._idle: dict[_Origin, list[_Connection]] = {}
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        origin = _origin(request)
        connection = await self._take(origin) or await self._connect(origin, request)
        try:
            head = await connection.exchange(request, body)
        except BaseException:
            await connection.close()
            raise
        return httpx.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            stream=_Body(self, origin, connection, request),
            request=request,
        )

    async def aclose(self) -> None:
        """Close what is idle; the other connections are closed with their responses."""
        self._closed = True
        await self.close_idle()

    async def close_idle(self) -> None:
        """Have the requests that follow connect anew, as with a new client certificate."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                await connection.close()

    async def give_back(self, origin: _Origin, connection: _Connection) -> None:
        """Keep *connection* for the next request, if it can serve one."""
        if self._closed or not connection.start_next_cycle():
            await connection.close()
            return
        idle = self._idle.setdefault(origin, [])
        idle.append(connection)
        now = trio.current_time()
        while idle and (len(idle) > MAX_IDLE or idle[0].is_stale(now, self._keep_idle_seconds)):
            await idle.pop(0).close()

    async def _take(self, origin: _Origin) -> _Connection | None:
        # The last used first: the others may grow old and be closed.
        idle = self._idle.get(origin, ())
        while idle:
            connection = idle.pop()
            if not connection.is_stale(trio.current_time(), self._keep_idle_seconds):
                return connection
            await connection.close()
        return None

    async def _connect(self, origin: _Origin, request: httpx.Request) -> _Connection:
        with _within(request, "connect", httpx.ConnectTimeout):
            try:
                tcp = await trio.open_tcp_stream(origin.host, origin.port)
            except OSError as error:
                raise httpx.ConnectError(_told(error), request=request) from error
            # A peer that vanished without a word is found out while a watch is silent.
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if origin.scheme == "http":
                return _Connection(tcp, tcp.socket)
            tls = trio.SSLStream(
                tcp, self._context(), server_hostname=origin.tls_name, https_compatible=True
            )
            try:
                await tls.do_handshake()
            except BaseException as error:
                await trio.aclose_forcefully(tcp)
                if isinstance(error, trio.BrokenResourceError):
                    raise httpx.ConnectError(_told(error), request=request) from error
                raise
            return _Connection(tls, tcp.socket)

    def _context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context


class _Connection:
    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType) -> None:
        self._stream = stream
        self._socket = sock
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._idle_since = 0.0

    async def exchange(self, request: httpx.Request, body: bytes) -> h11.Response:
        """Send the request whole; return the head of its answer."""
        try:
            data = self._framed(request, body)
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error), request=request) from error
        with _within(request, "write", httpx.WriteTimeout):
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise httpx.WriteError(_told(error), request=request) from error
        while True:
            event = await self._next_event(request)
            if isinstance(event, h11.Response):
                return event

    def _framed(self, request: httpx.Request, body: bytes) -> bytes:
        events = [
            h11.Request(
                method=request.method, target=request.url.raw_path, headers=request.headers.raw
            ),
            *([h11.Data(data=body)] if body else []),
            h11.EndOfMessage(),
        ]
        return b"".join(self._http.send(event) or b"" for event in events)

    async def next_piece(self, request: httpx.Request) -> bytes | None:
        """Of the answer's body; None at its end."""
        event = await self._next_event(request)
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def _next_event(self, request: httpx.Request) -> h11.Event:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError(str(error), request=request) from error
            if isinstance(event, h11.Event):
                return event
            with _within(request, "read", httpx.ReadTimeout):
                try:
                    data = await self._stream.receive_some(READ_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise httpx.ReadError(_told(error), request=request) from error
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise httpx.RemoteProtocolError(
                    "the server closed the connection without an answer", request=request
                )
            self._http.receive_data(bytes(data))

    def start_next_cycle(self) -> bool:
        """Make ready for another request, from now on idle; false where that is impossible."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._idle_since = trio.current_time()
        return True

    def is_stale(self, now: float, keep_idle_seconds: float) -> bool:
        # Bytes that nobody asked for are the server's goodbye.
        return now - self._idle_since > keep_idle_seconds or self._socket.is_readable()

    async def close(self) -> None:
        """At once, even under cancellation."""
        await trio.aclose_forcefully(self._stream)


class _Body(httpx.AsyncByteStream):
    """Not a generator: it may be left anywhere."""

    def __init__(
        self,
        transport: KeepAliveTransport,
        origin: _Origin,
        connection: _Connection,
        request: httpx.Request,
    ) -> None:
        self._transport = transport
        self._origin = origin
        self._connection = connection
        self._request = request
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._connection.next_piece(self._request)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await self._transport.give_back(self._origin, self._connection)


def _origin(request: httpx.Request) -> _Origin:
    url = request.url
    return _Origin(
        url.scheme,
        url.host,
        url.port or (443 if url.scheme == "https" else 80),
        request.extensions.get("sni_hostname") or url.host,
    )


@contextmanager
def _within(
    request: httpx.Request, phase: str, error_class: type[httpx.TimeoutException]
) -> Iterator[None]:
    """Hold the block to the request's timeout for *phase*, if it has one."""
    seconds = request.extensions.get("timeout", {}).get(phase)
    if seconds is None:
        yield
        return
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise error_class(f"{phase}: over {seconds:g} s", request=request) from error


def _told(error: Exception) -> str:
    """Trio wraps the system's or TLS's own words."""
    return str(error.__cause__ or error)

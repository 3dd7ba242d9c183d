"""HTTP/1.1 server: h11 on Trio streams, one task a connection.

Connections are kept alive; requests are read whole, within limits of size and time, before the
handler is called. Every wait for the peer has a deadline, so a peer that stops reading or
writing costs one task for a while and nothing more. Cancelling :func:`serve` closes all.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import format_datetime
from http import HTTPStatus

import attrs
import h11
import structlog
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import (
    ConnectionDropped,
    Handler,
    Request,
    Response,
    Streamer,
    Upgraded,
)

log = structlog.get_logger()

MAX_HEADER_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_CONNECTIONS = 1000

HEAD_SECONDS = 120.0
"""For the next request's head, idle time between requests included: longer than clients keep
idle connections, so that it is they who close and no request meets a closing socket."""
BODY_SECONDS = 60.0
SEND_SECONDS = 60.0
CLOSE_SECONDS = 1.0
KEEPALIVE_SECONDS = 15
"""As in Go's servers."""


class _Refused(Exception):
    """The peer's request cannot be served, and neither can what follows on its connection."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def serve(
    handler: Handler,
    *,
    host: str,
    port: int,
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_connections: int = MAX_CONNECTIONS,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; ``started`` tells the port once the socket listens.

    With port 0 the system chooses, and of a host with several addresses only the first is bound.
    Connections beyond *max_connections* are answered 503 and closed. Where *tls* is a function, it
    gives the context of each new connection, and must not raise.

    Raises:
        OSError: the address cannot be bound.
    """
    connections = 0

    async def connected(stream: trio.abc.Stream) -> None:
        nonlocal connections
        connections += 1
        assert isinstance(stream, trio.SocketStream)
        _look_for_life(stream)
        if tls is not None:
            context = tls if isinstance(tls, ssl.SSLContext) else tls()
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            admitted = handler if connections <= max_connections else _refuse_overload
            await serve_connection(admitted, stream, max_body_bytes=max_body_bytes)
        finally:
            connections -= 1

    # An empty host is every address, as in the settings of all daemons.
    listeners = await trio.open_tcp_listeners(port, host=host or None)
    if port == 0:
        for spare in listeners[1:]:
            await spare.aclose()
        listeners = listeners[:1]
    bound_port: int = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, connected, listeners)
        task_status.started(bound_port)


def _look_for_life(stream: trio.SocketStream) -> None:
    """Have the system notice a peer that vanished without a word, in some two minutes.

    Sessions that were upgraded wait for as long as their peers are there.
    """
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # macOS names it otherwise
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS)


async def serve_connection(
    handler: Handler, stream: trio.abc.Stream, *, max_body_bytes: int = MAX_BODY_BYTES
) -> None:
    """Serve one connection until either side ends it, then close *stream*.

    A handler's exception is logged and answered with 500, after which the connection is closed.
    """
    connection = _Connection(stream)
    try:
        async with _closing(stream):
            while (request := await connection.receive_request(max_body_bytes)) is not None:
                response = await _answer(handler, request)
                await connection.respond(request, response)
                if response.upgrade is not None:
                    await _hand_over(connection, request, response.upgrade)
                if not connection.start_next_cycle():
                    break
    except _Refused as refusal:
        log.debug("request refused", status=refusal.status)
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
        log.debug("connection lost", error=str(error))
    except ConnectionDropped:
        pass


@asynccontextmanager
async def _closing(stream: trio.abc.Stream) -> AsyncIterator[None]:
    try:
        yield
    finally:
        # Under cancellation aclose() does not wait: it closes at once, by Trio's contract.
        with trio.move_on_after(CLOSE_SECONDS):
            await stream.aclose()


async def _answer(handler: Handler, request: Request) -> Response:
    try:
        return await handler(request)
    except ConnectionDropped:
        raise
    except Exception:
        log.exception("request handler failed", method=request.method, path=request.path)
        return _plain_error(HTTPStatus.INTERNAL_SERVER_ERROR)


async def _hand_over(connection: _Connection, request: Request, upgraded: Upgraded) -> None:
    try:
        await upgraded(connection.unread_stream())
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise
    except Exception:
        log.exception("upgraded connection failed", method=request.method, path=request.path)


async def _refuse_overload(_request: Request) -> Response:
    return _plain_error(HTTPStatus.SERVICE_UNAVAILABLE)


def _plain_error(status: int) -> Response:
    """An answer after which the connection is closed."""
    return Response(
        status=status,
        headers={"content-type": "text/plain", "connection": "close"},
        body=f"{HTTPStatus(status).phrase}\n".encode(),
    )


@attrs.define
class _Connection:
    """h11's state machine joined to a stream."""

    _stream: trio.abc.Stream
    _http: h11.Connection = attrs.field(
        init=False,
        factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES),
    )

    async def receive_request(self, max_body_bytes: int) -> Request | None:
        """The next request with its body, or None when the peer has no more.

        Raises:
            _Refused: the request was malformed or too large; the peer has been told.
        """
        try:
            with trio.fail_after(HEAD_SECONDS):
                head = await self._next_event()
            if not isinstance(head, h11.Request):
                return None
            if _announced_length(head) > max_body_bytes:
                raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            with trio.fail_after(BODY_SECONDS):
                body = await self._receive_body(max_body_bytes)
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            raise _Refused(error.error_status_hint) from error
        except _Refused as refusal:
            await self._refuse(refusal.status)
            raise
        return Request.from_wire(
            head.method, head.target, head.headers, body, self._peer_certificate()
        )

    async def respond(self, request: Request, response: Response) -> None:
        """Send *response* to *request*, streaming it if need be.

        Raises:
            trio.BrokenResourceError: the peer left before the end, or a streamer failed (which
                is logged) or asked for the connection to be dropped.
        """
        if response.upgrade is not None:
            await self._send(
                h11.InformationalResponse(
                    status_code=HTTPStatus.SWITCHING_PROTOCOLS,
                    reason=HTTPStatus.SWITCHING_PROTOCOLS.phrase,
                    headers=list(response.headers.items()),
                )
            )
            return
        headers = {"date": format_datetime(utc_now(), usegmt=True), **response.headers}
        bodiless = (
            request.method == "HEAD" or response.status in (204, 304) or response.status < 200
        )
        if response.stream is None and response.status not in (204, 304):
            headers.setdefault("content-length", str(len(response.body)))
        head = _head(response.status, headers)
        if response.stream is not None and not bodiless:
            await self._send(head)
            await self._stream_body(request, response.stream, response.patience_seconds)
            await self._send(h11.EndOfMessage())
        elif bodiless:
            await self._send(head, h11.EndOfMessage())
        else:
            await self._send(head, h11.Data(data=response.body), h11.EndOfMessage())

    def _peer_certificate(self) -> bytes | None:
        if not isinstance(self._stream, trio.SSLStream):
            return None
        certificate: bytes | None = self._stream.getpeercert(binary_form=True)
        return certificate

    def unread_stream(self) -> trio.abc.Stream:
        """The connection after an upgrade, with what has come already in front."""
        unread, _ = self._http.trailing_data
        return _Resumed(self._stream, unread) if unread else self._stream

    def start_next_cycle(self) -> bool:
        """Make ready for another request; False if the connection must be closed instead."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value] # h11 types its sentinels loosely
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            await self._receive()

    async def _receive(self) -> bytes:
        data = bytes(await self._stream.receive_some())
        self._http.receive_data(data)
        return data

    async def _receive_body(self, max_body_bytes: int) -> bytes:
        body = bytearray()
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > max_body_bytes:
                raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return bytes(body)

    async def _send(self, *events: h11.Event, within_seconds: float = SEND_SECONDS) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        with trio.move_on_after(within_seconds):
            await self._stream.send_all(data)
            return
        raise trio.BrokenResourceError("the peer does not read")

    async def _refuse(self, status: int) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        refusal = _plain_error(status)
        head = _head(status, {**refusal.headers, "content-length": str(len(refusal.body))})
        await self._send(head, h11.Data(data=refusal.body), h11.EndOfMessage())
        # Closing a socket with input unread resets it, and the peer may lose our answer: so
        # swallow what it still sends, for a moment.
        with trio.move_on_after(CLOSE_SECONDS):
            while await self._stream.receive_some():
                pass

    async def _stream_body(
        self, request: Request, streamer: Streamer, patience_seconds: float
    ) -> None:
        """Raises ``trio.BrokenResourceError`` unless the streamer reached its end."""
        whole = peer_left = False

        async def send(data: bytes) -> None:
            nonlocal peer_left
            try:
                await self._send(h11.Data(data=data), within_seconds=patience_seconds)
            except trio.BrokenResourceError:
                peer_left = True
                raise

        async def cancel_when_peer_leaves() -> None:
            nonlocal peer_left
            pipelined = 0
            with suppress(trio.BrokenResourceError):
                while pipelined <= MAX_HEADER_BYTES and (data := await self._receive()):
                    pipelined += len(data)
            peer_left = True
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when_peer_leaves)
            try:
                await streamer(send)
                whole = True
            except ConnectionDropped:
                pass
            except Exception:
                # Once the peer has left, failures to send come in many shapes, groups among them.
                if not peer_left:
                    log.exception(
                        "streamed response failed", method=request.method, path=request.path
                    )
            nursery.cancel_scope.cancel()
        if not whole:
            raise trio.BrokenResourceError("the streamed body was cut short")


@attrs.define(eq=False)
class _Resumed(trio.abc.Stream):
    """A stream of which some bytes were read too early."""

    _stream: trio.abc.Stream
    _unread: bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._unread:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._unread) if max_bytes is None else max_bytes
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _head(status: int, headers: Mapping[str, str]) -> h11.Response:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    return h11.Response(status_code=status, reason=reason, headers=list(headers.items()))


def _announced_length(head: h11.Request) -> int:
    for name, value in head.headers:
        if name == b"content-length":
            return int(value)  # h11 has checked that these are digits
    return 0

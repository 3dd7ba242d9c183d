import socket
import ssl
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
import trustme
from structlog.testing import capture_logs
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from kraftlet_trio.http import server
from kraftlet_trio.http.messages import ConnectionDropped, Request, Response, json_response
from kraftlet_trio.http.server import serve, serve_connection


async def echo(request: Request) -> Response:
    return json_response(
        {"method": request.method, "path": request.path, "body": request.body.decode()}
    )


class Peer:
    """The client's end of a connection: sends bytes, reads until the server rests or closes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream

    async def ask(self, data: bytes) -> bytes:
        await self.stream.send_all(data)
        return await self.read()

    async def read(self) -> bytes:
        """All that comes until the server has nothing more to say (or has closed)."""
        received = bytearray()
        with trio.move_on_after(0.001):
            while data := await self.stream.receive_some():
                received += data
        return bytes(received)

    async def drip(self, data: bytes) -> None:
        """A byte a second."""
        for byte in data:
            await self.stream.send_all(bytes([byte]))
            await trio.sleep(1)

    async def is_closed(self) -> bool:
        with trio.move_on_after(0.001):
            return not await self.stream.receive_some()
        return False


@pytest.fixture
def log_output():
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def connect(nursery):
    def connect(handler=echo, **limits) -> Peer:
        ours, theirs = memory_stream_pair()

        async def run() -> None:
            await serve_connection(handler, theirs, **limits)

        nursery.start_soon(run)
        return Peer(ours)

    return connect


async def test_whole_answer_has_length_and_date(autojump_clock, connect):
    answer = await connect().ask(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: %d" % len(body) in head
    assert b"date: " in head
    assert b'"path":"/a"' in body


async def test_connection_is_kept_alive_and_pipelining_works(autojump_clock, connect):
    peer = connect()
    request = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
    assert b'"path":"/1"' in await peer.ask(request % 1)
    answers = await peer.ask(request % 2 + request % 3)
    assert b'"path":"/2"' in answers
    assert b'"path":"/3"' in answers


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
)
async def test_connection_is_closed_when_the_peer_asks(autojump_clock, connect, head):
    peer = connect()
    assert (await peer.ask(head)).startswith(b"HTTP/1.1 200")
    assert await peer.is_closed()


async def test_query_and_repeated_headers_reach_the_handler(autojump_clock, connect):
    seen = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response()

    await connect(handler).ask(
        b"GET http://host/p%20q?a=1&a=%2C HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
    )
    assert seen[0].path == "/p%20q"
    assert seen[0].query == [("a", "1"), ("a", ",")]
    assert seen[0].headers["x-a"] == "1, 2"


async def test_chunked_request_body_is_read_whole(autojump_clock, connect):
    answer = await connect().ask(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    assert b'"body":"abc"' in answer


async def test_head_answers_length_without_body(autojump_clock, connect):
    peer = connect()
    answer = await peer.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length: 38" in head
    assert body == b""
    assert b"200" in await peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_no_content_has_no_length(autojump_clock, connect):
    async def handler(_request: Request) -> Response:
        return Response(status=204)

    answer = await connect(handler).ask(b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204")
    assert b"content-length" not in answer


async def test_expect_continue_is_answered_before_the_body(autojump_clock, connect):
    peer = connect()
    interim = await peer.ask(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )
    assert interim.startswith(b"HTTP/1.1 100")
    assert b'"body":"hi"' in await peer.ask(b"hi")


async def test_oversized_expectation_is_refused_without_continue(autojump_clock, connect):
    peer = connect(max_body_bytes=10)
    answer = await peer.ask(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * server.MAX_HEADER_BYTES, b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", b"413"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n"
            + b"a" * 11
            + b"\r\n",
            b"413",
        ),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
    ],
)
async def test_bad_requests_are_refused_and_the_connection_closed(
    autojump_clock, connect, request_bytes, status
):
    peer = connect(max_body_bytes=10)
    answer = await peer.ask(request_bytes)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer
    await trio.sleep(server.CLOSE_SECONDS)
    assert await peer.is_closed()


async def test_handler_exception_is_a_500_and_closes(autojump_clock, connect, log_output):
    async def handler(_request: Request) -> Response:
        raise ZeroDivisionError

    peer = connect(handler)
    assert (await peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 500")
    assert await peer.is_closed()
    assert log_output[0]["event"] == "request handler failed"
    assert log_output[0]["exc_info"]


async def test_dropped_connection_sends_nothing(autojump_clock, connect):
    async def handler(_request: Request) -> Response:
        raise ConnectionDropped

    peer = connect(handler)
    assert await peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    assert await peer.is_closed()


async def test_silent_peer_is_dropped(autojump_clock, connect):
    peer = connect()
    await trio.sleep(server.HEAD_SECONDS + 1)
    assert await peer.is_closed()


async def test_stalled_body_is_dropped(autojump_clock, connect):
    peer = connect()
    assert await peer.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na") == b""
    await trio.sleep(server.BODY_SECONDS + 1)
    assert await peer.is_closed()


async def test_a_head_that_comes_by_drops_is_dropped(autojump_clock, connect):
    peer = connect()
    with pytest.raises(trio.BrokenResourceError):
        await peer.drip(b"GET / HTTP/1.1\r\nX: " + b"x" * 1000)
    assert trio.current_time() < server.HEAD_SECONDS + 10


async def test_a_body_that_comes_by_drops_is_dropped(autojump_clock, connect):
    peer = connect()
    await peer.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    with pytest.raises(trio.BrokenResourceError):
        await peer.drip(b"x" * 1000)
    assert trio.current_time() < server.BODY_SECONDS + 10


async def test_a_handshake_that_is_never_finished_is_dropped(autojump_clock, nursery):
    ours, theirs = memory_stream_pair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    nursery.start_soon(serve_connection, echo, trio.SSLStream(theirs, context, server_side=True))
    # The beginning of a ClientHello.
    await ours.send_all(b"\x16\x03\x01\x02\x00")
    await trio.sleep(server.HEAD_SECONDS + 5)
    assert await Peer(ours).is_closed()


class Ticker:
    """Streams a line whenever told to; knows whether it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = False
        self.pieces, self._pieces = trio.open_memory_channel[bytes](10)

    async def handle(self, _request: Request) -> Response:
        return Response(stream=self._stream)

    async def _stream(self, send) -> None:
        try:
            async for piece in self._pieces:
                await send(piece)
        except trio.Cancelled:
            self.cancelled = True
            raise


async def test_stream_is_chunked_and_leaves_the_connection_usable(autojump_clock, connect):
    ticker = Ticker()
    peer = connect(ticker.handle)
    head = await peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    ticker.pieces.send_nowait(b"one\n")
    assert await peer.read() == b"4\r\none\n\r\n"
    ticker.pieces.send_nowait(b"")
    ticker.pieces.send_nowait(b"two\n")
    assert await peer.read() == b"4\r\ntwo\n\r\n"
    ticker.pieces.close()
    assert await peer.read() == b"0\r\n\r\n"
    assert (await peer.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_request_sent_during_a_stream_is_answered_after_it(autojump_clock, connect):
    ticker = Ticker()
    peer = connect(ticker.handle)
    await peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await peer.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    ticker.pieces.close()
    assert (await peer.read()).startswith(b"0\r\n\r\nHTTP/1.1 200")


async def test_peer_closing_cancels_the_stream(autojump_clock, connect):
    ticker = Ticker()
    peer = connect(ticker.handle)
    await peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await peer.stream.aclose()
    await wait_all_tasks_blocked()
    assert ticker.cancelled


@pytest.mark.parametrize("error", [ZeroDivisionError, ConnectionDropped])
async def test_failing_stream_is_cut_without_an_end(autojump_clock, connect, log_output, error):
    async def stream(send) -> None:
        await send(b"part")
        raise error

    async def handler(_request: Request) -> Response:
        return Response(stream=stream)

    peer = connect(handler)
    answer = await peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.endswith(b"part\r\n")
    assert await peer.is_closed()


@pytest.mark.parametrize("patience_seconds", [server.SEND_SECONDS, 5000.0])
async def test_peer_that_stops_reading_is_dropped(autojump_clock, patience_seconds):
    ours, theirs = memory_stream_pair()

    async def blocked() -> None:
        await trio.sleep_forever()

    failures = []

    async def stream(send) -> None:
        try:
            await send(b"data")
        except trio.BrokenResourceError as error:
            failures.append(error)
            raise

    async def handler(_request: Request) -> Response:
        return Response(stream=stream, patience_seconds=patience_seconds)

    async def read_head() -> None:
        theirs.send_stream.send_all_hook = blocked

    theirs.send_stream.send_all_hook = read_head
    await ours.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    began = trio.current_time()
    await serve_connection(handler, theirs)
    assert failures
    assert 0 <= trio.current_time() - began - patience_seconds <= server.CLOSE_SECONDS


async def test_real_sockets_serve_httpx_and_close_promptly_on_cancel(nursery):
    scope = trio.CancelScope()
    ended = trio.Event()
    ticker = Ticker()

    async def handler(request: Request) -> Response:
        return await (ticker.handle(request) if request.path == "/stream" else echo(request))

    async def run(task_status) -> None:
        with scope:
            await serve(handler, host="127.0.0.1", port=0, task_status=task_status)
        ended.set()

    port = await nursery.start(run)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.post("/x", content=b"hi")).json()["body"] == "hi"
        async with client.stream("GET", "/stream") as response:
            ticker.pieces.send_nowait(b"piece")
            pieces = response.aiter_raw()
            assert await anext(pieces) == b"piece"
            with trio.fail_after(2):
                scope.cancel()
                await ended.wait()
                with pytest.raises(httpx.RemoteProtocolError):
                    await anext(pieces)
            await pieces.aclose()
    assert ticker.cancelled


def timers(port: int) -> list[str]:
    """Of the connections to *port*, as Linux tells them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return [row[5] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells of timers")
async def test_peers_that_vanish_are_found_out(nursery):
    async def run(task_status) -> None:
        await serve(echo, host="127.0.0.1", port=0, task_status=task_status)

    port = await nursery.start(run)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await client.get("/")
        [timer] = timers(port)
    assert timer.startswith("02:"), "no keepalive timer"
    nursery.cancel_scope.cancel()


async def test_connections_beyond_the_limit_get_503(nursery):
    async def run(task_status) -> None:
        await serve(echo, host="127.0.0.1", port=0, max_connections=1, task_status=task_status)

    port = await nursery.start(run)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as first:
        assert (await first.get("/")).status_code == 200
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as second:
            assert (await second.get("/")).status_code == 503
        assert (await first.get("/")).status_code == 200
    nursery.cancel_scope.cancel()


async def test_tls_is_served(nursery):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def run(task_status) -> None:
        await serve(echo, host="127.0.0.1", port=0, tls=context, task_status=task_status)

    port = await nursery.start(run)
    async with httpx.AsyncClient(verify=trusting) as client:
        assert (await client.get(f"https://127.0.0.1:{port}/")).status_code == 200
    nursery.cancel_scope.cancel()


async def test_without_a_host_every_address_is_listened_at(nursery):
    async def handler(request):
        return Response(status=204)

    port = await nursery.start(partial(serve, handler, host="", port=0))
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            socket.create_server((address, 0), family=family).close()
            stream = await trio.open_tcp_stream(address, port)
        except OSError:
            continue  # the machine does not know that family
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 204")
        break
    else:
        raise AssertionError("nobody listens")

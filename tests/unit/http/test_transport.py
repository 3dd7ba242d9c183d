import ssl
from functools import partial

import httpx
import pytest
import trio
import trustme

from kraftlet_trio.http import transport
from kraftlet_trio.http.messages import Response
from kraftlet_trio.http.server import serve, serve_connection
from kraftlet_trio.http.transport import KeepAliveTransport


class Server:
    """Counts its connections; answers by ``handler``, or by raw bytes."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.all_closed = trio.Event()
        self.url = ""

    async def run(self, handle, *, task_status) -> None:
        async def connected(stream) -> None:
            self.connections += 1
            self.open += 1
            try:
                await handle(stream)
            finally:
                self.open -= 1
                if not self.open:
                    self.all_closed.set()

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        await trio.serve_listeners(connected, listeners, task_status=task_status)


@pytest.fixture
def server_of(nursery):
    async def server_of(handler) -> Server:
        server = Server()
        await nursery.start(server.run, partial(serve_connection, handler))
        return server

    return server_of


@pytest.fixture
def raw_server_of(nursery):
    """Answers each connection's first request with *data*, then closes or stays silent."""

    async def raw_server_of(data: bytes, *, stays: bool = False) -> Server:
        async def handle(stream) -> None:
            async with stream:
                await stream.receive_some()
                await stream.send_all(data)
                while stays and await stream.receive_some():
                    pass

        server = Server()
        await nursery.start(server.run, handle)
        return server

    return raw_server_of


@pytest.fixture
async def client():
    async with httpx.AsyncClient(transport=KeepAliveTransport(), trust_env=False) as client:
        yield client


async def echo(request) -> Response:
    return Response(
        headers={"x-method": request.method}, body=request.path.encode() + b" " + request.body
    )


async def test_request_and_answer_pass_whole(server_of, client):
    server = await server_of(echo)
    body = bytes(1_000_000)
    answer = await client.post(f"{server.url}/a%20b?c=d", content=body)
    assert answer.status_code == 200
    assert answer.headers["x-method"] == "POST"
    assert answer.content == b"/a%20b " + body


async def test_requests_in_turn_share_a_connection(server_of, client):
    server = await server_of(echo)
    for method in ("GET", "POST", "HEAD", "DELETE"):
        assert (await client.request(method, server.url)).is_success
    assert server.connections == 1


async def test_requests_at_once_have_connections_of_their_own_and_leave_them(server_of, client):
    async def slow(_request) -> Response:
        await trio.sleep(0.05)
        return Response()

    server = await server_of(slow)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client.get, server.url)
    assert server.connections == 5


async def test_streamed_body_comes_piece_by_piece(server_of, client):
    async def stream(send) -> None:
        await send(b"one")
        await trio.sleep_forever()

    async def handler(_request) -> Response:
        return Response(stream=stream)

    server = await server_of(handler)
    async with client.stream("GET", server.url) as answer:
        pieces = answer.stream.__aiter__()
        assert await anext(pieces) == b"one"
        await answer.aclose()
        with pytest.raises(httpx.ReadError):
            await anext(pieces)
    with trio.fail_after(5):
        await server.all_closed.wait()


async def test_connection_the_server_closes_is_not_used_again(server_of, client):
    async def handler(_request) -> Response:
        return Response(headers={"connection": "close"})

    server = await server_of(handler)
    for _ in range(2):
        await client.get(server.url)
    assert server.connections == 2


async def test_connection_closed_while_idle_is_not_used_again(raw_server_of, client):
    server = await raw_server_of(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    for _ in range(3):
        assert (await client.get(server.url)).text == "ok"
        with trio.fail_after(5):
            await server.all_closed.wait()
        server.all_closed = trio.Event()
    assert server.connections == 3


async def test_connection_long_idle_is_not_used_again(server_of):
    server = await server_of(echo)
    async with httpx.AsyncClient(
        transport=KeepAliveTransport(keep_idle_seconds=-1.0), trust_env=False
    ) as client:
        for _ in range(3):
            await client.get(server.url)
    assert server.connections == 3
    with trio.fail_after(5):
        await server.all_closed.wait()


async def test_idle_connections_are_bounded(server_of, client, monkeypatch):
    monkeypatch.setattr(transport, "MAX_IDLE", 2)

    async def slow(_request) -> Response:
        await trio.sleep(0.05)
        return Response()

    server = await server_of(slow)
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(client.get, server.url)
    await client.get(server.url)
    assert server.connections == 6
    assert server.open <= 2


async def test_closed_client_leaves_no_connection(server_of):
    server = await server_of(echo)
    async with httpx.AsyncClient(transport=KeepAliveTransport()) as client:
        await client.get(server.url)
        async with client.stream("GET", server.url) as answer:
            await client.aclose()
            await answer.aread()
    with trio.fail_after(5):
        await server.all_closed.wait()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", "without sending complete"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, "too long"),
    ],
)
async def test_answer_that_is_no_http_is_a_protocol_error(raw_server_of, client, data, complaint):
    server = await raw_server_of(data)
    with pytest.raises(httpx.RemoteProtocolError, match=complaint):
        await client.get(server.url)


async def test_preliminary_answers_are_passed_over(raw_server_of, client):
    server = await raw_server_of(
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", stays=True
    )
    assert (await client.get(server.url)).status_code == 204


async def test_impossible_request_is_never_sent(raw_server_of, client):
    server = await raw_server_of(b"")
    with pytest.raises(httpx.LocalProtocolError):
        await client.get(server.url, headers={"x": "a\r\nb"})


async def test_nobody_listening_is_a_connect_error(client):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(httpx.ConnectError, match=r"refused|failed"):
        await client.get(f"http://127.0.0.1:{port}")


async def test_silent_server_is_a_read_timeout(raw_server_of, client):
    server = await raw_server_of(b"", stays=True)
    with pytest.raises(httpx.ReadTimeout):
        await client.get(server.url, timeout=0.05)
    with trio.fail_after(5):
        await server.all_closed.wait()


async def test_server_that_does_not_read_is_a_write_timeout(nursery, client):
    async def handle(_stream) -> None:
        await trio.sleep_forever()

    server = Server()
    await nursery.start(server.run, handle)
    with pytest.raises(httpx.WriteTimeout):
        await client.post(server.url, content=bytes(20_000_000), timeout=0.05)


async def test_cancelled_request_closes_its_connection_only(raw_server_of, server_of, client):
    silent, living = await raw_server_of(b"", stays=True), await server_of(echo)
    await client.get(living.url)
    with trio.move_on_after(0.05):
        await client.get(silent.url)
    with trio.fail_after(5):
        await silent.all_closed.wait()
    await client.get(living.url)
    assert living.connections == 1


@pytest.fixture
async def secure_server(nursery):
    """Its port, and the authority of its certificate, which names ``cluster.test`` only."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("cluster.test").configure_cert(context)
    port = await nursery.start(partial(serve, echo, host="127.0.0.1", port=0, tls=context))
    return port, authority


async def test_certificate_is_verified(secure_server):
    port, authority = secure_server
    url = f"https://127.0.0.1:{port}"
    named = {"sni_hostname": "cluster.test"}
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with httpx.AsyncClient(transport=KeepAliveTransport(trusting)) as client:
        assert (await client.get(url, extensions=named)).is_success
        assert (await client.get(url, extensions=named)).is_success
        with pytest.raises(httpx.ConnectError, match=r"not valid for '127\.0\.0\.1'"):
            await client.get(url)
    async with httpx.AsyncClient(transport=KeepAliveTransport()) as client:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await client.get(url, extensions=named)


async def test_handshake_is_bounded_by_the_connect_timeout(raw_server_of):
    server = await raw_server_of(b"", stays=True)
    async with httpx.AsyncClient(transport=KeepAliveTransport()) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(server.url.replace("http", "https"), timeout=0.05)
    with trio.fail_after(5):
        await server.all_closed.wait()


class CancelAtStep(trio.abc.Instrument):
    """Cancels *scope* when its task is about to take its n-th step."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.task = trio.lowlevel.current_task()
        self.steps_left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.steps_left -= 1
            if self.steps_left == 0:
                self.scope.cancel()


async def test_request_cancelled_at_any_step_leaks_nothing(server_of):
    server = await server_of(echo)
    for step in range(1, 100):
        async with httpx.AsyncClient(transport=KeepAliveTransport()) as client:
            with trio.CancelScope() as scope:
                instrument = CancelAtStep(scope, step)
                trio.lowlevel.add_instrument(instrument)
                await client.get(server.url)
            trio.lowlevel.remove_instrument(instrument)
            assert (await client.get(server.url)).is_success
        if not scope.cancelled_caught:
            break
    assert 3 < step < 99
    with trio.fail_after(5):
        while server.open:
            await server.all_closed.wait()
            server.all_closed = trio.Event()

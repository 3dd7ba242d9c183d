import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import ConnectionDropped, Request, Response, json_response


@pytest.fixture
def client_of(nursery):
    def client_of(handler) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url="http://sim.test", transport=MemoryTransport(handler, nursery)
        )

    return client_of


async def test_request_arrives_as_over_the_wire(client_of):
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return json_response({"ok": True}, 201)

    answer = await client_of(handler).request(
        "GET", "/v1/things%20x?tags=a,b", json={"n": 1}, headers={"X-Token": "t"}
    )
    assert answer.status_code == 201
    assert answer.json() == {"ok": True}
    assert seen[0].path == "/v1/things%20x"
    assert seen[0].query_string == "tags=a,b"
    assert seen[0].headers["x-token"] == "t"
    assert seen[0].json() == {"n": 1}


async def test_dropped_connection_is_a_protocol_error(client_of):
    async def handler(_request: Request) -> Response:
        raise ConnectionDropped

    with pytest.raises(httpx.RemoteProtocolError):
        await client_of(handler).get("/")


async def test_handler_bug_reaches_the_caller(client_of):
    async def handler(_request: Request) -> Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client_of(handler).get("/")


async def test_slow_handler_meets_the_read_timeout(client_of, autojump_clock):
    async def handler(_request: Request) -> Response:
        await trio.sleep(60)
        return Response()

    client = client_of(handler)
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/", timeout=5)
    assert (await client.get("/", timeout=None)).status_code == 200


async def test_head_has_no_body(client_of):
    async def handler(_request: Request) -> Response:
        return Response(body=b"body")

    assert (await client_of(handler).head("/")).content == b""


async def test_stream_ends_when_the_streamer_returns(client_of):
    async def stream(send) -> None:
        for piece in (b"a", b"", b"b"):
            await send(piece)

    async def handler(_request: Request) -> Response:
        return Response(stream=stream)

    assert (await client_of(handler).get("/")).content == b"ab"


async def test_nothing_is_buffered_beyond_the_reader(nursery):
    sent = []

    async def stream(send) -> None:
        for number in range(10):
            await send(b"x")
            sent.append(number)

    async def handler(_request: Request) -> Response:
        return Response(stream=stream)

    transport = MemoryTransport(handler, nursery)
    body = (await transport.handle_async_request(httpx.Request("GET", "http://sim.test"))).stream
    await wait_all_tasks_blocked()
    assert sent == []
    await anext(aiter(body))
    await wait_all_tasks_blocked()
    assert sent == [0]
    await body.aclose()


async def test_closing_the_response_cancels_the_stream(nursery):
    cancelled = trio.Event()

    async def stream(send) -> None:
        try:
            await send(b"first")
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.set()
            raise

    async def handler(_request: Request) -> Response:
        return Response(stream=stream)

    transport = MemoryTransport(handler, nursery)
    body = (await transport.handle_async_request(httpx.Request("GET", "http://sim.test"))).stream
    assert await anext(aiter(body)) == b"first"
    await body.aclose()
    await wait_all_tasks_blocked()
    assert cancelled.is_set()


async def test_dropped_stream_is_a_protocol_error(client_of):
    async def stream(send) -> None:
        await send(b"part")
        raise ConnectionDropped

    async def handler(_request: Request) -> Response:
        return Response(stream=stream)

    with pytest.raises(httpx.RemoteProtocolError):
        await client_of(handler).get("/")


async def test_silent_stream_meets_the_read_timeout(client_of, autojump_clock):
    async def stream(_send) -> None:
        await trio.sleep(60)

    async def handler(_request: Request) -> Response:
        return Response(stream=stream)

    with pytest.raises(httpx.ReadTimeout):
        await client_of(handler).get("/", timeout=5)

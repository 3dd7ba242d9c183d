"""Connections that go on in another protocol."""

from __future__ import annotations

from functools import partial

import httpx
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import memory_stream_pair

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import Response
from kraftlet_trio.http.server import serve, serve_connection

ASK = b"GET /shout HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"


async def shout(stream):
    while data := await stream.receive_some(4):
        await stream.send_all(bytes(data).upper())


async def upgrade(_request, upgraded=shout):
    return Response(
        status=101, headers={"connection": "Upgrade", "upgrade": "shout"}, upgrade=upgraded
    )


async def received(stream, size):
    data = b""
    while len(data) < size:
        data += await stream.receive_some()
    return data


@pytest.mark.parametrize("early", [b"", b"ab", b"abcdefgh"])
async def test_what_came_behind_the_request_is_the_new_protocols(nursery, early):
    ours, theirs = memory_stream_pair()
    nursery.start_soon(serve_connection, upgrade, theirs)
    await ours.send_all(ASK + early)
    head = await received(ours, len(early))
    while b"\r\n\r\n" not in head:
        head += await ours.receive_some()
    head, _, body = head.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"HTTP/1.1 101 Switching Protocols"
    assert b"upgrade: shout" in head.lower()
    assert b"content-length" not in head.lower()
    body += await received(ours, len(early) - len(body))
    await ours.send_all(b"more")
    assert body + await received(ours, 4) == early.upper() + b"MORE"
    await ours.send_eof()
    assert await ours.receive_some() == b""


async def test_refused_upgrade_leaves_the_connection_usable(nursery):
    async def refuse(request):
        return Response(status=403 if "upgrade" in request.headers else 200)

    ours, theirs = memory_stream_pair()
    nursery.start_soon(serve_connection, refuse, theirs)
    await ours.send_all(ASK)
    assert b"403" in await ours.receive_some()
    await ours.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" in await ours.receive_some()


async def test_failure_of_the_new_protocol_closes_its_connection_only(nursery):
    async def fail(_stream):
        raise RuntimeError("bug")

    port = await nursery.start(
        partial(serve, partial(upgrade, upgraded=fail), host="127.0.0.1", port=0)
    )
    with capture_logs() as logs:
        for _ in range(2):
            data = b""
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(ASK)
                while piece := await stream.receive_some():
                    data += piece
            assert data.startswith(b"HTTP/1.1 101")
    assert [entry["event"] for entry in logs] == ["upgraded connection failed"] * 2


async def test_there_is_nothing_to_upgrade_in_memory(nursery):
    async with httpx.AsyncClient(transport=MemoryTransport(upgrade, nursery)) as client:
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("http://x/")

from __future__ import annotations

import httpx
import pytest
import trio

from kraftlet_trio.http.measured import ClientRequests, MeasuredTransport
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import ConnectionDropped, Request, Response
from kraftlet_trio.metrics.exposition import render


async def slow(request: Request) -> Response:
    await trio.sleep(0.3)
    if request.path == "/lost":
        raise ConnectionDropped
    return Response(status=404 if request.path == "/none" else 200)


@pytest.fixture
def requests() -> ClientRequests:
    return ClientRequests("rest_client")


@pytest.fixture
def client(nursery, requests) -> httpx.AsyncClient:
    transport = MeasuredTransport(MemoryTransport(slow, nursery), requests)
    return httpx.AsyncClient(transport=transport, base_url="http://api.test:6443", timeout=None)


def lines(requests: ClientRequests) -> set[str]:
    return set(render(requests.families()).decode().splitlines())


async def test_requests_are_counted_by_how_they_ended(autojump_clock, client, requests):
    for path in ("/", "/", "/none"):
        await client.get(path)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post("/lost")
    with trio.move_on_after(0.1):
        await client.delete("/")
    host = 'host="api.test:6443"'
    assert {
        f'rest_client_requests_total{{code="200",method="GET",{host}}} 2',
        f'rest_client_requests_total{{code="404",method="GET",{host}}} 1',
        f'rest_client_requests_total{{code="<error>",method="POST",{host}}} 1',
        f'rest_client_requests_total{{code="<error>",method="DELETE",{host}}} 1',
    } <= lines(requests)


async def test_requests_are_timed(autojump_clock, client, requests):
    await client.get("/")
    host = 'verb="GET",host="api.test:6443"'
    assert {
        f'rest_client_request_duration_seconds_bucket{{{host},le="0.25"}} 0',
        f'rest_client_request_duration_seconds_bucket{{{host},le="0.5"}} 1',
    } <= lines(requests)

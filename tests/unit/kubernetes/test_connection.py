"""The client over real sockets and TLS."""

import gc
import ssl
from functools import partial

import pytest
import trio
import trustme

from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.http.server import serve, serve_connection
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.kubernetes.credentials import StaticToken, load_client_certificate
from kraftlet_trio.kubernetes.errors import KubernetesUnavailable
from kraftlet_trio.kubernetes.resources import PODS
from tests.unit.kubernetes.scripted import event, pod, status

AUTHORITY = trustme.CA()


async def api(request):
    if "watch" not in dict(request.query):
        return json_response(pod("web", authorization=request.headers.get("authorization", "")))

    async def stream(send):
        while True:
            await send(event("MODIFIED", pod("web")) * 3)
            await trio.sleep(0.01)

    return Response(stream=stream)


@pytest.fixture
async def server(nursery):
    """An API server that wants a client certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("kubernetes").configure_cert(context)
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    port = await nursery.start(partial(serve, api, host="127.0.0.1", port=0, tls=context))
    return f"https://127.0.0.1:{port}"


@pytest.fixture
def trusting():
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    issued = AUTHORITY.issue_cert("node")
    load_client_certificate(
        context, issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()
    )
    return context


@pytest.fixture
async def client(server, trusting):
    access = ClusterAccess(
        server=server,
        ssl_context=trusting,
        token=StaticToken("t"),
        tls_server_name="kubernetes",
    )
    async with KubernetesClient(access) as client:
        yield client


async def test_both_sides_know_each_other(client):
    web = await client.get(PODS, "web", namespace="default")
    assert web.metadata.labels == {"authorization": "Bearer t"}


async def read(client, *, until: int) -> None:
    async with client.watch(PODS, resource_version="1") as events:
        for _ in range(until):
            await anext(events)


async def fail_midway(client) -> None:
    async with client.watch(PODS, resource_version="1") as events:
        async for _ in events:
            raise LookupError


async def test_watch_left_anywhere_leaves_nothing_suspended(client):
    for events_seen in (0, 1, 2, 3, 5):
        await read(client, until=events_seen)
        with pytest.raises(LookupError):
            await fail_midway(client)
        with trio.move_on_after(0.05):
            await read(client, until=1_000_000)
    gc.collect()  # a suspended generator would be a warning, and warnings are errors
    await client.get(PODS, "web", namespace="default")


async def test_stranger_is_not_trusted(server):
    access = ClusterAccess(server=server, tls_server_name="kubernetes")
    async with KubernetesClient(access) as client:
        with pytest.raises(
            KubernetesUnavailable,
            match=r"cannot reach the Kubernetes API at https://127.*certificate verify failed",
        ):
            await read(client, until=1)


async def test_refused_credential_is_replaced_on_a_new_connection(nursery):
    connections = 0

    async def handler(request):
        if connections == 1:
            return status(401, "Unauthorized")
        return json_response(pod("web"))

    async def connected(stream):
        nonlocal connections
        connections += 1
        await serve_connection(handler, stream)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, connected, [listener])
    server = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    async with KubernetesClient(ClusterAccess(server=server, token=StaticToken("t"))) as client:
        await client.get(PODS, "web", namespace="default")
        await client.get(PODS, "web", namespace="default")
    assert connections == 2

"""Forwarded connections over SPDY, alone and within a WebSocket."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

import pytest
import structlog
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from wsproto.events import BytesMessage, CloseConnection

from kraftlet_trio.streaming.spdy_frames import Ping, ResetStatus, RstStream
from kraftlet_trio.streaming.spdy_port_forward import serve_spdy_port_forward
from kraftlet_trio.streaming.websocket_port_forward import serve_websocket_tunnel
from tests.spdy_client import SPDYClient
from tests.websocket_client import WebSocketClient


class Tunnelled(trio.abc.Stream):
    """The client's end of the tunnel, whose messages begin and end anywhere in frames."""

    def __init__(self, client):
        self.client, self.taken = client, 0

    async def send_all(self, data):
        size = 7 if len(data) < 700 else 997
        for start in range(0, len(data), size):
            await self.client.say(BytesMessage(data=bytes(data[start : start + size])))

    async def receive_some(self, max_bytes=None):
        def has_news():
            return self.client.close_code or len(self.client.messages) > self.taken

        while not has_news() and not self.client.closed:
            await self.client._news.wait()
        fresh = self.client.messages[self.taken :]
        self.taken += len(fresh)
        assert all(len(message) <= 32 * 1024 for message in fresh)
        return b"".join(fresh)

    async def wait_send_all_might_not_block(self):
        pass

    async def aclose(self):
        await self.client.stream.aclose()


@pytest.fixture(params=["plain", "in a WebSocket"])
def serving(request):
    """A context manager that gives a SPDY client of a server which dials by what is given."""

    @asynccontextmanager
    async def serve(dial):
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            if request.param == "plain":
                server = partial(serve_spdy_port_forward, theirs, dial)
                client = SPDYClient(ours)
            else:
                server = partial(serve_websocket_tunnel, theirs, dial)
                websocket = WebSocketClient(ours)
                nursery.start_soon(websocket.run)
                client = SPDYClient(Tunnelled(websocket))

            async def run():
                await server()
                await theirs.aclose()

            nursery.start_soon(run)
            nursery.start_soon(client.run)
            yield client
            nursery.cancel_scope.cancel()

    return serve


class Targets:
    """What is dialled: the Pod's ends of the connections, by port."""

    def __init__(self):
        self.ends = {}
        self.dialled = trio.Event()

    async def dial(self, port):
        if port == 666:
            raise OSError("connection refused")
        if port == 999:
            await trio.sleep_forever()
        ours, self.ends[port] = memory_stream_pair()
        self.dialled.set()
        self.dialled = trio.Event()
        return ours

    async def end(self, port):
        while port not in self.ends:
            await self.dialled.wait()
        return self.ends[port]


async def pair(client, port, number=None):
    headers = {"port": str(port)}
    if number is not None:
        headers["requestid"] = str(number)
    error = await client.open({"streamtype": "error", **headers})
    await error.send(b"", fin=True)
    return error, await client.open({"streamtype": "data", **headers})


async def read_all(stream):
    return b"".join([bytes(piece) async for piece in stream])


async def test_many_pairs_run_at_once(autojump_clock, serving):
    targets = Targets()

    async def talk(client, port, error, data):
        pod = await targets.end(port)
        await data.send(b"%d " % port * 20_000, fin=True)
        assert await read_all(pod) == b"%d " % port * 20_000
        await pod.send_all(b"%d!" % port * 20_000)
        await pod.aclose()
        assert await data.whole() == b"%d!" % port * 20_000
        assert await error.whole() == b""

    async with serving(targets.dial) as client:
        pairs = [(port, *await pair(client, port, port)) for port in range(1, 25)]
        async with trio.open_nursery() as nursery:
            for port, error, data in pairs:
                nursery.start_soon(talk, client, port, error, data)
        assert not client.closed


async def test_pod_that_ends_first_ends_the_pair(autojump_clock, serving):
    targets = Targets()
    async with serving(targets.dial) as client:
        error, data = await pair(client, 80, 1)
        pod = await targets.end(80)
        await pod.send_all(b"bye")
        await pod.send_eof()
        assert await data.whole() == b"bye"
        assert await error.whole() == b""
        await data.send(b"late")
        await client.send(RstStream(data.stream_id, 5))
        _, again = await pair(client, 81, 1)
        await (await targets.end(81)).send_all(b"more")
        await again.until(lambda: again.data == b"more")


async def test_client_that_ends_first_still_hears_the_pod(autojump_clock, serving):
    targets = Targets()
    async with serving(targets.dial) as client:
        _, data = await pair(client, 80, 1)
        pod = await targets.end(80)
        await data.send(b"question", fin=True)
        assert await read_all(pod) == b"question"
        await pod.send_all(b"answer")
        await pod.send_eof()
        assert await data.whole() == b"answer"


async def test_failure_to_dial_is_told_and_leaves_the_others(autojump_clock, serving):
    targets = Targets()
    async with serving(targets.dial) as client:
        _, other = await pair(client, 80, 1)
        error, data = await pair(client, 666, 2)
        assert await error.whole() == b"error forwarding port 666: connection refused"
        assert await data.whole() == b""
        await (await targets.end(80)).send_all(b"alive")
        await other.until(lambda: other.data == b"alive")


async def test_dial_that_takes_too_long_is_told(autojump_clock, serving):
    async with serving(Targets().dial) as client:
        error, _ = await pair(client, 999, 2)
        assert b"within 30 s" in await error.whole()


@pytest.mark.parametrize("kind", ["error", "data"])
async def test_half_of_a_pair_is_forgotten(autojump_clock, serving, kind):
    with structlog.testing.capture_logs() as logs:
        async with serving(Targets().dial) as client:
            half = await client.open({"streamtype": kind, "port": "80", "requestid": "1"})
            await half.until(lambda: half.reset is not None)
            assert 30 <= trio.current_time() < 31
            assert not client.closed
    assert [line["port"] for line in logs] == [80]


async def test_old_clients_pair_by_order(autojump_clock, serving):
    targets = Targets()
    async with serving(targets.dial) as client:
        pairs = [await pair(client, port) for port in (80, 81)]
        for port, (_, data) in zip((80, 81), pairs, strict=True):
            await (await targets.end(port)).send_all(b"%d" % port)
            await data.until(lambda data=data: data.data)
            assert data.data == b"%d" % port


@pytest.mark.parametrize(
    "headers",
    [
        {"streamtype": "data", "port": "0"},
        {"streamtype": "data", "port": "65536"},
        {"streamtype": "data", "port": "9" * 5000},
        {"streamtype": "data", "port": "\xb2"},
        {"streamtype": "data"},
        {"streamtype": "stdin", "port": "80"},
        {"port": "80"},
        {},
    ],
)
@pytest.mark.parametrize("fin", [False, True])
async def test_streams_that_mean_nothing_are_refused(autojump_clock, serving, headers, fin):
    targets = Targets()
    async with serving(targets.dial) as client:
        stream = await client.open({**headers, "requestid": "1"}, fin=fin)
        await stream.until(lambda: stream.reset is not None)
        assert stream.reset == ResetStatus.REFUSED_STREAM
        await pair(client, 80, 1)
        await targets.end(80)


async def test_second_stream_of_a_kind_or_of_another_port_is_refused(autojump_clock, serving):
    async with serving(Targets().dial) as client:
        await client.open({"streamtype": "error", "port": "80", "requestid": "1"})
        same = await client.open({"streamtype": "error", "port": "80", "requestid": "1"})
        other = await client.open({"streamtype": "data", "port": "81", "requestid": "1"})
        for stream in (same, other):
            await stream.until(lambda stream=stream: stream.reset == ResetStatus.REFUSED_STREAM)


async def test_reset_of_the_data_ends_the_connection_to_the_pod(autojump_clock, serving):
    targets = Targets()
    async with serving(targets.dial) as client:
        error, data = await pair(client, 80, 1)
        pod = await targets.end(80)
        await client.send(RstStream(data.stream_id, 5))
        with trio.fail_after(5):
            assert await read_all(pod) == b""
        assert await error.whole() == b""


async def test_end_of_what_a_full_pod_did_not_read_does_no_harm(autojump_clock, serving):
    """The pod ends while the end of the client's data waits behind a full buffer."""
    ends = []

    async def dial(port):
        hooked = trio.testing.MemorySendStream(send_all_hook=trio.sleep_forever)
        theirs, ours = trio.testing.memory_stream_one_way_pair()
        ends.append(theirs)
        return trio.StapledStream(hooked, ours)

    async with serving(dial) as client:
        error, data = await pair(client, 80, 1)
        await data.send(b"x" * 1_000_000, fin=True)
        await trio.sleep(1)
        await ends[0].aclose()
        assert await data.whole() == b""
        assert await error.whole() == b""
        await client.send(Ping(7))
        while client.pings != [7]:
            await client.heard()


@pytest.mark.parametrize("how", ["end", "broken"])
async def test_client_that_leaves_ends_all_connections(autojump_clock, serving, how):
    targets = Targets()
    async with serving(targets.dial) as client:
        await pair(client, 80, 1)
        await pair(client, 81, 2)
        pods = [await targets.end(port) for port in (80, 81)]
        await wait_all_tasks_blocked()
        if isinstance(client.stream, Tunnelled) and how == "end":
            await client.stream.client.say(CloseConnection(code=1000))
        elif isinstance(client.stream, Tunnelled):
            await client.stream.client.stream.send_eof()
        elif how == "end":
            await client.stream.send_eof()
        else:
            await client.stream.send_stream.aclose()
        with trio.fail_after(5):
            for pod in pods:
                assert await read_all(pod) == b""
            await client.wait_closed()


async def test_flood_of_pings_ends_one_connection_and_no_other(autojump_clock):
    ours, theirs = memory_stream_pair()
    stuck = trio.StapledStream(
        trio.testing.MemorySendStream(send_all_hook=trio.sleep_forever), theirs.receive_stream
    )
    good_ours, good_theirs = memory_stream_pair()
    bad, good, targets = SPDYClient(ours), SPDYClient(good_ours), Targets()
    gone = trio.Event()

    async def serve_bad():
        await serve_spdy_port_forward(stuck, targets.dial)
        gone.set()

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_bad)
            nursery.start_soon(serve_spdy_port_forward, good_theirs, targets.dial)
            nursery.start_soon(good.run)
            _, data = await pair(good, 80, 1)
            pod = await targets.end(80)
            for _ in range(100):
                await bad.send(*[Ping(1)] * 1000)
            with trio.fail_after(5):
                await gone.wait()
            await pod.send_all(b"alive")
            await data.until(lambda: data.data == b"alive")
            nursery.cancel_scope.cancel()
    assert [line["log_level"] for line in logs] == ["warning"]

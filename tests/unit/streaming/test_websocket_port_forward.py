"""Ports by channels: two for each, and one connection for the whole session."""

from __future__ import annotations

import base64
import struct
from contextlib import asynccontextmanager

import pytest
import structlog
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from kraftlet_trio.streaming.websocket_port_forward import serve_websocket_port_forward
from tests.websocket_client import WebSocketClient


class Pod:
    """Its ends of the connections, in the order of the ports."""

    def __init__(self):
        self.ends = {}

    async def dial(self, port):
        if port == 666:
            raise OSError("connection refused")
        ours, self.ends[port] = memory_stream_pair()
        return ours


@asynccontextmanager
async def forwarded(pod, ports, protocol="v4.channel.k8s.io"):
    ours, theirs = memory_stream_pair()
    client = WebSocketClient(ours)

    async def serve():
        await serve_websocket_port_forward(theirs, protocol, ports, pod.dial)
        await theirs.aclose()
        client.server_done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(client.run)
        await wait_all_tasks_blocked()
        yield client
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("protocol", [None, "v4.channel.k8s.io"])
async def test_each_port_has_two_channels_that_begin_with_it(autojump_clock, protocol):
    pod = Pod()
    async with forwarded(pod, [8080, 65535], protocol) as client:
        assert client.messages == [
            bytes([0]) + struct.pack("<H", 8080),
            bytes([1]) + struct.pack("<H", 8080),
            bytes([2, 255, 255]),
            bytes([3, 255, 255]),
        ]
        for channel, port in ((0, 8080), (2, 65535)):
            await client.send(bytes([channel]) + b"to %d" % port)
            assert await pod.ends[port].receive_some() == b"to %d" % port
            await pod.ends[port].send_all(b"from %d" % port)
            await client.until(lambda c=channel, p=port: client.on(c)[2:] == b"from %d" % p)


async def test_base64_is_spoken_where_it_was_agreed_on(autojump_clock):
    pod = Pod()
    async with forwarded(pod, [80], "v4.base64.channel.k8s.io") as client:
        port = base64.b64encode(b"P\0").decode()
        assert client.messages == ["0" + port, "1" + port]
        await client.send("0" + base64.b64encode(b"hello").decode())
        assert await pod.ends[80].receive_some() == b"hello"


async def test_session_ends_after_the_last_connection(autojump_clock):
    pod = Pod()
    async with forwarded(pod, [80, 81]) as client:
        await pod.ends[80].send_all(b"x" * 1_000_000)
        await pod.ends[80].send_eof()
        await client.until(lambda: len(client.on(0)) == 1_000_002)
        await client.send(b"\0" + b"nobody reads it" * 1000)
        await trio.sleep(10)
        assert client.close_code is None
        await pod.ends[81].send_all(b"last")
        await pod.ends[81].send_eof()
        await client.wait_closed()
    assert client.on(2)[2:] == b"last"
    assert client.close_code == 1000
    assert max(map(len, client.messages)) <= 32 * 1024


async def test_failure_is_told_on_the_ports_own_channel(autojump_clock):
    pod = Pod()
    async with forwarded(pod, [666, 80]) as client:
        await client.until(lambda: len(client.on(1)) > 2)
        assert client.on(1)[2:] == b"error forwarding port 666: connection refused"
        await pod.ends[80].send_all(b"alive")
        await client.until(lambda: client.on(2)[2:] == b"alive")


async def test_channels_that_mean_nothing_are_ignored(autojump_clock):
    pod = Pod()
    async with forwarded(pod, [80]) as client:
        for channel in range(1, 256):
            await client.send(bytes([channel, 0]))
        await client.send(b"")
        await client.send(b"\0here")
        assert await pod.ends[80].receive_some() == b"here"


@pytest.mark.parametrize("how", ["end", "broken", "malformed"])
async def test_client_that_leaves_ends_all_connections(autojump_clock, how):
    pod = Pod()
    with structlog.testing.capture_logs() as logs:
        async with forwarded(pod, [80, 81]) as client:
            if how == "end":
                await client.stream.send_eof()
            elif how == "broken":
                await client.stream.send_stream.aclose()
            else:
                await client.stream.send_all(b"\xff" * 50)
            with trio.fail_after(5):
                for end in pod.ends.values():
                    assert await end.receive_some() == b""
                await client.server_done.wait()
    assert len(logs) == (how == "malformed")


async def test_pod_that_does_not_read_makes_the_client_wait(autojump_clock):
    taken = bytearray()

    async def dial(port):
        stuck = trio.testing.MemorySendStream(send_all_hook=trio.sleep_forever)
        _, receiving = trio.testing.memory_stream_one_way_pair()
        return trio.StapledStream(stuck, receiving)

    ours, theirs = trio.testing.lockstep_stream_pair()
    client = WebSocketClient(ours)

    async def flood():
        for _ in range(100):
            await client.send(b"\0" + bytes(32_000))
            taken.extend(bytes(32_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        nursery.start_soon(serve_websocket_port_forward, theirs, None, [80], dial)
        nursery.start_soon(flood)
        await trio.sleep(60)
        assert len(taken) < 500_000
        nursery.cancel_scope.cancel()

"""Commands over WebSocket, in each of its protocols."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from functools import partial

import orjson
import pytest
import structlog
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from wsproto.events import CloseConnection, Ping

from kraftlet_trio.streaming.remote_command import CommandEnd, TerminalSize, WantedStreams
from kraftlet_trio.streaming.websocket_command import (
    WEBSOCKET_COMMAND_PROTOCOLS,
    serve_websocket_command,
)
from tests.websocket_client import WebSocketClient

V5 = "v5.channel.k8s.io"
ALL = WantedStreams(stdin=True, stdout=True, stderr=True)
OUT = WantedStreams(stdout=True)


@asynccontextmanager
async def served(handler, *, wanted=ALL, protocol=V5, reads=True):
    """A client whose command is *handler*; the connection is closed behind it."""
    ours, theirs = memory_stream_pair()
    client = WebSocketClient(ours)

    async def serve():
        await serve_websocket_command(theirs, wanted, protocol, handler)
        await theirs.aclose()
        client.server_done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        if reads:
            nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()


async def echo(streams):
    while data := await streams.receive_stdin():
        await streams.send_stdout(data)
    return CommandEnd()


async def exits(streams, code=0):
    return CommandEnd(exit_code=code)


@pytest.mark.parametrize("code", [0, 7, 137])
@pytest.mark.parametrize("protocol", [V5, "v4.channel.k8s.io"])
async def test_newer_protocols_tell_a_status(autojump_clock, protocol, code):
    async with served(partial(exits, code=code), protocol=protocol) as client:
        await client.wait_closed()
    status = orjson.loads(client.on(3))
    assert status["status"] == ("Failure" if code else "Success")
    if code:
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": str(code)}]
    assert client.close_code == 1000


@pytest.mark.parametrize("protocol", [None, "channel.k8s.io"])
async def test_older_protocols_say_nothing_of_a_success(autojump_clock, protocol):
    async with served(exits, protocol=protocol) as client:
        await client.wait_closed()
    assert client.messages == [b"\1"]
    assert client.close_code == 1000


@pytest.mark.parametrize("protocol", [None, "channel.k8s.io"])
async def test_older_protocols_tell_a_failure_as_text(autojump_clock, protocol):
    async with served(partial(exits, code=7), protocol=protocol) as client:
        await client.wait_closed()
    assert client.on(3) == b"command terminated with non-zero exit code: exit status 7"


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        (ALL, b"\1"),
        (WantedStreams(stderr=True), b"\2"),
        (WantedStreams(stdin=True), b"\3"),
        (WantedStreams(stdin=True, stderr=True, tty=True), b"\3"),
    ],
)
async def test_first_message_is_an_empty_one(autojump_clock, wanted, first):
    async with served(exits, wanted=wanted) as client:
        await client.wait_closed()
    assert client.messages[0] == first


async def test_input_in_fragments_ends_by_a_half_close(autojump_clock):
    async with served(echo) as client:
        await client.send(b"\0ab", finished=False)
        await client.send(b"\0cd", finished=False)
        await client.ping(b"between")
        await client.send(b"", finished=True)
        await client.send(b"\0")
        await client.send(b"\0ef")
        await client.send(bytes([255, 0]))
        await client.wait_closed()
    assert client.on(1) == b"ab\0cdef"
    assert client.pongs == [b"between"]
    assert orjson.loads(client.on(3))["status"] == "Success"


async def test_only_the_fifth_protocol_can_half_close(autojump_clock):
    async with served(echo, protocol="v4.channel.k8s.io") as client:
        await client.send(bytes([255, 0]))
        await client.send(b"\0on")
        await client.until(lambda: client.on(1) == b"on")
        await wait_all_tasks_blocked()
        assert client.close_code is None


@pytest.mark.parametrize("protocol", ["v4.base64.channel.k8s.io", "base64.channel.k8s.io"])
async def test_base64_protocols_speak_text(autojump_clock, protocol):
    async def once(streams):
        await streams.send_stdout((await streams.receive_stdin()).upper())
        return CommandEnd(exit_code=3)

    async with served(once, protocol=protocol) as client:
        await client.send("0" + base64.b64encode(b"hi").decode())
        await client.wait_closed()
    assert client.messages[:2] == ["1", "1" + base64.b64encode(b"HI").decode()]
    assert b"exit" in base64.b64decode(client.messages[2][1:])


async def test_status_comes_behind_all_output_in_small_messages(autojump_clock):
    async def much(streams):
        await streams.send_stdout(b"o" * 3_000_001)
        await streams.send_stderr(b"e" * 100_000)
        return CommandEnd(exit_code=1)

    async with served(much) as client:
        await client.wait_closed()
    assert client.on(1) == b"o" * 3_000_001
    assert client.on(2) == b"e" * 100_000
    assert client.messages[-1][0] == 3
    assert max(map(len, client.messages)) <= 32 * 1024


async def test_terminal_has_sizes_and_no_stderr(autojump_clock):
    sizes = []

    async def sized(streams):
        sizes.append(await streams.receive_size())
        await streams.send_stderr(b"lost")
        return CommandEnd()

    wanted = WantedStreams(stdin=True, stdout=True, stderr=True, tty=True)
    async with served(sized, wanted=wanted) as client:
        await client.send(b'\4{"Width":80,', finished=False)
        await client.send(b'"Height":24}')
        await client.wait_closed()
    assert sizes == [TerminalSize(80, 24)]
    assert client.on(2) == b""


async def test_channels_nobody_asked_for_are_ignored(autojump_clock):
    async def waits(streams):
        assert await streams.receive_stdin() == b""
        await streams.send_stderr(b"lost")
        await trio.sleep(1)
        return CommandEnd()

    async with served(waits, wanted=OUT) as client:
        for channel in range(256):
            await client.send(bytes([channel]) + b"\7x")
        await client.send(b"")
        await client.wait_closed()
    assert {message[0] for message in client.messages} == {1, 3}
    assert client.close_code == 1000


@pytest.mark.parametrize("how", ["close frame", "end of the connection", "broken connection"])
async def test_client_that_leaves_cancels_the_handler(autojump_clock, how):
    cancelled = trio.Event()

    async def forever(streams):
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with served(forever, reads=False) as client:
        await wait_all_tasks_blocked()
        if how == "close frame":
            await client.say(CloseConnection(code=1000))
        elif how == "end of the connection":
            await client.stream.send_eof()
        else:
            await client.stream.aclose()
        with trio.fail_after(5):
            await cancelled.wait()
            await client.server_done.wait()


async def test_pings_are_answered_during_a_big_write(autojump_clock):
    async def much(streams):
        while True:
            await streams.send_stdout(b"x" * 1_000_000)

    async with served(much) as client:
        for number in range(5):
            await client.ping(b"%d" % number)
        await client.until(lambda: len(client.pongs) == 5)


async def test_flood_of_pings_whose_answers_nobody_reads_is_given_up(autojump_clock):
    ours, theirs = memory_stream_pair()
    slow = trio.testing.MemorySendStream(send_all_hook=trio.sleep_forever)
    stuck = trio.StapledStream(slow, theirs.receive_stream)
    client = WebSocketClient(ours)
    with structlog.testing.capture_logs() as logs, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve_websocket_command, stuck, ALL, V5, echo))
            for _ in range(100):
                await client.say(*[Ping(payload=b"x" * 125)] * 100)
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "does not read" in logs[0]["error"]


async def test_client_that_does_not_answer_the_close_is_left(autojump_clock):
    async with served(exits) as client:
        client.answers_close = False
        started = trio.current_time()
        await client.wait_closed()
    assert client.close_code == 1000
    assert 1 <= trio.current_time() - started <= 5


async def test_slow_reader_gets_all_of_it(autojump_clock):
    async def much(streams):
        await streams.send_stdout(b"x" * 100_000)
        return CommandEnd(exit_code=3)

    ours, theirs = trio.testing.lockstep_stream_pair()
    client = WebSocketClient(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve_websocket_command, theirs, ALL, V5, much))
        await trio.sleep(3600)
        nursery.start_soon(client.run)
        await client.until(lambda: client.close_code)
        nursery.cancel_scope.cancel()
    assert client.on(1) == b"x" * 100_000
    assert orjson.loads(client.on(3))["reason"] == "NonZeroExitCode"
    assert client.close_code == 1000


async def test_handler_that_fails_is_told_as_a_failure(autojump_clock):
    async def fails(streams):
        raise ValueError("secret")

    with structlog.testing.capture_logs():
        async with served(fails) as client:
            await client.wait_closed()
    assert orjson.loads(client.on(3))["reason"] == "InternalError"
    assert b"secret" not in client.on(3)
    assert client.close_code == 1000


async def test_unread_input_waits_in_a_bounded_buffer(autojump_clock):
    read = trio.Event()
    got = bytearray()

    async def late(streams):
        await read.wait()
        while data := await streams.receive_stdin():
            assert len(data) <= 32 * 1024
            got.extend(data)
        return CommandEnd()

    ours, theirs = memory_stream_pair()
    taken = 0

    class Counted(trio.abc.Stream):
        async def receive_some(self, max_bytes=None):
            nonlocal taken
            data = await theirs.receive_some(max_bytes or 65536)
            taken += len(data)
            return data

        async def send_all(self, data):
            await theirs.send_all(data)

        async def wait_send_all_might_not_block(self):
            pass

        async def aclose(self):
            await theirs.aclose()

    client = WebSocketClient(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        nursery.start_soon(partial(serve_websocket_command, Counted(), ALL, V5, late))
        for _ in range(64):
            await client.send(b"\0" + b"x" * 32_000)
        await client.send(bytes([255, 0]))
        await wait_all_tasks_blocked()
        assert taken < 400_000
        read.set()
        await client.until(lambda: client.close_code)
        nursery.cancel_scope.cancel()
    assert got == b"x" * 64 * 32_000


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x82\x01\x01", 1002),  # not masked
        (b"\xc2\x81\0\0\0\0\0", 1002),  # a reserved bit
        (b"\x83\x80\0\0\0\0", 1002),  # an unknown kind of frame
        (b"\x89\xfe\0\x7e\0\0\0\0", 1002),  # a control frame of more than 125 bytes
        (b"\x09\x80\0\0\0\0", 1002),  # a control frame in fragments
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1002),  # a negative length
        (b"\x82\xfe\0\x01\0\0\0\0\0", 1002),  # a length longer than need be
        (b"\x80\x80\0\0\0\0", 1002),  # a continuation of nothing
        (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
        (b"\x88\x81\0\0\0\0\0", 1002),  # half a code in a close frame
        (b"\x82\xff\0\0\0\1\0\0\0\0\0\0\0\0" + bytes(1_100_000), 1009),  # 4 GiB announced
    ],
)
async def test_broken_frames_close_the_connection_with_one_line(autojump_clock, wire, code):
    with structlog.testing.capture_logs() as logs, trio.fail_after(30):
        async with served(echo) as client:
            await client.stream.send_all(wire)
            await client.wait_closed()
    assert client.close_code == code
    assert [line["event"] for line in logs] == ["WebSocket closed"]
    assert client.on(3) == b""


async def test_malformed_base64_closes_the_connection(autojump_clock):
    with structlog.testing.capture_logs() as logs:
        async with served(echo, protocol="base64.channel.k8s.io") as client:
            await client.send("0!!!!")
            await client.wait_closed()
    assert client.close_code == 1007
    assert len(logs) == 1


@pytest.mark.parametrize("protocol", [None, *WEBSOCKET_COMMAND_PROTOCOLS])
async def test_message_of_more_than_a_mebibyte_closes_the_connection(autojump_clock, protocol):
    with structlog.testing.capture_logs():
        async with served(echo, protocol=protocol) as client:
            await client.send("0" + "A" * (1024 * 1024))
            await client.wait_closed()
    assert client.close_code == 1009

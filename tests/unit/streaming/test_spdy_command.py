"""Commands over SPDY, in each of its protocols."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

import orjson
import pytest
import structlog
import trio
from trio.testing import memory_stream_pair

from kraftlet_trio.streaming.remote_command import CommandEnd, TerminalSize, WantedStreams
from kraftlet_trio.streaming.spdy_command import COMMAND_PROTOCOLS, serve_spdy_command
from kraftlet_trio.streaming.spdy_frames import (
    Data,
    GoAway,
    Ping,
    ResetStatus,
    RstStream,
    SynStream,
)
from tests.spdy_client import ClientStream, SPDYClient

V5, V4, V3, V2, V1 = COMMAND_PROTOCOLS
ALL = WantedStreams(stdin=True, stdout=True, stderr=True)
OUT = WantedStreams(stdout=True)


@asynccontextmanager
async def served(handler, *, wanted=ALL, protocol=V4):
    """A client whose command is *handler*; the connection is closed behind it."""
    ours, theirs = memory_stream_pair()
    client = SPDYClient(ours)

    async def serve():
        await serve_spdy_command(theirs, wanted, protocol, handler)
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()


async def opened(client, *names):
    return [await client.open({"streamtype": name}) for name in names]


async def echo(streams):
    while data := await streams.receive_stdin():
        await streams.send_stdout(data)
    await streams.send_stderr(b"done")
    return CommandEnd()


async def exits(streams, code=0):
    return CommandEnd(exit_code=code)


async def test_all_streams_are_served(autojump_clock):
    async with served(echo) as client:
        error, stdin, stdout, stderr = await opened(client, "error", "stdin", "stdout", "stderr")
        await stdin.send(b"hello ")
        await stdin.send(b"world", fin=True)
        assert await stdout.whole() == b"hello world"
        assert await stderr.whole() == b"done"
        assert orjson.loads(await error.whole()) == {"metadata": {}, "status": "Success"}
        await client.wait_closed()


async def test_names_and_kinds_of_streams_are_read_in_any_case(autojump_clock):
    async with served(exits, wanted=OUT) as client:
        error = await client.open({"streamType": "Error"})
        await client.open({"STREAMTYPE": "STDOUT"})
        assert await error.whole()


async def test_ends_come_in_the_order_that_clients_rely_on(autojump_clock):
    async def much(streams):
        await streams.send_stdout(b"o" * 2_000_001)
        await streams.send_stderr(b"e" * 50_000)
        return CommandEnd(exit_code=4)

    async with served(much, protocol=V5) as client:
        error, _, stdout, stderr = await opened(client, "error", "stdin", "stdout", "stderr")
        await client.wait_closed()
    assert stdout.data == b"o" * 2_000_001
    assert stderr.data == b"e" * 50_000
    causes = orjson.loads(bytes(error.data))["details"]["causes"]
    assert causes == [{"reason": "ExitCode", "message": "4"}]
    ends = [frame for frame in client.frames if isinstance(frame, Data) and frame.fin]
    assert [frame.stream_id for frame in ends] == [
        stdout.stream_id,
        stderr.stream_id,
        error.stream_id,
    ]
    fin_stderr = client.frames.index(ends[1])
    told = [
        index
        for index, frame in enumerate(client.frames)
        if isinstance(frame, Data) and frame.stream_id == error.stream_id
    ]
    assert min(told) > fin_stderr
    assert isinstance(client.frames[-1], GoAway)


@pytest.mark.parametrize("protocol", [V5, V4])
@pytest.mark.parametrize("code", [0, 7])
async def test_newer_protocols_tell_a_status(autojump_clock, protocol, code):
    async with served(partial(exits, code=code), wanted=OUT, protocol=protocol) as client:
        error, _ = await opened(client, "error", "stdout")
        status = orjson.loads(await error.whole())
    assert status["status"] == ("Failure" if code else "Success")


@pytest.mark.parametrize("protocol", [V3, V2, V1])
@pytest.mark.parametrize(
    ("code", "text"), [(0, b""), (7, b"command terminated with non-zero exit code: exit status 7")]
)
async def test_older_protocols_tell_only_failures(autojump_clock, protocol, code, text):
    async with served(partial(exits, code=code), wanted=OUT, protocol=protocol) as client:
        error, _ = await opened(client, "error", "stdout")
        assert await error.whole() == text


@pytest.mark.parametrize("protocol", [V5, V4, V3])
async def test_terminal_sizes_come_from_the_third_protocol_on(autojump_clock, protocol):
    sizes = []

    async def sized(streams):
        sizes.append(await streams.receive_size())
        await trio.sleep(1)
        sizes.append(await streams.receive_size())
        await streams.send_stderr(b"thrown away")
        return CommandEnd()

    wanted = WantedStreams(stdin=True, stdout=True, stderr=True, tty=True)
    async with served(sized, wanted=wanted, protocol=protocol) as client:
        error, _, _, resize = await opened(client, "error", "stdin", "stdout", "resize")
        await resize.send(b'{"Width":80,"Hei')
        await resize.send(b'ght":24}\n')
        await trio.sleep(0.5)
        await resize.send(b'{"Width":90,"Height":24}{"Width":100,"Height":30}')
        await error.whole()
    assert sizes == [TerminalSize(80, 24), TerminalSize(100, 30)]


@pytest.mark.parametrize("protocol", [V2, V1])
async def test_older_protocols_need_no_stream_for_sizes(autojump_clock, protocol):
    wanted = WantedStreams(stdin=True, stdout=True, tty=True)
    async with served(exits, wanted=wanted, protocol=protocol) as client:
        error, _, _ = await opened(client, "error", "stdin", "stdout")
        assert await error.whole() == b""


async def test_streams_that_do_not_come_end_it(autojump_clock):
    started = []

    async def starts(streams):
        started.append(True)

    with structlog.testing.capture_logs() as logs:
        async with served(starts) as client:
            await opened(client, "error", "stdin")
            await client.wait_closed()
    assert trio.current_time() >= 30
    assert not started
    assert client.gone_away
    assert logs[0]["came"] == ["error", "stdin"]


async def test_other_streams_and_repeated_ones_are_refused(autojump_clock):
    async with served(echo) as client:
        error, stdin, again, odd, none = await opened(
            client, "error", "stdin", "stdin", "resize", ""
        )
        ended = await client.open({"streamtype": "stdin"}, fin=True)
        await opened(client, "stdout", "stderr")
        late = await client.open({"streamtype": "stdout"}, fin=True)
        await stdin.send(b"", fin=True)
        assert orjson.loads(await error.whole())["status"] == "Success"
    for stream in (again, odd, none, ended, late):
        assert stream.reset == ResetStatus.REFUSED_STREAM


@pytest.mark.parametrize("how", ["end of the connection", "broken connection", "reset of stdout"])
async def test_client_that_leaves_cancels_the_handler(autojump_clock, how):
    cancelled = trio.Event()

    async def writes(streams):
        try:
            while True:
                await streams.send_stdout(b"x")
                await trio.sleep(1)
        finally:
            cancelled.set()

    ours, theirs = memory_stream_pair()
    client = SPDYClient(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve_spdy_command, theirs, OUT, V4, writes))
        _, stdout = await opened(client, "error", "stdout")
        await trio.sleep(5)
        if how == "end of the connection":
            await ours.send_eof()
        elif how == "broken connection":
            await ours.aclose()
        else:
            await client.send(RstStream(stdout.stream_id, 5))
        with trio.fail_after(5):
            await cancelled.wait()


async def test_client_that_wants_no_status_is_left_alone(autojump_clock):
    async def waits(streams):
        await streams.receive_stdin()
        return CommandEnd(exit_code=1)

    async with served(waits) as client:
        error, stdin, _, _ = await opened(client, "error", "stdin", "stdout", "stderr")
        await client.send(RstStream(error.stream_id, 5))
        await stdin.send(b"", fin=True)
        await client.wait_closed()
    assert client.gone_away


async def test_reset_of_input_is_its_end(autojump_clock):
    async with served(echo) as client:
        error, stdin, stdout, _ = await opened(client, "error", "stdin", "stdout", "stderr")
        await stdin.send(b"a")
        await stdout.until(lambda: stdout.data)
        await client.send(RstStream(stdin.stream_id, 5))
        assert orjson.loads(await error.whole())["status"] == "Success"


async def test_end_of_input_behind_a_full_buffer_is_kept(autojump_clock):
    sizes = []

    async def late(streams):
        await trio.sleep(10)
        while data := await streams.receive_stdin():
            sizes.append(len(data))
        return CommandEnd()

    async with served(late) as client:
        error, stdin, _, _ = await opened(client, "error", "stdin", "stdout", "stderr")
        await stdin.send(b"x" * 1_000_000, fin=True)
        await error.whole()
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= 32 * 1024


async def test_command_may_end_while_its_input_waits(autojump_clock):
    async def hasty(streams):
        await trio.sleep(1)
        return CommandEnd()

    async with served(hasty) as client:
        error, stdin, _, _ = await opened(client, "error", "stdin", "stdout", "stderr")
        await stdin.send(b"x" * 1_000_000, fin=True)
        assert orjson.loads(await error.whole())["status"] == "Success"
        with trio.fail_after(20):
            await client.wait_closed()


async def test_slow_reader_gets_all_of_it(autojump_clock):
    async def much(streams):
        await streams.send_stdout(b"x" * 100_000)
        return CommandEnd(exit_code=3)

    ours, theirs = trio.testing.lockstep_stream_pair()
    client = SPDYClient(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve_spdy_command, theirs, ALL, V4, much))
        error, _, stdout, _ = await opened(client, "error", "stdin", "stdout", "stderr")
        await trio.sleep(3600)
        nursery.start_soon(client.run)
        assert await stdout.whole() == b"x" * 100_000
        assert orjson.loads(await error.whole())["reason"] == "NonZeroExitCode"
        nursery.cancel_scope.cancel()


async def test_failed_handler_is_told_as_a_failure(autojump_clock):
    async def fails(streams):
        raise ValueError("secret")

    with structlog.testing.capture_logs():
        async with served(fails, wanted=OUT) as client:
            error, _ = await opened(client, "error", "stdout")
            status = orjson.loads(await error.whole())
    assert status["reason"] == "InternalError"
    assert "secret" not in status["message"]


async def test_client_that_pings_and_never_reads_is_given_up_with_one_line(autojump_clock):
    ours, theirs = memory_stream_pair()
    stuck = trio.StapledStream(
        trio.testing.MemorySendStream(send_all_hook=trio.sleep_forever), theirs.receive_stream
    )
    client = SPDYClient(ours)
    with structlog.testing.capture_logs() as logs, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve_spdy_command, stuck, ALL, V4, echo))
            await opened(client, "error", "stdin", "stdout", "stderr")
            for _ in range(100):
                await client.send(*[Ping(1)] * 1000)
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "does not read" in logs[0]["error"]


async def test_pings_are_answered_during_a_big_write(autojump_clock):
    async def much(streams):
        while True:
            await streams.send_stdout(b"x" * 1_000_000)

    async with served(much, wanted=OUT) as client:
        await opened(client, "error", "stdout")
        for number in (1, 3, 5):
            await client.send(Ping(number))
        while client.pings != [1, 3, 5]:
            await client.heard()


async def test_garbage_ends_it_with_one_line(autojump_clock):
    with structlog.testing.capture_logs() as logs:
        async with served(echo) as client:
            await client.stream.send_all(b"\x80\x02" + b"\xff" * 100)
            await client.wait_closed()
    assert [line["log_level"] for line in logs] == ["warning"]


async def test_bytes_may_come_one_by_one(autojump_clock):
    async with served(echo) as client:
        names = ("error", "stdin", "stdout", "stderr")
        frames = [SynStream(2 * n + 1, {"streamtype": name}) for n, name in enumerate(names)]
        frames.append(Data(3, b"in", fin=True))
        for n in range(4):
            client.streams[2 * n + 1] = ClientStream(client, 2 * n + 1)
        for byte in b"".join(map(client._writer.encode, frames)):
            await client.stream.send_all(bytes([byte]))
            await trio.lowlevel.checkpoint()
        assert await client.streams[5].whole() == b"in"

"""Whatever a client sends, the session ends by itself and answers with frames."""

from __future__ import annotations

from contextlib import suppress

import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from kraftlet_trio.streaming.remote_command import CommandEnd, WantedStreams
from kraftlet_trio.streaming.websocket_command import (
    WEBSOCKET_COMMAND_PROTOCOLS,
    serve_websocket_command,
)
from tests.websocket_client import WebSocketClient


def frame(head, length, payload):
    """One that is masked by nothing; its length may be a lie."""
    return bytes([head, 0x80 | length]) + bytes(4) + payload


FRAMES = st.builds(
    frame,
    st.one_of(st.integers(0, 255), st.sampled_from([0x01, 0x02, 0x00, 0x80, 0x81, 0x82, 0x89])),
    st.integers(0, 127),
    st.binary(max_size=130),
)
HONEST = st.builds(
    lambda head, payload: frame(head, len(payload), payload),
    st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A]),
    st.binary(max_size=60),
)
WIRES = st.lists(st.one_of(FRAMES, HONEST, HONEST), max_size=8).map(b"".join)


@given(st.sampled_from([None, *WEBSOCKET_COMMAND_PROTOCOLS]), WIRES, st.integers(1, 40))
def test_any_bytes_end_in_a_closed_connection(protocol, wire, step):
    async def echo(streams):
        while data := await streams.receive_stdin():
            await streams.send_stdout(data)
        return CommandEnd()

    async def talk():
        ours, theirs = memory_stream_pair()
        client = WebSocketClient(ours, answers_close=False)
        wanted = WantedStreams(stdin=True, stdout=True, tty=True)

        async def serve():
            await serve_websocket_command(theirs, wanted, protocol, echo)
            await theirs.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(client.run)
            with suppress(trio.BrokenResourceError):
                for start in range(0, len(wire), step):
                    await ours.send_all(wire[start : start + step])
                await ours.send_eof()
            with trio.fail_after(30):
                await client.wait_closed()

    with structlog.testing.capture_logs() as logs:
        trio.run(talk, clock=MockClock(autojump_threshold=0))
    assert len(logs) <= 1

"""Sizes of a terminal, from clients that send them as they like."""

from __future__ import annotations

import pytest
import trio

from kraftlet_trio.streaming.remote_command import TerminalSize
from kraftlet_trio.streaming.terminal_sizes import TerminalSizes

WIRE = b'{"Width":80,"Height":24}\n{"Width":100,"Height":30}'


@pytest.mark.parametrize("split", range(len(WIRE)))
async def test_sizes_may_be_split_anywhere(split):
    sizes = TerminalSizes()
    sizes.feed(WIRE[:split])
    sizes.feed(WIRE[split:])
    assert await sizes.next() == TerminalSize(100, 30)


@pytest.mark.parametrize(
    "garbage",
    [
        b"9" * 5000 + b" ",
        b"[" * 5000,
        b"\xff" * 5000,
        b'{"Width":-1,"Height":2}',
        b'{"Width":true,"Height":70000}',
        b"null",
    ],
)
async def test_what_means_nothing_is_left_out(autojump_clock, garbage):
    sizes = TerminalSizes()
    sizes.feed(garbage)
    with trio.move_on_after(1) as waiting:
        await sizes.next()
    assert waiting.cancelled_caught
    sizes.feed(b'{"Width":80,"Height":24}')
    assert await sizes.next() == TerminalSize(80, 24)

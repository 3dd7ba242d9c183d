"""A run's log, read in pages of a console that grows and is trimmed, against the bytes written."""

from __future__ import annotations

from functools import partial

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from kraftlet_trio.cloud.console import ConsolePage, ConsolePart, ConsoleReading
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import RUNNING, STOPPED, Instance
from kraftlet_trio.consoles.consoles import Consoles
from kraftlet_trio.consoles.run_log import LogQuestion, RunLog
from kraftlet_trio.mapping.console_runs import Which
from kraftlet_trio.simulators.cloud.logs import Log
from tests.thoroughness import examples

PIECES = st.lists(
    st.sampled_from([b"a", b"\n", b"one\ntwo\n", b"\xe2\x82", b"long " * 10]), max_size=12
)


@attrs.define
class Cloud:
    """One instance, and no page longer than *page_bytes*."""

    page_bytes: int
    log: Log
    state: str = RUNNING

    async def read_console(self, _uuid: str, *, offset: int, limit: int) -> ConsolePage:
        await trio.lowlevel.checkpoint()
        begin, data = self.log.read(offset, min(limit, self.page_bytes))
        return ConsolePage(
            data=data,
            start=begin if data else self.log.end,
            available_start=self.log.start,
            available_end=self.log.end,
            state=self.state,
        )

    async def read_consoles(self, parts: list[ConsolePart]) -> ConsoleReading:
        pages = {
            part.uuid: await self.read_console(part.uuid, offset=part.offset, limit=part.limit)
            for part in parts
        }
        return ConsoleReading(pages, frozenset())


async def written(cloud, which, question, later=(), next_run=b""):
    """What is sent; *later* is written meanwhile, and then the next run begins."""
    feed = InstanceFeed(None, tags=(), interval=1)
    consoles = Consoles(cloud, feed)
    tags = (f"kraftlet:console=1.{cloud.previous}.{cloud.latest}",)
    instance = Instance(uuid="u", state=RUNNING, tags=tags, start_count=2)
    feed.put(instance)
    sent = bytearray()

    async def send(data):
        await trio.lowlevel.checkpoint()
        sent.extend(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consoles.run)
        run = RunLog(consoles, "u", which, None)
        extent = await run.measure()
        finished = trio.Event()

        async def write():
            await run.write(question, extent, send)
            finished.set()

        nursery.start_soon(write)
        for piece in later:
            await trio.sleep(0.7)
            cloud.log.append(piece)
        if next_run:
            tags = (f"kraftlet:console=2.{cloud.latest}.{cloud.log.end}",)
            feed.put(attrs.evolve(instance, tags=tags))
            cloud.log.append(next_run)
        else:
            cloud.state = STOPPED
        with trio.fail_after(60):
            await finished.wait()
        nursery.cancel_scope.cancel()
    return bytes(sent)


@attrs.define
class Runs(Cloud):
    previous: int = 0
    latest: int = 0


@settings(max_examples=examples(150), deadline=None)
@given(
    before=PIECES.map(b"".join),
    middle=PIECES.map(b"".join),
    present=PIECES.map(b"".join),
    later=PIECES,
    next_run=st.sampled_from([b"", b"not\nours\n"]),
    page_bytes=st.integers(1, 30),
    tail=st.none() | st.integers(0, 8),
    limit=st.none() | st.integers(1, 60),
    follow=st.booleans(),
    which=st.sampled_from(Which),
)
def test_log_is_what_the_run_wrote(
    before, middle, present, later, next_run, page_bytes, tail, limit, follow, which
):
    log = Log(10**6)
    log.append(before + middle + present)
    cloud = Runs(page_bytes, log, previous=len(before), latest=len(before) + len(middle))
    question = LogQuestion(follow=follow, tail_lines=tail, limit_bytes=limit)
    told = partial(written, cloud, which, question, later, next_run)
    sent = trio.run(told, clock=MockClock(autojump_threshold=0))
    there = middle if which is Which.PREVIOUS else present
    if tail is not None:
        lines = [line + b"\n" for line in there.split(b"\n")]
        lines[-1] = lines[-1][:-1]
        lines = [line for line in lines if line]
        there = b"".join(lines[len(lines) - tail :] if 0 < tail < len(lines) else lines)
        there = there if tail else b""
    if follow and which is Which.LATEST:
        there += b"".join(later)
    assert sent == there[:limit]


@settings(max_examples=examples(100), deadline=None)
@given(
    present=PIECES.map(b"".join),
    later=PIECES,
    capacity=st.integers(1, 40),
    page_bytes=st.integers(1, 30),
    tail=st.none() | st.integers(0, 8),
)
def test_trimmed_console_gives_what_is_left_in_order(present, later, capacity, page_bytes, tail):
    log = Log(capacity)
    log.append(present)
    cloud = Runs(page_bytes, log)
    question = LogQuestion(follow=True, tail_lines=tail)
    told = partial(written, cloud, Which.LATEST, question, later)
    sent = trio.run(told, clock=MockClock(autojump_threshold=0))
    whole = present + b"".join(later)
    rest = iter(whole)
    assert all(byte in rest for byte in sent), "a subsequence of what was written"
    if tail is None and later:
        assert sent.endswith(later[-1][-capacity:])

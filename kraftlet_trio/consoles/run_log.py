"""The log of one run of a container, read from its instance's console and sent as it is asked for.

The run's bytes are those between two offsets of the console; the end of the present run is known
only once it is over. What the platform has dropped meanwhile is left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

import attrs
import structlog
import trio

from kraftlet_trio.cloud.console import CONSOLE_PAGE_BYTES, ConsolePage
from kraftlet_trio.cloud.errors import CloudError, CloudUnavailable
from kraftlet_trio.cloud.objects import STOPPED
from kraftlet_trio.consoles.consoles import Consoles
from kraftlet_trio.consoles.lines import LineCutter, LogForm, Piece, TailSearch
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.mapping.console_runs import RunOffsets, Which

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.125
"""Between looks at a console that has just grown."""
LONGEST_PAUSE_SECONDS = 2.0

_LESS_THAN_A_SECOND = timedelta(microseconds=999_999)


@attrs.frozen(kw_only=True)
class LogQuestion:
    """What is asked of a log, in the kubelet's terms."""

    follow: bool = False
    timestamps: bool = False
    since: datetime | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None


class RunNotFound(Exception):
    """Nothing tells where in the console the run is."""


class RunLog:
    """The log of a run in the console of the instance *uuid*."""

    def __init__(
        self, consoles: Consoles, uuid: str, which: Which, ended_at: datetime | None
    ) -> None:
        """*ended_at* is when the run ended, as far as is known.

        Raises:
            RunNotFound: there was a run before, but where it was has not been noted.
        """
        self._consoles = consoles
        self._uuid = uuid
        self._which = which
        # Statuses tell whole seconds, cut.
        self._ended_by = None if ended_at is None else ended_at + _LESS_THAN_A_SECOND
        self._first: RunOffsets = consoles.runs_in(uuid)
        start = self._first.latest if which is Which.LATEST else self._first.previous
        if start is None:
            raise RunNotFound
        self._start = start

    async def measure(self) -> ConsolePage:
        """How much there is, with no data. Raises ``CloudError``."""
        return await self._consoles.read(self._uuid, self._start, 0)

    async def write(
        self,
        question: LogQuestion,
        extent: ConsolePage,
        send: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Send what is asked for; *extent* is how much there was when it was asked.

        To follow is to go on until the run is over and all of it is sent. While the platform does
        not answer, a follower waits; anybody else gets no more. Raises ``CloudError``.
        """
        start = max(self._start, extent.available_start)
        end = extent.available_end
        if (run_end := self._end()) is not None:
            end = max(start, min(end, run_end))
        cutter = LineCutter(await self._first_offset(start, end, question.tail_lines))
        form = LogForm(
            timestamps=question.timestamps,
            since=question.since,
            bytes_left=question.limit_bytes,
            time_of=self._time_of,
        )

        async def send_all(pieces: Iterable[Piece]) -> None:
            if data := b"".join(map(form.sent, pieces)):
                await send(data)

        while cutter.offset < end and not form.is_full:
            page = await self._consoles.read(
                self._uuid, cutter.offset, min(CONSOLE_PAGE_BYTES, end - cutter.offset)
            )
            if not page.data:
                break
            if page.start > cutter.offset:
                await send_all(cutter.finish())
                cutter.skip_to(page.start)
            await send_all(cutter.feed(page.data[: max(0, end - page.start)]))
        if question.follow and not form.is_full:
            with self._consoles.followed(self._uuid) as follower:
                await self._follow(cutter, form, send_all, follower.look_now)
        await send_all(cutter.finish())

    async def _first_offset(self, start: int, end: int, tail_lines: int | None) -> int:
        if tail_lines is None:
            return start
        search = TailSearch(tail_lines, end)
        while not search.is_found and search.offset > start:
            begin = max(start, search.offset - CONSOLE_PAGE_BYTES)
            data = await self._between(begin, search.offset)
            if not data:
                break
            search.feed(data)
        return search.offset

    async def _between(self, begin: int, end: int) -> bytes:
        """Empty where the platform has dropped something of it."""
        data = b""
        while begin + len(data) < end:
            offset = begin + len(data)
            page = await self._consoles.read(self._uuid, offset, end - offset)
            if not page.data or page.start != offset:
                return b""
            data += page.data
        return data

    async def _follow(
        self,
        cutter: LineCutter,
        form: LogForm,
        send_all: Callable[[Iterable[Piece]], Awaitable[None]],
        look_now: Doorbell,
    ) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not form.is_full:
            try:
                page = await self._next_page(cutter.offset)
            except CloudUnavailable as error:
                log.debug("console not read, to be tried again", error=str(error))
                await trio.sleep(LONGEST_PAUSE_SECONDS)
                continue
            except CloudError:
                return
            # Asked behind the read: where the next run begins is noted before it writes anything.
            end = self._end()
            data = page.data[max(0, cutter.offset - page.start) :]
            if end is not None:
                data = data[: max(0, end - cutter.offset)]
            if page.start > cutter.offset:
                await send_all(cutter.finish())
                cutter.skip_to(page.start)
            await send_all(cutter.feed(data))
            if end is not None and cutter.offset >= end:
                return
            if cutter.offset < page.available_end:
                if data:
                    pause = FIRST_PAUSE_SECONDS
                    continue
            elif page.state == STOPPED:
                return
            pause = FIRST_PAUSE_SECONDS if data else min(2 * pause, LONGEST_PAUSE_SECONDS)
            # Followers that wait for as long look at the same moments, in one request.
            now = trio.current_time()
            with trio.move_on_at((now // pause + 1) * pause):
                await look_now.wait()

    async def _next_page(self, offset: int) -> ConsolePage:
        page = await self._consoles.poll(self._uuid, offset)
        if page.end <= offset < page.available_end:
            # Somebody else follows it from farther back.
            page = await self._consoles.read(self._uuid, offset)
        return page

    def _end(self) -> int | None:
        """Offset behind the run's last byte; None while no later run is noted."""
        runs = self._consoles.runs_in(self._uuid)
        if self._which is Which.PREVIOUS:
            return self._first.latest
        if runs.starts == self._first.starts:
            return None
        return runs.latest if runs.previous == self._start else runs.previous

    def _time_of(self, offset: int) -> datetime:
        time = self._consoles.time_of(self._uuid, offset)
        return time if self._ended_by is None else min(time, self._ended_by)

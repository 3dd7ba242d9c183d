"""The consoles of a node's instances, those that are gone included, with times for what they hold.

One that grows is looked at by all who follow it in shared requests, and every some seconds for a
mark of how long it is, which is all that there is to tell when something was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Never

import attrs
import structlog
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.console import CONSOLE_PAGE_BYTES, ConsolePage, ConsolePart
from kraftlet_trio.cloud.errors import CloudError, CloudUnavailable, ResourceNotFound
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import DRAINING, RUNNING, STOPPED, STOPPING, Instance
from kraftlet_trio.consoles.last_consoles import LastConsoles
from kraftlet_trio.consoles.marks import Marks
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubernetes.pod import PodUID
from kraftlet_trio.mapping.console_runs import RunOffsets, run_offsets

log = structlog.get_logger()

GATHER_SECONDS = 0.02
"""How long a follower's question waits for others to share its request."""
MARK_SECONDS = 10.0
"""Between looks at how long the consoles are, so about how much later a line may seem."""
MARK_AN_INSTANCE_SECONDS = 0.005
"""Added to that for each instance: a look at one costs some 50 µs."""

MARKED_AT_AGES = frozenset({1, 2, 4})
"""Seconds after its start at which a console is looked at as well: much is written then."""
FINISH_SECONDS = 2.0
"""How long the deletion of an instance waits for those who follow what it wrote."""

_WRITES = (RUNNING, DRAINING, STOPPING)


@attrs.define(eq=False)
class Consoles:
    """By uuid of the instance. Polls are answered, and marks made, while :meth:`run` is running."""

    _cloud: CloudClient
    _feed: InstanceFeed
    _last: LastConsoles = attrs.field(factory=LastConsoles, init=False)
    _marks: dict[str, Marks] = attrs.field(factory=dict, init=False)
    _asked: dict[str, _Question] = attrs.field(factory=dict, init=False)
    _bell: Doorbell = attrs.field(factory=Doorbell, init=False)
    _followers: dict[str, list[Follower]] = attrs.field(factory=dict, init=False)

    def exists(self, uuid: str) -> bool:
        return uuid in self._feed.instances or self._last.of(uuid) is not None

    def runs_in(self, uuid: str) -> RunOffsets:
        """Where its runs begin."""
        if (instance := self._feed.instances.get(uuid)) is not None:
            return run_offsets(instance.tags)
        kept = self._last.of(uuid)
        return RunOffsets() if kept is None else kept.runs

    async def read(self, uuid: str, offset: int, limit: int = CONSOLE_PAGE_BYTES) -> ConsolePage:
        """At most *limit* bytes from *offset* on. Raises ``CloudError``."""
        if (kept := self._last.of(uuid)) is not None:
            return kept.page(offset, limit)
        try:
            page = await self._cloud.read_console(uuid, offset=offset, limit=limit)
        except ResourceNotFound:
            if (kept := self._last.of(uuid)) is not None:
                return kept.page(offset, limit)
            raise
        self._mark(uuid, page)
        return page

    async def poll(self, uuid: str, offset: int) -> ConsolePage:
        """As ``read``, perhaps from an earlier offset on, in one request with other followers."""
        question = self._asked.setdefault(uuid, _Question(offset))
        question.offset = min(question.offset, offset)
        self._bell.ring()
        await question.answered.wait()
        if isinstance(question.answer, ConsolePage):
            return question.answer
        if isinstance(question.answer, ResourceNotFound):
            return await self.read(uuid, offset)  # it may have been kept
        raise CloudUnavailable(str(question.answer)) from question.answer

    @contextmanager
    def followed(self, uuid: str) -> Iterator[Follower]:
        """While somebody follows it."""
        follower = Follower()
        self._followers.setdefault(uuid, []).append(follower)
        try:
            yield follower
        finally:
            self._followers[uuid].remove(follower)
            if not self._followers[uuid]:
                del self._followers[uuid]
            follower.done.set()

    async def let_followers_finish(self, uuid: str) -> None:
        """Give those who follow a stopped instance the time to read the rest; not for long."""
        followers = tuple(self._followers.get(uuid, ()))
        for follower in followers:
            follower.look_now.ring()
        with trio.move_on_after(FINISH_SECONDS):
            for follower in followers:
                await follower.done.wait()

    def time_of(self, uuid: str, offset: int) -> datetime:
        """By when the byte at *offset* had been written."""
        marks = self._marks.get(uuid)
        time = None if marks is None else marks.time_of(offset)
        return utc_now() if time is None else time

    async def keep(self, pod: PodUID, instance: Instance) -> None:
        """Keep the end of a console until its Pod is gone. Raises ``CloudError``."""
        await self._last.keep(self._cloud, pod, instance.uuid, run_offsets(instance.tags))
        if (kept := self._last.of(instance.uuid)) is not None:
            self._mark(instance.uuid, kept.page(0, 0))

    def forget(self, pod: PodUID) -> None:
        self._last.forget(pod)

    async def run(self) -> Never:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._answer_forever)
            nursery.start_soon(self._mark_forever)
        raise AssertionError("both go on for ever")

    async def _answer_forever(self) -> Never:
        while True:
            await self._bell.wait()
            await trio.sleep(GATHER_SECONDS)
            asked, self._asked = self._asked, {}
            await self._answer(asked)

    async def _answer(self, asked: dict[str, _Question]) -> None:
        parts = [ConsolePart(uuid, question.offset) for uuid, question in asked.items()]
        try:
            reading = await self._cloud.read_consoles(parts)
        except CloudError as error:
            for question in asked.values():
                question.answer = error
        else:
            for uuid, question in asked.items():
                if (page := reading.pages.get(uuid)) is not None:
                    self._mark(uuid, page)
                    question.answer = page
                elif uuid in reading.missing:
                    question.answer = ResourceNotFound(f"no instance {uuid}")
        for question in asked.values():
            question.answered.set()

    async def _mark_forever(self) -> Never:
        all_due = trio.current_time() + self._mark_seconds()
        while True:
            await trio.sleep(1.0)
            if trio.current_time() < all_due:
                await self._measure(filter(_is_young, self._feed.instances.values()))
                continue
            all_due = trio.current_time() + self._mark_seconds()
            for uuid in self._marks.keys() - self._feed.instances.keys():
                if self._last.of(uuid) is None:
                    del self._marks[uuid]
            await self._measure(self._feed.instances.values())

    def _mark_seconds(self) -> float:
        return MARK_SECONDS + MARK_AN_INSTANCE_SECONDS * len(self._feed.instances)

    async def _measure(self, instances: Iterable[Instance]) -> None:
        parts = [
            ConsolePart(instance.uuid, offset=0, limit=0)
            for instance in instances
            if instance.state in _WRITES
        ]
        try:
            reading = await self._cloud.read_consoles(parts)
        except CloudError as error:
            log.debug("consoles cannot be measured", error=str(error))
            return
        for uuid, page in reading.pages.items():
            self._mark(uuid, page)

    def _mark(self, uuid: str, page: ConsolePage) -> None:
        time = utc_now()
        instance = self._feed.instances.get(uuid)
        if page.state == STOPPED and instance is not None and instance.state == STOPPED:
            time = instance.stopped_at or time
        self._marks.setdefault(uuid, Marks()).note(page.available_end, time)


def _is_young(instance: Instance) -> bool:
    """Whether it is to be looked at in this second of its life."""
    if instance.started_at is None:
        return False
    return int((utc_now() - instance.started_at).total_seconds()) in MARKED_AT_AGES


@attrs.define(eq=False)
class Follower:
    """Of one instance's console."""

    look_now: Doorbell = attrs.field(factory=Doorbell)
    """Rung where there is no time to wait."""
    done: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class _Question:
    offset: int
    answered: trio.Event = attrs.field(factory=trio.Event)
    answer: ConsolePage | CloudError = attrs.field(
        factory=lambda: CloudUnavailable("the platform does not tell about the console")
    )

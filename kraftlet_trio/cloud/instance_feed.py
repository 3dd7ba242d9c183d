"""What the cloud has of one node: a copy of its instances that is never far behind.

Two readers keep it. One lists everything that carries the node's tags, every second or so, however
many Pods are quiet. The other reads those instances that somebody watches closely, all in one
request, often at first and then less and less until they change again. Where the platform tells
of events, the other reader hears of each at once, and the lists become a safety net. Callers put
in what they learn themselves. A read that began before an instance was put in or forgotten says
nothing about it, and a read that failed says nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import attrs
import structlog
import trio

from kraftlet_trio.cloud.audit_stream import Changed, EventStreamParser, Hint, Missed
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError, CloudUnavailable
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.doorbell import Doorbell

log = structlog.get_logger()

POD_UID_TAG = "k8s.io:uid="
"""Begins the tag that names an instance's Pod."""

FIRST_LOOK_SECONDS = 0.05
"""About what an instance takes to boot."""
LOOK_GROWTH = 1.5
LONGEST_LOOK_SECONDS = 1.0
PAUSE_AN_INSTANCE_SECONDS = 0.001
"""Added to the pause between lists, so that reading thousands never takes more than a twentieth
of a core: one costs about 50 µs."""
FIRST_RETRY_SECONDS = 0.5
LISTENING_INTERVAL_SECONDS = 5.0
"""Between lists while the platform tells of events: it does not tell of all."""
NO_EVENTS_RETRY_SECONDS = 300.0
"""Until an account without the stream of events is tried again."""
LONGEST_RETRY_SECONDS = 30.0


def _nobody(_: str) -> None:
    pass


@attrs.define
class _CloseWatch:
    pause: float
    """Seconds until the next look, if nothing changes."""
    due: float
    """Trio's time of the next look."""


@attrs.define
class InstanceFeed:
    """The instances with all *tags*, listed about every *interval* seconds while ``run`` runs."""

    _client: CloudClient
    _tags: Sequence[str] = attrs.field(kw_only=True)
    _interval: float = attrs.field(kw_only=True)
    _instances: dict[str, Instance] = attrs.field(factory=dict, init=False)
    _of_pods: dict[str, dict[str, Instance]] = attrs.field(factory=dict, init=False)
    _known_since: dict[str, int] = attrs.field(factory=dict, init=False)
    """By uuid: the moment (a count) that what is known of it is of."""
    _forgotten: dict[str, int] = attrs.field(factory=dict, init=False)
    """The like of those that are gone, as long as a read under way might bring them back."""
    _moment: int = attrs.field(default=0, init=False)
    _reads: set[int] = attrs.field(factory=set, init=False)
    """The moments at which the reads under way began."""
    _close: dict[str, _CloseWatch] = attrs.field(factory=dict, init=False)
    _hinted: set[str] = attrs.field(factory=set, init=False)
    """Those of which an event has told since they were last read."""
    _listening: bool = attrs.field(default=False, init=False)
    _list_now: Doorbell = attrs.field(factory=Doorbell, init=False)
    _sooner: Doorbell = attrs.field(factory=Doorbell, init=False)
    _last_success: float | None = attrs.field(default=None, init=False)
    _on_change: Callable[[str], None] = attrs.field(default=_nobody, init=False)

    @property
    def instances(self) -> Mapping[str, Instance]:
        """All, by uuid; a live view."""
        return MappingProxyType(self._instances)

    def of_pod(self, pod_uid: str) -> dict[str, Instance]:
        """Those of one Pod, by uuid; a copy."""
        return dict(self._of_pods.get(pod_uid, ()))

    @property
    def is_listening(self) -> bool:
        """Whether the platform tells of events at present."""
        return self._listening

    def seconds_since_success(self) -> float:
        """Age of the last full list; infinite before the first."""
        if self._last_success is None:
            return float("inf")
        return trio.current_time() - self._last_success

    def watch_closely(self, uuid: str) -> None:
        """Look at this one often until ``rest``. It is in transition, or soon will be."""
        if uuid not in self._close:
            self._close[uuid] = _CloseWatch(
                FIRST_LOOK_SECONDS, trio.current_time() + FIRST_LOOK_SECONDS
            )
            self._sooner.ring()

    def rest(self, uuid: str) -> None:
        """Look at this one no more often than at the others."""
        self._close.pop(uuid, None)

    def put(self, instance: Instance) -> None:
        """Adopt what a call has just told. Reads under way do not overwrite it."""
        self._moment += 1
        self._store(instance, self._moment)

    def forget(self, uuid: str) -> None:
        """Drop one that was deleted. Reads under way do not bring it back."""
        self._moment += 1
        self._drop(uuid, self._moment)

    async def run(
        self,
        on_change: Callable[[str], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep the copy until cancelled; call *on_change* (sync) with each Pod uid affected.

        Started once there has been a full list. Failures of the platform are logged, not raised.
        """
        self._on_change = on_change
        async with trio.open_nursery() as nursery:
            await nursery.start(self._list_forever)
            nursery.start_soon(self._look_closely_forever)
            nursery.start_soon(self._listen_forever)
            task_status.started()

    async def _list_forever(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        retry = FIRST_RETRY_SECONDS
        listed = False
        while True:
            try:
                await self._list_once()
            except CloudError as error:
                if retry == FIRST_RETRY_SECONDS:
                    log.warning("instances cannot be listed", tags=self._tags, error=str(error))
                await trio.sleep(min(retry, self._interval))
                retry *= 2
                continue
            if retry > FIRST_RETRY_SECONDS:
                log.info("instances can be listed again", tags=self._tags)
                retry = FIRST_RETRY_SECONDS
            if not listed:
                listed = True
                task_status.started()
            pause = self._interval
            if self._listening:
                pause = max(pause, LISTENING_INTERVAL_SECONDS)
            with trio.move_on_after(pause + PAUSE_AN_INSTANCE_SECONDS * len(self._instances)):
                await self._list_now.wait()

    async def _listen_forever(self) -> None:
        """Hear of changes as they happen, where the platform tells of them."""
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._listen()
                pause = FIRST_RETRY_SECONDS
            except CloudUnavailable as error:
                log.debug("events are not told", error=str(error))
            except CloudError as error:
                log.info("the platform tells no events: instances are listed", error=str(error))
                pause = NO_EVENTS_RETRY_SECONDS
            finally:
                self._listening = False
            await trio.sleep(pause)
            pause = min(2 * pause, max(LONGEST_RETRY_SECONDS, pause))

    async def _listen(self) -> None:
        async with self._client.audit_stream(tags=self._tags) as stream:
            self._listening = True
            # Nothing is told of what happened before.
            self._list_now.ring()
            parser = EventStreamParser()
            while piece := await stream.next_piece():
                for hint in parser.feed(piece):
                    self._take(hint)

    def _take(self, hint: Hint) -> None:
        match hint:
            case Changed(uuid) if uuid in self._instances:
                self._hinted.add(uuid)
                self._sooner.ring()
            case Changed() | Missed():
                self._list_now.ring()

    async def _list_once(self) -> None:
        with self._reading() as began:
            found = await self._client.list_instances(tags=self._tags)
            for instance in found:
                if self._last_told(instance.uuid) < began:
                    self._store(instance, began)
        self._last_success = trio.current_time()
        listed = {instance.uuid for instance in found}
        absent = [
            uuid
            for uuid in self._instances
            if uuid not in listed and self._known_since[uuid] < began
        ]
        if absent:
            # A page may miss one when the list changes under it: ask before believing.
            await self._look_at(absent)

    async def _look_closely_forever(self) -> None:
        earliest = trio.current_time()
        while True:
            next_due = min((watch.due for watch in self._close.values()), default=float("inf"))
            next_look = max(trio.current_time() if self._hinted else next_due, earliest)
            with trio.move_on_at(next_look):
                await self._sooner.wait()
                continue
            now = trio.current_time()
            earliest = now + FIRST_LOOK_SECONDS
            # Those that are nearly due come along: one request instead of many.
            looked_at = {
                uuid: watch
                for uuid, watch in self._close.items()
                if watch.due - now <= watch.pause / 4
            }
            hinted, self._hinted = self._hinted, set()
            try:
                await self._look_at(looked_at.keys() | hinted)
            except CloudError as error:
                log.debug("instances in transition cannot be read", error=str(error))
            for watch in looked_at.values():
                if watch.due - now <= watch.pause / 4:  # nothing has changed meanwhile
                    watch.pause = min(watch.pause * LOOK_GROWTH, LONGEST_LOOK_SECONDS)
                    watch.due = trio.current_time() + watch.pause

    async def _look_at(self, uuids: Iterable[str]) -> None:
        with self._reading() as began:
            reading = await self._client.read_instances(list(uuids))
            for instance in reading.found:
                if self._last_told(instance.uuid) < began:
                    self._store(instance, began)
            for uuid in reading.missing:
                if self._last_told(uuid) < began:
                    self._drop(uuid, began)

    @contextmanager
    def _reading(self) -> Iterator[int]:
        """A read under way; the moment it began."""
        self._moment += 1
        began = self._moment
        self._reads.add(began)
        try:
            yield began
        finally:
            self._reads.remove(began)
            oldest = min(self._reads, default=self._moment)
            self._forgotten = {
                uuid: moment for uuid, moment in self._forgotten.items() if moment > oldest
            }

    def _last_told(self, uuid: str) -> int:
        return self._known_since.get(uuid, 0) or self._forgotten.get(uuid, 0)

    def _store(self, instance: Instance, moment: int) -> None:
        self._known_since[instance.uuid] = moment
        self._forgotten.pop(instance.uuid, None)
        previous = self._instances.get(instance.uuid)
        if instance == previous:
            return
        if previous is not None:
            self._unlink(previous)
        self._instances[instance.uuid] = instance
        if watch := self._close.get(instance.uuid):
            watch.pause = FIRST_LOOK_SECONDS
            watch.due = trio.current_time() + FIRST_LOOK_SECONDS
            self._sooner.ring()
        pod_uids = {_pod_uid(instance), _pod_uid(previous) if previous else ""} - {""}
        if pod_uid := _pod_uid(instance):
            self._of_pods.setdefault(pod_uid, {})[instance.uuid] = instance
        for pod_uid in pod_uids:
            self._on_change(pod_uid)

    def _drop(self, uuid: str, moment: int) -> None:
        self._known_since.pop(uuid, None)
        self._forgotten[uuid] = moment
        self._close.pop(uuid, None)
        if instance := self._instances.pop(uuid, None):
            self._unlink(instance)
            if pod_uid := _pod_uid(instance):
                self._on_change(pod_uid)

    def _unlink(self, instance: Instance) -> None:
        pod_uid = _pod_uid(instance)
        if siblings := self._of_pods.get(pod_uid):
            siblings.pop(instance.uuid, None)
            if not siblings:
                del self._of_pods[pod_uid]


def _pod_uid(instance: Instance) -> str:
    """Empty when it has none."""
    return next(
        (tag.removeprefix(POD_UID_TAG) for tag in instance.tags if tag.startswith(POD_UID_TAG)), ""
    )

"""The audit stream: changes of instances, told to who listens (platform reference, audit).

Nothing is kept for who comes later. A subscriber that reads too slowly loses the oldest events,
and is told how many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import attrs
import orjson
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.cloud.records import Instance
from kraftlet_trio.simulators.cloud.stops import IMAGE_NOT_AVAILABLE, START_REFUSED, Stop

STATE_CHANGE = "vm.state_change"
START_FAILED = "vm.start_failed"
GAP = "gap"
EVENT_TYPES = (STATE_CHANGE, START_FAILED, GAP)

MOST_SUBSCRIPTIONS = 64
_ABANDONED_SECONDS = 60.0
"""A subscription that nobody began to read by then belongs to a connection that failed."""

_REASONS = {
    1: "sys-exit",
    2: "app-exit",
    4: "ukpd",
    8: "api",
    16: "force",
    32: "scale-to-zero",
}
_RESTING = ("stopped", "standby")
_CAUSES = {IMAGE_NOT_AVAILABLE: "image-unavailable", START_REFUSED: "quota-exceeded"}


class TooManySubscriptions(Exception):
    """The controller serves no more of them."""


@attrs.frozen(kw_only=True)
class Filter:
    """What a subscriber wants to hear; an empty member matches all."""

    events: frozenset[str] = frozenset()
    uuids: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    """An instance must carry all of them."""

    def matches(self, event_type: str, instance: Instance) -> bool:
        return (
            (not self.events or event_type in self.events)
            and (not self.uuids or instance.uuid in self.uuids)
            and self.tags <= set(instance.tags)
        )


@attrs.define(eq=False)
class Subscription:
    """Frames for one subscriber that it has not read yet."""

    filter: Filter
    _capacity: int
    _opened_at: float = attrs.field(factory=trio.current_time, init=False)
    _reading: bool = attrs.field(default=False, init=False)
    _frames: deque[bytes] = attrs.field(factory=deque, init=False)
    _dropped: int = attrs.field(default=0, init=False)
    _cut: bool = attrs.field(default=False, init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def abandoned(self) -> bool:
        return not self._reading and trio.current_time() > self._opened_at + _ABANDONED_SECONDS

    def offer(self, frame: bytes) -> None:
        self._frames.append(frame)
        if len(self._frames) > self._capacity:
            self._frames.popleft()
            self._dropped += 1
        self._changed.set()

    def cut(self) -> None:
        self._cut = True
        self._changed.set()

    async def receive(self) -> bytes | None:
        """The next frame, None once the connection is to be cut."""
        self._reading = True
        while not (self._cut or self._frames):
            self._changed = trio.Event()
            await self._changed.wait()
        if self._cut:
            return None
        if self._dropped:
            gap, self._dropped = _frame(GAP, {"dropped": self._dropped}), 0
            return gap
        return self._frames.popleft()


class Audit:
    """Tells every change of state to the subscribers of one account."""

    def __init__(self, *, owner: str, backlog: int) -> None:
        self._owner = owner
        self._backlog = backlog
        self._subscriptions: set[Subscription] = set()

    def subscribe(self, wanted: Filter) -> Subscription:
        """Begin to collect events; :meth:`unsubscribe` ends it.

        Raises:
            TooManySubscriptions: 64 are being served.
        """
        self._subscriptions = {each for each in self._subscriptions if not each.abandoned}
        if len(self._subscriptions) >= MOST_SUBSCRIPTIONS:
            raise TooManySubscriptions
        subscription = Subscription(wanted, self._backlog)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def cut(self) -> None:
        """Close the connections of all subscribers."""
        for subscription in self._subscriptions:
            subscription.cut()

    def state_changed(self, instance: Instance, previous: str) -> None:
        """*instance* came from the state *previous* to the one it has."""
        data: dict[str, Any] = {"prev": previous, "new": instance.state}
        if instance.state in _RESTING and instance.stop.reason is not None:
            data["stop"] = _stop(instance.stop)
        self._tell(STATE_CHANGE, instance, data)

    def start_failed(self, instance: Instance, error: str) -> None:
        """A start of *instance* was refused; *error* is the name of an errno."""
        data = {"state": instance.state, "error": error, "stop": _stop(START_REFUSED)}
        self._tell(START_FAILED, instance, data)

    def _tell(self, event_type: str, instance: Instance, data: Mapping[str, Any]) -> None:
        attribution = self._attribution(instance)
        wanted = [each for each in self._subscriptions if each.filter.matches(event_type, instance)]
        if not wanted:
            return
        object_: dict[str, Any] = {"type": "i", "uuid": instance.uuid, "owner": self._owner}
        if instance.tags:
            object_["tags"] = list(instance.tags)
        document = {
            "type": event_type,
            "timestamp": f"{utc_now():%Y-%m-%dT%H:%M:%S.%f}000Z",
            "object": object_,
            "attribution": attribution,
            "data": data,
        }
        frame = _frame(event_type, document)
        for subscription in wanted:
            subscription.offer(frame)

    def _attribution(self, instance: Instance) -> dict[str, str]:
        action = instance.action
        attribution = {
            "operation": action.uuid,
            "kind": action.kind,
            "trigger": "observed" if action.told else "requested",
            "origin": action.origin,
        }
        if action.origin == "api":
            attribution["user"] = self._owner
        action.told = True
        return attribution


def _stop(stop: Stop) -> dict[str, Any]:
    """A cause is told of those stops only that the guest's kernel had no part in."""
    bits = stop.reason or 0
    told: dict[str, Any] = {"reason": [name for bit, name in _REASONS.items() if bits & bit]}
    if stop.code is not None and stop not in _CAUSES:
        told["code"] = stop.code
    if stop.exit_code is not None:
        told["exit_code"] = stop.exit_code
    if stop in _CAUSES:
        told["cause"] = _CAUSES[stop]
    return told


def _frame(event_type: str, document: Mapping[str, Any]) -> bytes:
    return f"event: {event_type}\ndata: ".encode() + orjson.dumps(document) + b"\n\n"

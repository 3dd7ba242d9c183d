"""Objects by name, one version counter for all, and each kind's recent past for watchers.

What is stored is never modified: a change stores a new value, so readers, watchers and the past
share what they hold without copying. A kind's past is one bounded log that all its watchers read
with a cursor of their own; whoever falls behind the log's start gets ``HistoryExpired``, as a
watcher of the real server does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import attrs
import orjson
import trio

from kraftlet_trio.simulators.kubernetes.resources import RESOURCES, Json, Resource

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""


class HistoryExpired(Exception):
    """The version asked for lies before the oldest that the log still holds."""

    def __init__(self, oldest: int) -> None:
        super().__init__(oldest)
        self.oldest = oldest


@attrs.frozen(eq=False)
class Stored:
    """One version of one object."""

    resource: Resource
    value: Json
    """Shared by everybody: never modify it; ``thawed`` gives a copy to change."""
    version: int

    @property
    def key(self) -> Key:
        return self.namespace, self.name

    @property
    def namespace(self) -> str:
        namespace: str = self.value["metadata"].get("namespace", "")
        return namespace

    @property
    def name(self) -> str:
        name: str = self.value["metadata"]["name"]
        return name

    @property
    def uid(self) -> str:
        uid: str = self.value["metadata"]["uid"]
        return uid

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.value["metadata"]

    @cached_property
    def item(self) -> bytes:
        """JSON as it stands in a list, where Go leaves out kind and apiVersion.

        Made once, however many watchers there are.
        """
        return orjson.dumps(
            {key: part for key, part in self.value.items() if key not in ("kind", "apiVersion")}
        )

    @property
    def encoded(self) -> bytes:
        """JSON of the object by itself."""
        head = f'{{"kind":"{self.resource.kind}","apiVersion":"{self.resource.api_version}",'
        return head.encode() + self.item[1:]

    def thawed(self) -> Json:
        """A copy that may be changed."""
        copy: Json = orjson.loads(self.encoded)
        return copy


@attrs.frozen(eq=False)
class Change:
    """One write. ``current`` of a deletion is the last state under the deletion's version."""

    current: Stored
    previous: Stored | None
    deleted: bool = False

    @property
    def resource(self) -> Resource:
        return self.current.resource

    @property
    def version(self) -> int:
        return self.current.version


@attrs.define(eq=False)
class _Shelf:
    """All objects of a kind, and its log."""

    objects: dict[Key, Stored] = attrs.field(factory=dict)
    log: list[Change] = attrs.field(factory=list)
    dropped: int = 0
    """How many changes the log has forgotten: the position of its first entry."""
    oldest: int = 0
    """The oldest version from which every later change is still in the log."""
    bells: dict[int, Subscription] = attrs.field(factory=dict)

    def position_after(self, version: int) -> int:
        if version < self.oldest:
            raise HistoryExpired(self.oldest)
        return self.dropped + bisect_right(self.log, version, key=lambda change: change.version)

    def changes_from(self, position: int) -> list[Change]:
        if position < self.dropped:
            raise HistoryExpired(self.oldest)
        return self.log[position - self.dropped :]

    def forget(self, count: int) -> None:
        if count > 0:
            self.oldest = self.log[count - 1].version
            self.dropped += count
            del self.log[:count]


@attrs.define(eq=False)
class Subscription:
    """One reader of the logs of some kinds."""

    _shelves: Sequence[_Shelf]
    _positions: list[int]
    _rung: trio.Event = attrs.field(factory=trio.Event, init=False)

    def ring(self) -> None:
        self._rung.set()

    async def wait(self) -> None:
        """Return once something happened since the last ``wait``; ``take`` tells what."""
        await self._rung.wait()
        self._rung = trio.Event()

    def take(self) -> list[Change]:
        """The changes not yet taken, each kind's in order. Raises ``HistoryExpired``."""
        taken: list[Change] = []
        for index, shelf in enumerate(self._shelves):
            changes = shelf.changes_from(self._positions[index])
            self._positions[index] += len(changes)
            taken += changes
        return taken

    def skip_to_now(self) -> None:
        """Forget what was missed, after ``HistoryExpired``."""
        self._positions = [shelf.dropped + len(shelf.log) for shelf in self._shelves]


class Storage:
    """The only state of the simulated cluster. All methods are synchronous, hence atomic."""

    def __init__(self, *, history_limit: int) -> None:
        """*history_limit*: changes a kind that watchers may lag behind at the least."""
        self._history_limit = history_limit
        self._shelves = {resource: _Shelf() for resource in RESOURCES}
        self._by_uid: dict[str, Stored] = {}
        self._dependents: dict[str, dict[str, Stored]] = {}
        self._version = 1

    @property
    def version(self) -> int:
        """Of the latest write of any kind."""
        return self._version

    def get(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        return self._shelves[resource].objects.get((namespace, name))

    def with_uid(self, uid: str) -> Stored | None:
        return self._by_uid.get(uid)

    def dependents(self, uid: str) -> list[Stored]:
        """Objects with an owner reference to *uid*, whether or not it exists."""
        return list(self._dependents.get(uid, {}).values())

    def objects(self, resource: Resource, namespace: str = "") -> list[Stored]:
        """In the order of namespaces and names, as etcd keeps them."""
        return self._sorted(self._shelves[resource].objects, namespace)

    def objects_at(self, resource: Resource, namespace: str, version: int) -> list[Stored]:
        """The past, by undoing what came since. Raises ``HistoryExpired``."""
        shelf = self._shelves[resource]
        past = dict(shelf.objects)
        for change in reversed(shelf.changes_from(shelf.position_after(version))):
            if change.previous is None:
                past.pop(change.current.key, None)
            else:
                past[change.current.key] = change.previous
        return self._sorted(past, namespace)

    @staticmethod
    def _sorted(objects: dict[Key, Stored], namespace: str) -> list[Stored]:
        keys = sorted(objects)
        return [objects[key] for key in keys if not namespace or key[0] == namespace]

    def put(self, resource: Resource, value: Json) -> Stored:
        """Store *value*, which the caller gives away, under a new resourceVersion."""
        self._version += 1
        value["metadata"]["resourceVersion"] = str(self._version)
        stored = Stored(resource, value, self._version)
        shelf = self._shelves[resource]
        previous = shelf.objects.get(stored.key)
        shelf.objects[stored.key] = stored
        if previous is not None:
            self._unindex(previous)
        self._index(stored)
        self._publish(shelf, Change(stored, previous))
        return stored

    def remove(self, stored: Stored) -> Stored:
        """Take the object away; its last state carries the deletion's own version."""
        self._version += 1
        shelf = self._shelves[stored.resource]
        previous = shelf.objects.pop(stored.key)
        self._unindex(previous)
        metadata = {**previous.value["metadata"], "resourceVersion": str(self._version)}
        last = Stored(stored.resource, {**previous.value, "metadata": metadata}, self._version)
        self._publish(shelf, Change(last, previous, deleted=True))
        return last

    def expire_history(self) -> None:
        """Forget the past of every kind, as a compaction does: older versions give 410."""
        for shelf in self._shelves.values():
            shelf.forget(len(shelf.log))
            shelf.oldest = self._version

    @contextmanager
    def subscribed(
        self, resources: Collection[Resource], *, since: int | None = None
    ) -> Iterator[Subscription]:
        """Read what happens after version *since* (default: from now on).

        Raises ``HistoryExpired`` where the log does not reach back that far.
        """
        shelves = [self._shelves[resource] for resource in resources]
        version = self._version if since is None else since
        subscription = Subscription(shelves, [shelf.position_after(version) for shelf in shelves])
        for shelf in shelves:
            shelf.bells[id(subscription)] = subscription
        try:
            yield subscription
        finally:
            for shelf in shelves:
                del shelf.bells[id(subscription)]

    def _publish(self, shelf: _Shelf, change: Change) -> None:
        shelf.log.append(change)
        # Trimmed in slices, so that the cost of moving the rest stays small a write.
        if len(shelf.log) > 1.25 * self._history_limit:
            shelf.forget(len(shelf.log) - self._history_limit)
        for subscription in shelf.bells.values():
            subscription.ring()

    def _index(self, stored: Stored) -> None:
        self._by_uid[stored.uid] = stored
        for owner in _owner_uids(stored):
            self._dependents.setdefault(owner, {})[stored.uid] = stored

    def _unindex(self, stored: Stored) -> None:
        del self._by_uid[stored.uid]
        for owner in _owner_uids(stored):
            siblings = self._dependents[owner]
            del siblings[stored.uid]
            if not siblings:
                del self._dependents[owner]


def _owner_uids(stored: Stored) -> set[str]:
    return {owner["uid"] for owner in stored.value["metadata"].get("ownerReferences", ())}

"""What an informer knows: one immutable object a uid. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Generic, TypeVar

from kraftlet_trio.kubernetes.resources import KubernetesObject
from kraftlet_trio.kubernetes.watch import WatchEvent

T = TypeVar("T", bound=KubernetesObject)


class Store(Generic[T]):
    """Objects by uid, and by namespace and name.

    A name belongs to at most one uid: a successor drives out the one whose deletion was missed.
    """

    def __init__(self) -> None:
        self._objects: dict[str, T] = {}
        self._uids: dict[tuple[str, str], str] = {}

    def get(self, uid: str) -> T | None:
        return self._objects.get(uid)

    def by_name(self, namespace: str, name: str) -> T | None:
        """*namespace* is empty for what has none."""
        uid = self._uids.get((namespace, name))
        return None if uid is None else self._objects[uid]

    def values(self) -> Collection[T]:
        """A live view: do not hold it across a checkpoint."""
        return self._objects.values()

    def replace(self, items: Iterable[T]) -> set[str]:
        """Adopt a full list; return the uids that came, changed or vanished."""
        fresh = {item.metadata.uid: item for item in items}
        changed = {uid for uid in fresh | self._objects if fresh.get(uid) != self._objects.get(uid)}
        self._objects = fresh
        self._uids = {
            (item.metadata.namespace, item.metadata.name): uid for uid, item in fresh.items()
        }
        return changed

    def apply(self, event: WatchEvent[T]) -> set[str]:
        """Adopt one change; return the uids that came, changed or vanished."""
        match event:
            case WatchEvent("DELETED", object=item) if item is not None:
                return self._remove(item.metadata.uid)
            case WatchEvent("ADDED" | "MODIFIED", object=item) if item is not None:
                return self._put(item)
            case _:
                return set()

    def _put(self, item: T) -> set[str]:
        uid, name = item.metadata.uid, (item.metadata.namespace, item.metadata.name)
        if self._objects.get(uid) == item:
            return set()
        changed = {uid}
        predecessor = self._uids.get(name, uid)
        if predecessor != uid:
            changed |= self._remove(predecessor)
        self._objects[uid] = item
        self._uids[name] = uid
        return changed

    def _remove(self, uid: str) -> set[str]:
        item = self._objects.pop(uid, None)
        if item is None:
            return set()
        del self._uids[item.metadata.namespace, item.metadata.name]
        return {uid}

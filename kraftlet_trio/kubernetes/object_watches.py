"""Watches of single ConfigMaps and Secrets, each for whoever follows it at the moment.

A watch sees one object, by its name, as the kubelet's do: no right to read all Secrets of a
namespace is ever used up, and of what is seen only the metadata is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Never

import attrs
import structlog
import trio

from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import KubernetesError, NotFound
from kraftlet_trio.kubernetes.informer import run_informer
from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.resources import CONFIG_MAPS, SECRETS, Resource
from kraftlet_trio.kubernetes.store import Store

log = structlog.get_logger(__name__)

MOST_WATCHES = 200
"""Each is a connection of its own. What is followed beyond them is looked at in turn."""
LOOK_SECONDS = 0.1
"""Between two looks at objects that have no watch."""
ROUND_SECONDS = 10.0
"""No object without a watch is looked at more often."""


@attrs.frozen
class ObjectKey:
    kind: Literal["ConfigMap", "Secret"]
    namespace: str
    name: str


@attrs.frozen
class _Metadata:
    """All that is kept of a watched object: a Secret's values are not."""

    metadata: ObjectMeta = attrs.field(factory=ObjectMeta)


_RESOURCES: Mapping[str, Resource[_Metadata]] = {
    resource.kind: Resource(
        _Metadata, resource.path, resource.plural, resource.kind, namespaced=True
    )
    for resource in (CONFIG_MAPS, SECRETS)
}


@attrs.define(eq=False)
class _Watched:
    """One object that somebody follows."""

    followers: set[str] = attrs.field(factory=set)
    newcomers: set[str] = attrs.field(factory=set)
    """Followers that came when it may have been known already."""
    version: str = ""
    """The resourceVersion last seen; empty while the object is not known to exist."""
    watch: trio.CancelScope | None = None


class ObjectWatches:
    """Tells owners when the objects that they follow appear, change or go.

    *on_change* gets the owner and the object, once for each; and once when an object that an
    owner begins to follow exists already, as its coming may just have been missed. Never called
    from within ``follow``.
    """

    def __init__(
        self, client: KubernetesClient, on_change: Callable[[str, ObjectKey], None]
    ) -> None:
        self._client = client
        self._on_change = on_change
        self._watched: dict[ObjectKey, _Watched] = {}
        self._followed: dict[str, frozenset[ObjectKey]] = {}
        self._changed = Doorbell()

    def follow(self, owner: str, keys: frozenset[ObjectKey]) -> None:
        """Let *owner* follow *keys*, in place of what it followed before; none ends it."""
        before = self._followed.pop(owner, frozenset())
        if keys:
            self._followed[owner] = keys
        if keys == before:
            return
        for key in before - keys:
            watched = self._watched[key]
            watched.followers.discard(owner)
            watched.newcomers.discard(owner)
        for key in keys - before:
            watched = self._watched.setdefault(key, _Watched())
            watched.followers.add(owner)
            watched.newcomers.add(owner)
        self._changed.ring()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled; started at once. A server's failures are logged, never raised."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_in_turn)
            task_status.started()
            while True:
                self._end_unfollowed()
                self._begin_watches(nursery)
                self._tell_newcomers()
                await self._changed.wait()

    def _end_unfollowed(self) -> None:
        for key in [key for key, watched in self._watched.items() if not watched.followers]:
            watched = self._watched.pop(key)
            if watched.watch is not None:
                watched.watch.cancel()

    def _begin_watches(self, nursery: trio.Nursery) -> None:
        places = MOST_WATCHES - sum(one.watch is not None for one in self._watched.values())
        waiting = [key for key, one in self._watched.items() if one.watch is None]
        for key in waiting[: max(0, places)]:
            watched = self._watched[key]
            watched.watch = trio.CancelScope()
            nursery.start_soon(self._watch, key, watched, watched.watch)
        if len(waiting) > places:
            log.debug("objects are looked at in turn", objects=len(waiting) - places)

    def _tell_newcomers(self) -> None:
        for key, watched in list(self._watched.items()):
            newcomers, watched.newcomers = watched.newcomers, set()
            if watched.version:
                self._tell(key, newcomers)

    async def _watch(self, key: ObjectKey, watched: _Watched, scope: trio.CancelScope) -> None:
        store = Store[_Metadata]()

        def on_change(_uids: set[str]) -> None:
            self._adopt(key, watched, store.by_name(key.namespace, key.name))

        with scope:
            await run_informer(
                self._client,
                _RESOURCES[key.kind],
                store,
                on_change,
                namespace=key.namespace,
                field_selector=f"metadata.name={key.name}",
            )

    async def _look_in_turn(self) -> Never:
        while True:
            round_ends = trio.current_time() + ROUND_SECONDS
            for key, watched in list(self._watched.items()):
                if watched.watch is None and watched.followers:
                    await self._look(key, watched)
                    await trio.sleep(LOOK_SECONDS)
            await trio.sleep_until(round_ends)

    async def _look(self, key: ObjectKey, watched: _Watched) -> None:
        found: _Metadata | None
        try:
            found = await self._client.get(_RESOURCES[key.kind], key.name, namespace=key.namespace)
        except NotFound:
            found = None
        except KubernetesError as error:
            log.warning("object cannot be looked at", kind=key.kind, error=str(error))
            return
        if watched.watch is None:
            self._adopt(key, watched, found)

    def _adopt(self, key: ObjectKey, watched: _Watched, found: _Metadata | None) -> None:
        version = found.metadata.resource_version if found is not None else ""
        if version != watched.version:
            watched.version = version
            watched.newcomers.clear()
            self._tell(key, watched.followers)

    def _tell(self, key: ObjectKey, followers: set[str]) -> None:
        for owner in sorted(followers):
            self._on_change(owner, key)

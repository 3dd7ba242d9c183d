"""Keeps a store as the API server's objects are, by list and watch.

The rules are those of client-go's reflector (tools/cache/reflector.go): list from the server's
cache, watch from the list's version, go on from the last version seen after every end, list
again only when the server has forgotten that version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Never, TypeVar

import attrs
import structlog
import trio

from kraftlet_trio.kubernetes.backoff import Backoff
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import Expired, KubernetesError, KubernetesUnavailable
from kraftlet_trio.kubernetes.resources import KubernetesObject, Resource
from kraftlet_trio.kubernetes.store import Store

__all__ = ["OnChange", "Store", "run_informer"]

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=KubernetesObject)

OnChange = Callable[[set[str]], None]

SHORTEST_WATCH_SECONDS = 1.0
"""One that ends sooner without an event counts as failed: to resume at once would be to spin."""


async def run_informer(
    client: KubernetesClient,
    resource: Resource[T],
    store: Store[T],
    on_change: OnChange,
    *,
    namespace: str = "",
    field_selector: str = "",
    label_selector: str = "",
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> Never:
    """Keep *store* fresh until cancelled; started once the first full list is in it and reported.

    *on_change* is given the uids that came, changed or vanished, when the store has them (or has
    them no longer). A server's failures are logged, never raised.
    """
    reflector = _Reflector(
        client=client,
        resource=resource,
        store=store,
        on_change=on_change,
        selection={
            "namespace": namespace,
            "field_selector": field_selector,
            "label_selector": label_selector,
        },
    )
    backoff = Backoff(initial_seconds=0.8, cap_seconds=30.0, reset_seconds=120.0)
    synced = False
    while True:
        retry_after = None
        try:
            if reflector.version is None:
                # A later list must not go back in time, so only the first may come from a cache.
                await reflector.list(resource_version=None if synced else "0")
                if not synced:
                    synced = True
                    task_status.started()
            await reflector.watch()
            continue
        except Expired as error:
            reflector.version = None
            log.info("watch expired, listing again", kind=resource.kind, error=str(error))
        except KubernetesError as error:
            reflector.note_failure(error)
            if isinstance(error, KubernetesUnavailable):
                retry_after = error.retry_after
        await trio.sleep(backoff.delay(trio.current_time(), retry_after))


@attrs.define(kw_only=True)
class _Reflector(Generic[T]):
    client: KubernetesClient
    resource: Resource[T]
    store: Store[T]
    on_change: OnChange
    selection: dict[str, str]
    version: str | None = None
    """Where the next watch goes on from; None when there must be a list first."""
    _interrupted: bool = False

    async def list(self, *, resource_version: str | None) -> None:
        listing = await self.client.list(
            self.resource, resource_version=resource_version, **self.selection
        )
        self.version = listing.resource_version
        self._report(self.store.replace(listing.items))

    async def watch(self) -> None:
        """Adopt changes until the server ends the watch; raises what ends it otherwise."""
        assert self.version is not None
        begin, quiet = trio.current_time(), True
        async with self.client.watch(
            self.resource, resource_version=self.version, **self.selection
        ) as events:
            if self._interrupted:
                self._interrupted = False
                log.info("watch goes on", kind=self.resource.kind)
            async for event in events:
                quiet = False
                self.version = event.resource_version
                self._report(self.store.apply(event))
        if quiet and trio.current_time() - begin < SHORTEST_WATCH_SECONDS:
            raise KubernetesUnavailable(f"the watch of {self.resource.plural} ended at once")

    def note_failure(self, error: KubernetesError) -> None:
        if not self._interrupted:
            self._interrupted = True
            log.warning("watch interrupted", kind=self.resource.kind, error=str(error))

    def _report(self, changed: set[str]) -> None:
        if changed:
            self.on_change(changed)

"""One watch: the present where asked for, then every change, until its time is over."""

from __future__ import annotations

import math
import random

import attrs
import trio

from kraftlet_trio.http.messages import SendBytes
from kraftlet_trio.simulators.kubernetes.errors import too_old
from kraftlet_trio.simulators.kubernetes.representations import (
    Representation,
    bookmark,
    failure_event,
)
from kraftlet_trio.simulators.kubernetes.resources import Resource
from kraftlet_trio.simulators.kubernetes.selectors import All
from kraftlet_trio.simulators.kubernetes.storage import (
    Change,
    HistoryExpired,
    Storage,
    Stored,
    Subscription,
)

_BOOKMARK_SECONDS = 60.0
_LAST_BOOKMARK_SECONDS = 2.0
"""Before the end. Source: apiserver's watch cacher."""
_SHORTEST_DEFAULT_SECONDS = 1800.0
"""A watch without timeoutSeconds lasts one to two times this (``--min-request-timeout``)."""


def _default_seconds() -> float:
    return _SHORTEST_DEFAULT_SECONDS * (1 + random.random())


@attrs.frozen(kw_only=True)
class Watch:
    storage: Storage
    resource: Resource
    namespace: str
    selector: All
    representation: Representation
    since: int | None
    """The version that the client has seen; None begins with the present state."""
    initial_events_end: bool = False
    """Mark the end of the present state by a bookmark (WatchList)."""
    bookmarks: bool = False
    timeout_seconds: float | None = None

    async def stream(self, send: SendBytes) -> None:
        """Returns, at a line's end, when the time is over or the client fell behind."""
        try:
            with self.storage.subscribed([self.resource], since=self.since) as subscription:
                await self._follow(subscription, send)
        except HistoryExpired as error:
            gone = too_old(self.since or 0, error.oldest)
            await send(failure_event(gone.status))

    async def _follow(self, subscription: Subscription, send: SendBytes) -> None:
        end = trio.current_time() + (self.timeout_seconds or _default_seconds())
        next_bookmark = self._bookmark_time(end)
        if self.since is None:
            await self._send_lines(send, self._present())
        while True:
            lines = [line for change in subscription.take() if (line := self._line(change))]
            if trio.current_time() >= next_bookmark:
                lines.append(self._bookmark())
                next_bookmark = self._bookmark_time(end)
            await self._send_lines(send, lines)
            if trio.current_time() >= end:
                return
            with trio.move_on_at(min(end, next_bookmark)):
                await subscription.wait()

    @staticmethod
    async def _send_lines(send: SendBytes, lines: list[bytes]) -> None:
        if lines:
            await send(b"".join(lines))

    def _present(self) -> list[bytes]:
        lines = [
            self.representation.event("ADDED", stored)
            for stored in self.storage.objects(self.resource, self.namespace)
            if self.selector.matches(stored.value)
        ]
        if self.initial_events_end:
            lines.append(self._bookmark(ends_initial_events=True))
        return lines

    def _bookmark(self, *, ends_initial_events: bool = False) -> bytes:
        return bookmark(
            self.resource, self.storage.version, ends_initial_events=ends_initial_events
        )

    def _bookmark_time(self, end: float) -> float:
        if not self.bookmarks:
            return math.inf
        now, last = trio.current_time(), end - _LAST_BOOKMARK_SECONDS
        if now >= last:
            return math.inf
        return min(now + _BOOKMARK_SECONDS, last)

    def _line(self, change: Change) -> bytes:
        """Empty for what this watch does not see.

        An object that begins or ceases to match the selector comes and goes, for the watcher.
        """
        if self.namespace and change.current.namespace != self.namespace:
            return b""
        before, after = self._seen(change.previous), self._seen(change.current)
        if change.deleted:
            after = False
        match before, after:
            case False, False:
                return b""
            case False, True:
                return self.representation.event("ADDED", change.current)
            case True, True:
                return self.representation.event("MODIFIED", change.current)
            case _:
                return self.representation.event("DELETED", self._last_seen(change))

    def _seen(self, stored: Stored | None) -> bool:
        return stored is not None and self.selector.matches(stored.value)

    @staticmethod
    def _last_seen(change: Change) -> Stored:
        """The last state that matched, under the version of what made it vanish."""
        if change.deleted or change.previous is None:
            return change.current
        previous = change.previous.value
        metadata = {**previous["metadata"], "resourceVersion": str(change.version)}
        return Stored(change.resource, {**previous, "metadata": metadata}, change.version)

"""Answers to reviews, kept for a while: the API server is asked once for what many ask at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import attrs
import trio

from kraftlet_trio.kubernetes.errors import KubernetesError

V = TypeVar("V")

REVIEW_SECONDS = 10.0
"""Until then a review is answered, or has failed; the wait for its turn included."""
REVIEWS_AT_ONCE = 4
"""So that strangers' made-up credentials take few of the daemon's requests from its own work."""
MOST_ANSWERS = 1000
"""Of each sort; the oldest goes first."""


class ReviewFailed(Exception):
    """The API server gave no answer. It was neither yes nor no, and is not kept."""


@attrs.define
class _Pending(Generic[V]):
    """A review under way, for those who ask the same meanwhile."""

    done: trio.Event = attrs.field(factory=trio.Event, init=False)
    outcome: V | ReviewFailed | None = attrs.field(default=None, init=False)
    """None while it is open, and where whoever asked was cancelled."""


@attrs.define
class _Answers(Generic[V]):
    _seconds: float
    _kept: dict[Hashable, tuple[V, float]] = attrs.field(factory=dict, init=False)
    """With Trio's time of their end, the oldest first."""

    def get(self, key: Hashable) -> V | None:
        value, until = self._kept.get(key, (None, 0.0))
        return value if trio.current_time() < until else None

    def put(self, key: Hashable, value: V) -> None:
        self._kept.pop(key, None)
        self._kept[key] = value, trio.current_time() + self._seconds
        if len(self._kept) > MOST_ANSWERS:
            del self._kept[next(iter(self._kept))]


class ReviewCache(Generic[V]):
    """Yes and no are kept apart, so that made-up questions drive out none that was granted."""

    def __init__(self, *, no: V, yes_seconds: float, no_seconds: float) -> None:
        """Only *no* means no."""
        self._no_value = no
        self._yes: _Answers[V] = _Answers(yes_seconds)
        self._no: _Answers[V] = _Answers(no_seconds)
        self._pending: dict[Hashable, _Pending[V]] = {}
        self._places = trio.CapacityLimiter(REVIEWS_AT_ONCE)

    async def answer(self, key: Hashable, ask: Callable[[], Awaitable[V]]) -> V:
        """What *ask* answers to the question *key*, or answered lately.

        Raises:
            ReviewFailed: *ask* raised ``KubernetesError``, or took too long.
        """
        while True:
            for answers in (self._yes, self._no):
                if (known := answers.get(key)) is not None:
                    return known
            if key not in self._pending:
                return await self._ask(key, ask)
            pending = self._pending[key]
            await pending.done.wait()
            if isinstance(pending.outcome, ReviewFailed):
                raise ReviewFailed(str(pending.outcome)) from pending.outcome
            if pending.outcome is not None:
                return pending.outcome

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[V]]) -> V:
        pending = self._pending[key] = _Pending()
        try:
            pending.outcome = await self._answer_in_time(ask)
        finally:
            del self._pending[key]
            pending.done.set()
        if isinstance(pending.outcome, ReviewFailed):
            raise pending.outcome
        answers = self._no if pending.outcome == self._no_value else self._yes
        answers.put(key, pending.outcome)
        return pending.outcome

    async def _answer_in_time(self, ask: Callable[[], Awaitable[V]]) -> V | ReviewFailed:
        with trio.move_on_after(REVIEW_SECONDS):
            async with self._places:
                try:
                    return await ask()
                except KubernetesError as error:
                    return ReviewFailed(str(error))
        return ReviewFailed(f"the API server did not answer within {REVIEW_SECONDS:.0f} s")

"""Walking a paged list whose cursor is inclusive and may vanish (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar
from urllib.parse import quote

import attrs

T = TypeVar("T")

PAGE_SIZE = 100
"""The official SDK's own; the platform's most is not documented."""

MOST_RESTARTS = 3


@attrs.define
class Listing(Generic[T]):
    """Collects the pages of one list: ask with ``query``, hand the answer to ``adopt``.

    A page begins with the item that was asked to begin it. When that one was deleted meanwhile
    the page comes back empty, which looks like the end: the walk then resumes further back, in
    growing steps, and reads again what follows.
    """

    _found: dict[str, T] = attrs.field(factory=dict, init=False)
    _cursor: str | None = attrs.field(default=None, init=False)
    _step_back: int = attrs.field(default=1, init=False)
    _restarts: int = attrs.field(default=0, init=False)
    finished: bool = attrs.field(default=False, init=False)

    @property
    def items(self) -> list[T]:
        return list(self._found.values())

    @property
    def stuck(self) -> bool:
        """The list changes faster than it can be read, or the server has no working cursor."""
        return self._restarts > MOST_RESTARTS

    @property
    def query(self) -> str:
        """Percent-encoded parameters of the next page."""
        if self._cursor is None:
            return f"count={PAGE_SIZE}"
        return f"count={PAGE_SIZE + 1}&from={quote(self._cursor, safe='')}"

    def adopt(self, page: Sequence[tuple[str, T]]) -> None:
        """Take over the items of the page that ``query`` asked for, each with its uuid."""
        if self._cursor is not None and not page:
            self._resume_further_back()
            return
        fresh = dict(page)
        asked = PAGE_SIZE if self._cursor is None else PAGE_SIZE + 1
        grew = not fresh.keys() <= self._found.keys()
        self._found.update(fresh)
        self._step_back = 1
        # A server that ignores the cursor must not keep us here for ever.
        self.finished = len(page) < asked or not grew
        self._cursor = next(reversed(fresh), None)

    def _resume_further_back(self) -> None:
        kept = list(self._found)[: -self._step_back]
        self._found = {uuid: self._found[uuid] for uuid in kept}
        self._cursor = kept[-1] if kept else None
        self._step_back *= 2
        self._restarts += self._cursor is None

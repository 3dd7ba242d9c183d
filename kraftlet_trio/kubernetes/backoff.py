"""How long to wait before trying again, so that many nodes do not try in step."""

from __future__ import annotations

import random
from collections.abc import Mapping

import attrs

LONGEST_RETRY_AFTER_SECONDS = 60.0
"""A server's wish beyond this is cut: API priority and fairness asks for at most 32 s."""


@attrs.define
class Backoff:
    """Growing delays: each doubles the last, up to a cap, and is stretched by up to its own length.

    Starts over when more than *reset_seconds* pass without one.
    """

    initial_seconds: float
    cap_seconds: float
    reset_seconds: float = float("inf")
    _next: float = attrs.field(default=0.0, init=False)
    _last_asked: float = attrs.field(default=float("-inf"), init=False)

    def delay(self, now: float, retry_after: float | None = None) -> float:
        """Seconds to wait after a failure at *now*; never less than the server asked for."""
        if now - self._last_asked > self.reset_seconds:
            self._next = 0.0
        self._last_asked = now
        base = self._next or self.initial_seconds
        self._next = min(2 * base, self.cap_seconds)
        return max(base * random.uniform(1.0, 2.0), retry_after or 0.0)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """``Retry-After`` in seconds, cut to a minute. API servers send whole seconds, never dates."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS) if seconds == seconds else None

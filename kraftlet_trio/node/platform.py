"""What the node knows of the platform, and when a silence is to be believed (pure)."""

from __future__ import annotations

import attrs

from kraftlet_trio.cloud.objects import Health, Quotas

FAILURES_TO_BELIEVE = 3
SILENCE_TO_BELIEVE_SECONDS = 20.0
"""A shorter one than both is a hiccup. NotReady marks every Pod of the node unready, so it must
not flap; it matters little for 20 s, for eviction starts after 300 s."""

CLOUD_UNAUTHORIZED = "CloudUnauthorized"
NOT_READY = "KubeletNotReady"

_HARMLESS = ("healthy", "unknown")


@attrs.frozen
class Fault:
    """Why the node cannot do its work: a condition's reason and message."""

    reason: str
    message: str


@attrs.frozen(kw_only=True)
class Platform:
    """The latest answers, and the failures since."""

    health: Health | None = None
    quotas: Quotas | None = None
    fault: Fault | None = None
    """Set as long as the platform is believed not to be there."""
    _suspected: Fault | None = None
    _failures: int = 0
    _failing_since: float = 0.0

    def answered(self, health: Health, quotas: Quotas | None) -> Platform:
        """It answers again, which is believed at once. Quotas that were not told stay."""
        return Platform(health=health, quotas=self.quotas if quotas is None else quotas)

    def failed(self, fault: Fault, now: float) -> Platform:
        """No answer, or a refusal. One that never answered yet is believed to be away at once."""
        failures = self._failures + 1
        since = self._failing_since if self._failures else now
        # The same fault in other words must not become a new status each time.
        if self._suspected is not None and self._suspected.reason == fault.reason:
            fault = self._suspected
        believed = self.health is None or (
            failures >= FAILURES_TO_BELIEVE and now - since >= SILENCE_TO_BELIEVE_SECONDS
        )
        return Platform(
            health=self.health,
            quotas=self.quotas,
            fault=fault if believed else None,
            suspected=fault,
            failures=failures,
            failing_since=since,
        )

    @property
    def degraded_checks(self) -> list[str]:
        """The platform's own checks that are not well, as ``name: result``."""
        if self.health is None:
            return []
        return [
            f"{name}: {result}"
            for name, result in sorted(self.health.checks.items())
            if result not in _HARMLESS
        ]

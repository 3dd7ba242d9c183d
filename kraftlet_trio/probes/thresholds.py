"""From single outcomes to a result: kubelet's thresholds, purely.

Source: kubelet's prober/worker.go.
"""

from __future__ import annotations

from typing import Self

import attrs


@attrs.frozen(kw_only=True)
class Streak:
    """The result of a probe, and how many like outcomes came last."""

    success_threshold: int
    failure_threshold: int
    result: bool
    """What counts now. It changes only by as many like outcomes in a row as the threshold says."""
    healthy: bool | None = None
    """The last outcome; None before the first."""
    length: int = 0

    def after(self, *, healthy: bool) -> Self:
        length = self.length + 1 if healthy == self.healthy else 1
        threshold = self.success_threshold if healthy else self.failure_threshold
        result = healthy if length >= threshold else self.result
        return attrs.evolve(self, result=result, healthy=healthy, length=length)

    @property
    def is_failed(self) -> bool:
        """Whether the failure threshold is reached: a negative result that was not just assumed."""
        return self.healthy is False and self.length >= self.failure_threshold

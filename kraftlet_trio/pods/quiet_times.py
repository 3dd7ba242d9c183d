"""When to probe an instance that scales to zero, so that it can still fall asleep.

Every probe is traffic to the platform: it wakes an instance in standby, and begins the cooldown
of one that runs anew. So nothing is sent to one that sleeps; and once a container is started and
ready, and its last attempt went well, all of its probes are made close together, in rounds that
are further apart than the cooldown. One that fails, or is not ready yet, is probed every period.
"""

from __future__ import annotations

import trio

from kraftlet_trio.cloud.objects import STANDBY, Instance

MARGIN_SECONDS = 5.0
"""Beyond the cooldown, for the way into standby and for how late the platform tells of it."""
_DEFAULT_COOLDOWN_MS = 1000
"""The platform's."""


def scales_to_zero(instance: Instance) -> bool:
    return instance.scale_to_zero is not None and instance.scale_to_zero.policy != "off"


def sleeps(instance: Instance) -> bool:
    """Whether it is in standby by itself, from where its traffic wakes it."""
    return scales_to_zero(instance) and instance.state == STANDBY


class QuietTimes:
    """Rounds of the probes of one run, which are its workers' (any object's)."""

    def __init__(self) -> None:
        self._round = 0
        self._taken_part: dict[object, int] = {}
        self._last_traffic = trio.current_time()

    def note_traffic(self) -> None:
        """An attempt is just over."""
        self._last_traffic = trio.current_time()

    def due(self, worker: object, instance: Instance) -> float:
        """When, on Trio's clock, *worker* may make its next attempt: at once in a round that
        others began, else so late that *instance* falls asleep before if nobody else talks to it.
        """
        if self._taken_part.get(worker, 0) < self._round:
            return trio.current_time()
        scaling = instance.scale_to_zero
        cooldown_ms = _DEFAULT_COOLDOWN_MS
        if scaling is not None and scaling.cooldown_time_ms is not None:
            cooldown_ms = scaling.cooldown_time_ms
        return self._last_traffic + cooldown_ms / 1000 + MARGIN_SECONDS

    def enter(self, worker: object) -> None:
        """*worker* is about to make an attempt."""
        if self._taken_part.get(worker, 0) == self._round:
            self._round += 1
        self._taken_part[worker] = self._round

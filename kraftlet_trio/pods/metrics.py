"""What is counted of Pods' lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from kraftlet_trio.kubernetes.pod import PodStatus
from kraftlet_trio.metrics.exposition import Family, Sample
from kraftlet_trio.metrics.instruments import Counter, Histogram

START_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


def _starts(name: str, what: str) -> Histogram:
    text = f"Seconds from the first sight of a Pod bound to the node to {what}"
    return Histogram(name, text, bounds=START_SECONDS)


@attrs.define
class PodMetrics:
    """Filled by actors and sweeper, read by whoever asks."""

    crashes: Counter = attrs.field(
        factory=lambda: Counter(
            "kraftlet_pod_actor_crashes_total", "Unexpected exceptions in Pod actors"
        ),
        init=False,
    )
    orphans: dict[str, int] = attrs.field(factory=dict, init=False)
    """By kind, at the last look."""
    orphans_deleted: Counter = attrs.field(
        factory=lambda: Counter(
            "kraftlet_orphans_deleted_total", "Orphans that were deleted", ("kind",)
        ),
        init=False,
    )
    _running: Histogram = attrs.field(
        factory=lambda: _starts("kubelet_pod_start_duration_seconds", "its phase Running"),
        init=False,
    )
    _ready: Histogram = attrs.field(
        factory=lambda: _starts("kraftlet_pod_ready_duration_seconds", "its being Ready"),
        init=False,
    )

    def note_status(self, before: PodStatus, after: PodStatus, seconds: float) -> None:
        """*after* was written, so long after the Pod's first sight. For Pods never yet Ready."""
        if after.phase == "Running" != before.phase:
            self._running.observe(seconds)
        if is_ready(after) and not is_ready(before):
            self._ready.observe(seconds)

    def families(self) -> Iterator[Family]:
        yield self.crashes.family()
        yield Family(
            "kraftlet_orphans",
            "gauge",
            "Cloud resources whose Pod is gone",
            tuple(Sample(count, (("kind", kind),)) for kind, count in self.orphans.items()),
        )
        yield self.orphans_deleted.family()
        yield self._running.family()
        yield self._ready.family()


def is_ready(status: PodStatus) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in status.conditions)


@attrs.frozen
class ActorCensus:
    """How the Pods' actors are."""

    states: Mapping[str, int]
    longest_unanswered_seconds: float
    """How long the oldest news waits for its actor to look."""

    def families(self) -> Iterator[Family]:
        yield Family(
            "kraftlet_pod_actors",
            "gauge",
            "Actors of Pods, by what they do",
            tuple(Sample(count, (("state", state),)) for state, count in self.states.items()),
        )
        yield Family(
            "kraftlet_pod_actor_longest_unanswered_seconds",
            "gauge",
            "Age of the oldest news that an actor has not looked at yet",
            (Sample(self.longest_unanswered_seconds),),
        )

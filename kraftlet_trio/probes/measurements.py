"""What became of probes: ``/metrics/probes``, in the kubelet's names (pkg/kubelet/prober)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs

from kraftlet_trio.metrics.exposition import Family, Sample
from kraftlet_trio.metrics.instruments import SECONDS, Distribution

Result = Literal["successful", "failed", "unknown"]


@attrs.frozen
class ProbedContainer:
    pod_uid: str
    namespace: str
    pod: str
    container: str


@attrs.define
class ProbeMeasurements:
    """Of all Pods that are there."""

    _counts: dict[tuple[ProbedContainer, str, Result], int] = attrs.field(factory=dict, init=False)
    _seconds: dict[tuple[ProbedContainer, str], Distribution] = attrs.field(
        factory=dict, init=False
    )

    def note(self, probed: ProbedContainer, kind: str, result: Result, seconds: float) -> None:
        """An attempt of the probe *kind*. As by the kubelet, one that failed is not timed."""
        self._counts[probed, kind, result] = self._counts.get((probed, kind, result), 0) + 1
        if result != "failed":
            self._seconds.setdefault((probed, kind), Distribution(SECONDS)).observe(seconds)

    def forget(self, pod_uid: str) -> None:
        """The Pod is gone."""
        self._counts = {key: n for key, n in self._counts.items() if key[0].pod_uid != pod_uid}
        self._seconds = {key: d for key, d in self._seconds.items() if key[0].pod_uid != pod_uid}

    def families(self) -> Iterator[Family]:
        yield Family(
            "prober_probe_total",
            "counter",
            "Attempts of probes, by result",
            tuple(
                Sample(
                    count,
                    (
                        ("probe_type", kind),
                        ("result", result),
                        ("container", probed.container),
                        ("pod", probed.pod),
                        ("namespace", probed.namespace),
                        ("pod_uid", probed.pod_uid),
                    ),
                )
                for (probed, kind, result), count in self._counts.items()
            ),
        )
        timed: list[Sample] = []
        for (probed, kind), distribution in self._seconds.items():
            timed += distribution.samples(
                (
                    ("probe_type", kind),
                    ("container", probed.container),
                    ("pod", probed.pod),
                    ("namespace", probed.namespace),
                )
            )
        yield Family(
            "prober_probe_duration_seconds",
            "histogram",
            "Seconds that probes took which did not fail",
            tuple(timed),
        )

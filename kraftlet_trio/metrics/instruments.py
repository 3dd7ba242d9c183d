"""What is counted where it happens, to be told when somebody asks.

An instrument belongs to the part that it measures, so that two daemons in one process do not count
into each other's.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

import attrs

from kraftlet_trio.metrics.exposition import Family, Sample, number

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds that suit requests; Prometheus' own."""


@attrs.define
class Counter:
    """Only ever grows. *name* ends in ``_total``."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    _counts: dict[tuple[str, ...], float] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        if not self.labels:
            self._counts[()] = 0

    def inc(self, *values: str) -> None:
        """*values* are of the labels, in their order."""
        self._counts[values] = self._counts.get(values, 0) + 1

    def family(self) -> Family:
        samples = (
            Sample(count, tuple(zip(self.labels, values, strict=True)))
            for values, count in self._counts.items()
        )
        return Family(self.name, "counter", self.help, tuple(samples))


@attrs.define
class Distribution:
    """How many values were at most each of *bounds*, which ascend; one more place has none."""

    bounds: tuple[float, ...]
    sum: float = 0.0
    _counts: list[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.sum += value
        self._counts[bisect_left(self.bounds, value)] += 1

    def samples(self, labels: tuple[tuple[str, str], ...]) -> tuple[Sample, ...]:
        limits = (*map(number, self.bounds), "+Inf")
        totals = list(accumulate(self._counts))
        return (
            *(
                Sample(total, (*labels, ("le", limit)), suffix="_bucket")
                for limit, total in zip(limits, totals, strict=True)
            ),
            Sample(self.sum, labels, suffix="_sum"),
            Sample(totals[-1], labels, suffix="_count"),
        )


@attrs.define
class Histogram:
    name: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = SECONDS
    _distributions: dict[tuple[str, ...], Distribution] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        if not self.labels:
            self._distributions[()] = Distribution(self.bounds)

    def observe(self, value: float, *values: str) -> None:
        """*values* are of the labels, in their order."""
        if values not in self._distributions:
            self._distributions[values] = Distribution(self.bounds)
        self._distributions[values].observe(value)

    def family(self) -> Family:
        samples: list[Sample] = []
        for values, distribution in self._distributions.items():
            samples += distribution.samples(tuple(zip(self.labels, values, strict=True)))
        return Family(self.name, "histogram", self.help, tuple(samples))

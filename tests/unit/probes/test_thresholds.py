"""Thresholds, held against a small model of kubelet's worker."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.probes.thresholds import Streak
from tests.thoroughness import examples


def kubelets_result(outcomes, first, success_threshold, failure_threshold):
    """What prober/worker.go makes of the outcomes, told by their runs of like ones."""
    result = first
    for healthy, run in groupby(outcomes):
        if len(list(run)) >= (success_threshold if healthy else failure_threshold):
            result = healthy
    return result


@given(
    outcomes=st.lists(st.booleans(), max_size=12),
    first=st.booleans(),
    success_threshold=st.integers(1, 3),
    failure_threshold=st.integers(1, 3),
)
@settings(max_examples=examples(100), deadline=None)
def test_result_is_kubelets(outcomes, first, success_threshold, failure_threshold):
    streak = Streak(
        success_threshold=success_threshold, failure_threshold=failure_threshold, result=first
    )
    for healthy in outcomes:
        streak = streak.after(healthy=healthy)
    assert streak.result == kubelets_result(outcomes, first, success_threshold, failure_threshold)
    failing = len(outcomes) - len("".join("x" if one else "." for one in outcomes).rstrip("."))
    assert streak.is_failed == (failing >= failure_threshold)

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kraftlet_trio.metrics.exposition import render
from kraftlet_trio.metrics.instruments import SECONDS, Counter, Histogram


def test_a_counter_without_labels_begins_at_zero() -> None:
    counter = Counter("crashes_total", "Crashes")
    assert [sample.value for sample in counter.family().samples] == [0]
    counter.inc()
    counter.inc()
    assert [sample.value for sample in counter.family().samples] == [2]


def test_a_counter_counts_by_its_labels() -> None:
    counter = Counter("requests_total", "Requests", ("code", "method"))
    assert counter.family().samples == ()
    for code in ("200", "404", "200"):
        counter.inc(code, "GET")
    assert {sample.labels: sample.value for sample in counter.family().samples} == {
        (("code", "200"), ("method", "GET")): 2,
        (("code", "404"), ("method", "GET")): 1,
    }


@given(st.lists(st.floats(min_value=0, max_value=100)))
def test_a_histograms_buckets_hold_all_up_to_their_bound(values: list[float]) -> None:
    histogram = Histogram("seconds", "Seconds")
    for value in values:
        histogram.observe(value)
    [family] = text_string_to_metric_families(render([histogram.family()]).decode())
    read = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    for bound in SECONDS:
        assert read["seconds_bucket", str(bound)] == sum(value <= bound for value in values)
    assert read["seconds_bucket", "+Inf"] == read["seconds_count", None] == len(values)
    assert math.isclose(read["seconds_sum", None], sum(values))

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kraftlet_trio.metrics.exposition import Family, Sample, render

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.one_of(st.floats(), st.integers(min_value=-(2**53), max_value=2**53))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    labels = draw(st.dictionaries(NAMES, TEXTS, max_size=4))
    at_ms = draw(st.none() | st.integers(min_value=0, max_value=2**43))
    return Sample(draw(VALUES), tuple(labels.items()), at_ms=at_ms)


FAMILIES = st.lists(
    st.builds(
        Family,
        NAMES.map("{}_total".format),  # the parser gives the suffix to counters without
        st.sampled_from(["counter", "gauge"]),
        TEXTS.map(lambda text: " ".join(text.split()) or "help"),
        st.lists(samples(), max_size=4).map(tuple),
    ),
    max_size=4,
    unique_by=lambda family: family.name,
)


@given(FAMILIES)
def test_others_read_what_was_written(families: list[Family]) -> None:
    read = [
        sample
        for family in text_string_to_metric_families(render(families).decode())
        for sample in family.samples
    ]
    written = [(family.name, sample) for family in families for sample in family.samples]
    assert len(read) == len(written)
    for found, (name, sample) in zip(read, written, strict=True):
        assert found.name == name
        assert list(found.labels.items()) == list(sample.labels)
        assert found.value == sample.value or math.isnan(sample.value)
        assert found.timestamp == (None if sample.at_ms is None else sample.at_ms / 1000)


def test_labels_keep_their_order_and_times_are_milliseconds() -> None:
    family = Family(
        "container_start_time_seconds",
        "gauge",
        "Start",
        (Sample(1.5, (("pod", 'a"b\\c\nd'), ("container", "x")), at_ms=1700000000123),),
    )
    assert render([family]).decode() == (
        "# HELP container_start_time_seconds Start\n"
        "# TYPE container_start_time_seconds gauge\n"
        'container_start_time_seconds{pod="a\\"b\\\\c\\nd",container="x"} 1.5 1700000000123\n'
    )

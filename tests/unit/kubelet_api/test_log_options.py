from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.consoles.run_log import LogQuestion
from kraftlet_trio.kubelet_api.log_options import BadLogOptions, LogOptions, log_options

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def options(query: str) -> LogOptions:
    return log_options(parse_qsl(query, keep_blank_values=True), NOW)


@pytest.mark.parametrize("text", ["true", "1", "True", "", "yes"])
def test_present_booleans_mean_yes(text):
    read = options(f"follow={text}&previous={text}&timestamps={text}")
    assert (read.previous, read.question) == (True, LogQuestion(follow=True, timestamps=True))


@pytest.mark.parametrize("text", ["false", "0", "FALSE"])
def test_some_booleans_mean_no(text):
    assert not options(f"previous={text}").previous


def test_nothing_asked_is_the_whole_log():
    assert options("") == LogOptions(previous=False, question=LogQuestion())
    assert options("pretty=true&stream=All&sinceTime=").question == LogQuestion()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tailLines=0&limitBytes=1", LogQuestion(tail_lines=0, limit_bytes=1)),
        ("tailLines=3&tailLines=x", LogQuestion(tail_lines=3)),
        ("tail=all&tailLines=5", LogQuestion()),
        ("tail=7&tailLines=5", LogQuestion(tail_lines=7)),
        ("sinceSeconds=90", LogQuestion(since=NOW - timedelta(seconds=90))),
        ("sinceTime=2026-01-01T01:00:00%2B01:00", LogQuestion(since=NOW)),
        (
            "sinceTime=2025-12-31T23:59:59.123456789Z",
            LogQuestion(since=NOW - timedelta(microseconds=876544)),
        ),
    ],
)
def test_what_is_asked_is_understood(query, expected):
    assert options(query).question == expected


@pytest.mark.parametrize(
    "query",
    [
        *("tailLines=x", "tailLines=", "tailLines=1.0", "tail=some", "limitBytes=1e3"),
        *("sinceSeconds=9223372036854775808", "sinceTime=yesterday", "sinceTime=2026-01-01"),
        *("sinceTime=2026-13-01T00:00:00Z", "tailLines=%D9%A3", "stream=Stdout"),
    ],
)
def test_what_cannot_be_decoded_is_a_bad_request(query):
    with pytest.raises(BadLogOptions) as refusal:
        options(query)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "query",
    [
        *("tailLines=-1", "limitBytes=0", "limitBytes=-5", "sinceSeconds=0", "tail=-1"),
        "sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z",
    ],
)
def test_what_is_out_of_range_is_unprocessable(query):
    with pytest.raises(BadLogOptions) as refusal:
        options(query)
    assert (refusal.value.status, str(refusal.value)) == (422, '{"message": "Invalid request."}')


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["follow", "tailLines", "tail", "limitBytes", "sinceSeconds", "sinceTime"]
            ),
            st.text(max_size=30)
            | st.integers().map(str)
            | st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
        )
    )
)
def test_any_query_is_understood_or_refused(query):
    with suppress(BadLogOptions):
        log_options(query, NOW)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.kubernetes.backoff import Backoff, retry_after_seconds


@given(st.integers(1, 40), st.random_module())
def test_delays_double_to_the_cap_and_are_at_most_stretched_twofold(failures, random_state):
    backoff = Backoff(initial_seconds=0.8, cap_seconds=30.0)
    for failure in range(failures):
        base = min(0.8 * 2**failure, 30.0)
        assert base <= backoff.delay(float(failure)) <= 2 * base


@given(st.floats(0, 60), st.random_module())
def test_delay_is_never_less_than_the_server_asks(retry_after, random_state):
    assert Backoff(0.8, 30.0).delay(0.0, retry_after) >= retry_after


def test_health_starts_over():
    backoff = Backoff(1.0, 30.0, reset_seconds=120.0)
    for _ in range(5):
        backoff.delay(0.0)
    assert backoff.delay(100.0) >= 30.0
    assert backoff.delay(300.0) <= 2.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), ("-3", 0.0), ("86400", 60.0), ("inf", 60.0), ("nan", None)],
)
def test_retry_after_is_bounded(header, seconds):
    assert retry_after_seconds({"retry-after": header}) == seconds


def test_a_date_or_nothing_is_no_retry_after():
    assert retry_after_seconds({}) is None
    assert retry_after_seconds({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}) is None

from datetime import timedelta

import attrs
import pytest

from kraftlet_trio.pods.back_off import (
    bumped,
    due_after_end,
    due_after_failed_pull,
    init_retry_seconds,
)
from kraftlet_trio.pods.plan import BackOff
from tests.builders import NOW, ago, running, terminated, waiting

LADDER = [10, 20, 40, 80, 160, 300, 300]


def seconds(count):
    return timedelta(seconds=count)


def test_an_init_container_is_retried_after_1_2_4_to_300_seconds():
    waits = [init_retry_seconds(restarts) for restarts in range(11)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert init_retry_seconds(10**6) == 300


def crash_loop(first_end, restarts, back_off=None, restart_count=0):
    """The seconds each restart of a container that ends at once has to wait."""
    end = first_end
    for count in range(restart_count, restart_count + restarts):
        status = terminated(exit_code=1, restart_count=count)
        due, wait = due_after_end(end, status, back_off, end)
        assert due == end + seconds(wait)
        yield wait
        back_off = bumped(back_off, end, due)
        end = due


def test_restarts_wait_0_10_20_to_300_seconds():
    assert list(crash_loop(NOW, 8)) == [0, *LADDER]


def test_the_wait_counts_from_the_end():
    back_off = BackOff(seconds=40, bumped_at=ago(30))
    due, wait = due_after_end(ago(25), terminated(), back_off, NOW)
    assert (due, wait) == (NOW + seconds(15), 40)


def test_an_end_at_an_unknown_time_counts_as_just_now():
    assert due_after_end(None, terminated(), BackOff(seconds=10, bumped_at=ago(20)), NOW) == (
        NOW + seconds(10),
        10,
    )


@pytest.mark.parametrize(("up_seconds", "expected"), [(600, 300), (601, 0)])
def test_a_container_that_stayed_up_for_10_minutes_starts_over(up_seconds, expected):
    back_off = BackOff(seconds=300, bumped_at=ago(up_seconds))
    _, wait = due_after_end(NOW, terminated(), back_off, NOW)
    assert wait == expected
    assert bumped(back_off, NOW, NOW).seconds == (300 if expected else 10)


@pytest.mark.parametrize(
    ("restart_count", "expected"), [(0, 0), (1, 10), (2, 20), (5, 160), (6, 300), (10**6, 300)]
)
def test_without_memory_the_restart_count_tells_how_far_it_had_grown(restart_count, expected):
    status = terminated(exit_code=1, restart_count=restart_count)
    assert due_after_end(ago(10), status, None, NOW) == (ago(10) + seconds(expected), expected)


def test_without_memory_a_long_run_starts_over():
    long_run = attrs.evolve(running(seconds=700), restart_count=9)
    assert due_after_end(NOW, long_run, None, NOW) == (NOW, 0)
    short_run = attrs.evolve(running(seconds=500), restart_count=9)
    assert due_after_end(NOW, short_run, None, NOW) == (NOW + seconds(300), 300)


def test_a_failed_pull_is_retried_after_10_20_to_300_seconds():
    back_off, waits = None, []
    failed_at = NOW
    for _ in range(7):
        due, wait = due_after_failed_pull(failed_at, back_off, failed_at)
        assert due == failed_at + seconds(wait)
        waits.append(wait)
        back_off = bumped(back_off, failed_at, due)
        failed_at = due
    assert waits == LADDER


def test_a_pull_that_fails_long_after_the_last_restart_starts_over():
    back_off = BackOff(seconds=300, bumped_at=ago(601))
    assert due_after_failed_pull(NOW, back_off, NOW) == (NOW + seconds(10), 10)


def test_a_failed_pull_at_an_unknown_time_counts_as_just_now():
    assert due_after_failed_pull(None, None, NOW) == (NOW + seconds(10), 10)


def test_a_container_that_never_ran_may_run_at_once():
    assert due_after_end(NOW, waiting(), None, NOW) == (NOW, 0)

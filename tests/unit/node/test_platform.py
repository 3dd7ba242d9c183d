"""When a silent platform is believed to be away."""

from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import Health, Quotas, QuotaUse
from kraftlet_trio.node.platform import Fault, Platform

FAULT = Fault("KubeletNotReady", "no answer")
WELL = Health(checks={"images": "healthy"})
QUOTAS = Quotas(hard=QuotaUse(instances=4))


def test_platform_that_never_answered_is_away_at_once():
    assert Platform().failed(FAULT, 0.0).fault == FAULT


def test_short_silence_is_not_believed():
    platform = Platform().answered(WELL, QUOTAS)
    for now in (0.0, 5.0, 19.9):
        platform = platform.failed(FAULT, now)
        assert platform.fault is None
    assert platform.failed(FAULT, 20.0).fault == FAULT


def test_two_failures_are_not_believed_however_far_apart():
    platform = Platform().answered(WELL, QUOTAS).failed(FAULT, 0.0).failed(FAULT, 500.0)
    assert platform.fault is None


def test_answer_is_believed_at_once_and_ends_the_streak():
    platform = Platform().failed(FAULT, 0.0).answered(WELL, QUOTAS)
    assert platform.fault is None
    assert platform.failed(FAULT, 100.0).failed(FAULT, 101.0).failed(FAULT, 102.0).fault is None


def test_same_fault_in_other_words_keeps_its_words():
    platform = Platform().failed(FAULT, 0.0)
    for number in range(5):
        platform = platform.failed(Fault("KubeletNotReady", f"words {number}"), 10.0 * number)
    assert platform.fault == FAULT
    unauthorized = Fault("CloudUnauthorized", "token")
    assert platform.failed(unauthorized, 60.0).fault == unauthorized


def test_quotas_outlast_answers_without_them():
    platform = Platform().answered(WELL, QUOTAS).answered(WELL, None).failed(FAULT, 0.0)
    assert platform.quotas == QUOTAS


@given(answers=st.lists(st.booleans(), max_size=60), period=st.floats(1.0, 30.0))
def test_away_exactly_after_three_failures_over_twenty_seconds(answers, period):
    platform, streak, known = Platform(), [], False
    for turn, answered in enumerate(answers):
        now = turn * period
        if answered:
            platform, streak, known = platform.answered(WELL, QUOTAS), [], True
        else:
            platform = platform.failed(FAULT, now)
            streak.append(now)
        away = bool(streak) and (not known or (len(streak) >= 3 and now - streak[0] >= 20.0))
        assert (platform.fault is not None) == away


def test_checks_are_degraded_unless_harmless():
    health = Health(checks={"systemd": "degraded", "images": "unknown", "disk": "on fire"})
    assert Platform().answered(health, QUOTAS).degraded_checks == [
        "disk: on fire",
        "systemd: degraded",
    ]

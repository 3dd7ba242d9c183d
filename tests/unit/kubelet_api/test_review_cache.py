from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kraftlet_trio.kubelet_api import review_cache
from kraftlet_trio.kubelet_api.review_cache import (
    REVIEW_SECONDS,
    REVIEWS_AT_ONCE,
    ReviewCache,
    ReviewFailed,
)
from kraftlet_trio.kubernetes.errors import KubernetesUnavailable


class Question:
    """Asked again and again, it says *answer* after a second."""

    def __init__(self, answer: bool | Exception, seconds: float = 1.0) -> None:
        self.answer = answer
        self.seconds = seconds
        self.asked = 0
        self.now = self.most_at_once = 0

    async def __call__(self) -> bool:
        self.asked += 1
        self.now += 1
        self.most_at_once = max(self.now, self.most_at_once)
        try:
            await trio.sleep(self.seconds)
        finally:
            self.now -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def cache() -> ReviewCache[bool]:
    return ReviewCache(no=False, yes_seconds=100, no_seconds=10)


@pytest.mark.parametrize(("answer", "seconds"), [(True, 100), (False, 10)])
async def test_an_answer_is_kept_for_its_time(autojump_clock, cache, answer, seconds):
    question = Question(answer)
    for _ in range(2):
        assert await cache.answer("key", question) is answer
        await trio.sleep(seconds - 2)
    assert question.asked == 1
    await trio.sleep(5)
    await cache.answer("key", question)
    assert question.asked == 2


async def test_what_is_asked_at_once_is_asked_once(autojump_clock, cache, nursery):
    question = Question(True)
    for _ in range(20):
        nursery.start_soon(cache.answer, "key", question)
    await trio.sleep(2)
    assert question.asked == 1


async def test_those_who_joined_go_on_when_the_first_one_leaves(autojump_clock, cache, nursery):
    question = Question(True)

    async def impatient() -> None:
        with trio.move_on_after(0.5):
            await cache.answer("key", question)

    nursery.start_soon(impatient)
    await wait_all_tasks_blocked()
    assert await cache.answer("key", question) is True
    assert question.asked == 2


async def test_a_failure_is_told_to_all_and_not_kept(autojump_clock, cache, nursery):
    broken = Question(KubernetesUnavailable("it is away"))
    failures = []

    async def ask() -> None:
        try:
            await cache.answer("key", broken)
        except ReviewFailed as failure:
            failures.append(str(failure))

    for _ in range(3):
        nursery.start_soon(ask)
    await trio.sleep(2)
    assert failures == ["it is away"] * 3
    assert broken.asked == 1
    assert await cache.answer("key", Question(True)) is True


async def test_a_silent_server_costs_no_more_than_its_time(autojump_clock, cache):
    began = trio.current_time()
    with pytest.raises(ReviewFailed, match="did not answer"):
        await cache.answer("key", Question(True, seconds=1000))
    assert trio.current_time() - began == REVIEW_SECONDS


async def test_few_reviews_run_at_once_however_many_questions_come(autojump_clock, cache, nursery):
    question = Question(True)
    for key in range(5 * REVIEWS_AT_ONCE):
        nursery.start_soon(cache.answer, key, question)
    await trio.sleep(9)
    assert question.asked == 5 * REVIEWS_AT_ONCE
    assert question.most_at_once == REVIEWS_AT_ONCE


async def test_made_up_questions_neither_fill_memory_nor_drive_out_what_was_granted(
    autojump_clock, cache, monkeypatch
):
    monkeypatch.setattr(review_cache, "MOST_ANSWERS", 10)
    granted, refused = Question(True), Question(False, seconds=0.01)
    await cache.answer("granted", granted)
    for key in range(50):
        await cache.answer(key, refused)
    await cache.answer("granted", granted)
    assert granted.asked == 1
    assert len(cache._no._kept) == 10
    await cache.answer(49, refused)
    assert refused.asked == 50
    assert not cache._pending

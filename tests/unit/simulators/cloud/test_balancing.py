"""Who gets the next request."""

from types import SimpleNamespace

import pytest

from kraftlet_trio.cloud.objects import RUNNING, STANDBY, STARTING, STOPPED
from kraftlet_trio.simulators.cloud.balancing import Await, Pass, Refuse, choose
from kraftlet_trio.simulators.cloud.traffic import Traffic


def member(state=RUNNING, *, nconns=0, nqueued=0, falling_asleep=False):
    traffic = Traffic(nconns=nconns, nqueued=nqueued)
    return SimpleNamespace(state=state, traffic=traffic, is_falling_asleep=falling_asleep)


def chosen(*members, soft_limit=1, hard_limit=65535):
    return choose(members, soft_limit=soft_limit, hard_limit=hard_limit)


def test_members_without_load_take_turns():
    members = [member(), member(), member()]
    order = [members.index(chosen(*members).instance) for _ in range(6)]
    assert order == [0, 1, 2, 0, 1, 2]


def test_fewest_in_flight_goes_before_turns():
    busy, free = member(nconns=2), member(nconns=1)
    assert [chosen(busy, free).instance for _ in range(2)] == [free, free]


def test_newcomer_does_not_get_all_the_turns():
    veteran = member()
    for _ in range(9):
        chosen(veteran)
    newcomer = member()
    assert [chosen(veteran, newcomer).instance for _ in range(3)] == [newcomer, veteran, newcomer]


def test_below_the_soft_limit_nobody_is_woken():
    assert chosen(member(), member(STANDBY)).wake is None


def test_at_the_soft_limit_one_that_sleeps_is_woken_for_later():
    busy, asleep = member(nconns=1), member(STANDBY)
    assert chosen(busy, asleep) == Pass(busy, wake=asleep)


def test_one_that_is_starting_counts_as_room():
    assert chosen(member(nconns=1), member(STARTING), member(STANDBY)).wake is None


def test_with_nobody_running_the_next_request_waits_for_one_that_sleeps():
    asleep = member(STANDBY)
    assert chosen(member(STOPPED), asleep) == Await(asleep)


def test_queued_requests_spread_over_those_that_can_be_woken():
    starting, asleep = member(STARTING, nqueued=1), member(STANDBY)
    assert chosen(starting, asleep) == Await(asleep)
    assert chosen(starting) == Await(starting)


def test_one_on_its_way_to_standby_is_waited_for():
    dozing = member("stopping", falling_asleep=True)
    assert chosen(dozing) == Await(dozing)


@pytest.mark.parametrize(
    ("members", "overloaded"),
    [([], False), ([member(STOPPED)], False), ([member(nconns=3)], True)],
)
def test_nobody_left_means_refusal(members, overloaded):
    assert chosen(*members, hard_limit=3) == Refuse(overloaded)

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.simulators.kubernetes.resources import CONFIG_MAPS, PODS
from kraftlet_trio.simulators.kubernetes.storage import HistoryExpired, Storage


def a_value(name, uid="", **metadata):
    return {"metadata": {"name": name, "namespace": "default", "uid": uid or name, **metadata}}


def names(stored):
    return [one.name for one in stored]


def test_every_write_of_any_kind_has_a_greater_version():
    storage = Storage(history_limit=10)
    first = storage.put(PODS, a_value("a"))
    second = storage.put(CONFIG_MAPS, a_value("a", "other"))
    third = storage.remove(first)
    assert first.version < second.version < third.version == storage.version
    assert third.value["metadata"]["resourceVersion"] == str(third.version)


def test_what_was_read_does_not_change_under_the_reader():
    storage = Storage(history_limit=10)
    before = storage.put(PODS, a_value("a", labels={"x": "1"}))
    copy = before.thawed()
    copy["metadata"]["labels"]["x"] = "2"
    storage.put(PODS, copy)
    assert before.value["metadata"]["labels"] == {"x": "1"}
    assert storage.get(PODS, "default", "a").value["metadata"]["labels"] == {"x": "2"}


def test_a_subscriber_sees_each_change_of_its_kinds_once_and_in_order():
    storage = Storage(history_limit=10)
    storage.put(PODS, a_value("early"))
    with storage.subscribed([PODS]) as subscription:
        pod = storage.put(PODS, a_value("a"))
        storage.put(CONFIG_MAPS, a_value("b"))
        storage.remove(pod)
        changes = subscription.take()
        assert [(change.current.name, change.deleted) for change in changes] == [
            ("a", False),
            ("a", True),
        ]
        assert not subscription.take()


def test_the_past_can_be_replayed_from_a_version():
    storage = Storage(history_limit=10)
    first = storage.put(PODS, a_value("a"))
    storage.put(PODS, a_value("b"))
    with storage.subscribed([PODS], since=first.version) as subscription:
        assert names(change.current for change in subscription.take()) == ["b"]


def test_a_subscriber_that_lags_behind_the_history_is_told():
    storage = Storage(history_limit=5)
    first = storage.put(PODS, a_value("a"))
    with storage.subscribed([PODS]) as subscription:
        for _ in range(20):
            storage.put(PODS, a_value("a"))
        with pytest.raises(HistoryExpired):
            subscription.take()
        subscription.skip_to_now()
        assert not subscription.take()
    with pytest.raises(HistoryExpired), storage.subscribed([PODS], since=first.version):
        pass


def test_a_busy_kind_does_not_expire_the_history_of_a_quiet_one():
    storage = Storage(history_limit=5)
    first = storage.put(PODS, a_value("a"))
    for _ in range(50):
        storage.put(CONFIG_MAPS, a_value("busy", "busy"))
    with storage.subscribed([PODS], since=first.version) as subscription:
        assert not subscription.take()


async def test_a_waiting_subscriber_is_woken(nursery, autojump_clock):
    storage, woken = Storage(history_limit=5), trio.Event()

    async def wait_for_change():
        with storage.subscribed([PODS]) as subscription:
            await subscription.wait()
            assert names(change.current for change in subscription.take()) == ["a"]
            woken.set()

    nursery.start_soon(wait_for_change)
    await trio.testing.wait_all_tasks_blocked()
    storage.put(CONFIG_MAPS, a_value("b", "b"))
    await trio.testing.wait_all_tasks_blocked()
    assert not woken.is_set()
    storage.put(PODS, a_value("a"))
    await woken.wait()


def test_dependents_are_found_by_their_owners_uid():
    storage = Storage(history_limit=5)
    owned = storage.put(PODS, a_value("a", ownerReferences=[{"uid": "x"}, {"uid": "x"}]))
    assert storage.dependents("x") == [owned]
    freed = owned.thawed()
    del freed["metadata"]["ownerReferences"]
    storage.put(PODS, freed)
    assert storage.dependents("x") == []


writes = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30)


@given(writes)
def test_each_past_version_can_be_listed_until_it_expires(history):
    storage = Storage(history_limit=100)
    pasts = {storage.version: []}
    for name, present in history:
        stored = storage.get(PODS, "default", name)
        if present:
            storage.put(PODS, a_value(name))
        elif stored is not None:
            storage.remove(stored)
        pasts[storage.version] = [
            (one.name, one.version) for one in storage.objects(PODS, "default")
        ]
    for version, expected in pasts.items():
        past = storage.objects_at(PODS, "default", version)
        assert [(one.name, one.version) for one in past] == expected
    storage.expire_history()
    for version in pasts.keys() - {storage.version}:
        with pytest.raises(HistoryExpired):
            storage.objects_at(PODS, "default", version)

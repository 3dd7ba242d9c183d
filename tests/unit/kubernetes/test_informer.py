from functools import partial
from itertools import pairwise

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import Response
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.kubernetes.informer import Store, run_informer
from kraftlet_trio.kubernetes.resources import PODS
from tests.unit.kubernetes.scripted import (
    LOST,
    UNREACHABLE,
    ScriptedApi,
    bookmark,
    event,
    listing,
    pod,
    status,
    status_document,
    watch_of,
)

OPEN = watch_of(lasts=10_000)


class Informer:
    """A running informer, and what it reported."""

    def __init__(self, api: ScriptedApi) -> None:
        self.api = api
        self.store = Store()
        self.reports: list[set[str]] = []

    @property
    def asked(self) -> list[str]:
        """What was asked: ``list <version>`` or ``watch <version>``."""
        return [
            f"{'watch' if 'watch' in query else 'list'} {query.get('resourceVersion', '-')}"
            for query in (dict(request.query) for request in self.api.requests)
        ]

    def pauses(self) -> list[float]:
        times = self.api.asked_at
        return [later - earlier for earlier, later in pairwise(times)]


@pytest.fixture
def informer_of(client_of, nursery):
    async def informer_of(*answers) -> Informer:
        informer = Informer(ScriptedApi(list(answers)))
        await nursery.start(
            run_informer, client_of(informer.api), PODS, informer.store, informer.reports.append
        )
        return informer

    return informer_of


async def test_started_once_the_list_is_in_the_store(informer_of, autojump_clock):
    informer = await informer_of(listing(pod("a"), pod("b"), version="5"), OPEN)
    assert informer.reports == [{"uid-of-a", "uid-of-b"}]
    assert informer.store.by_name("default", "a").metadata.uid == "uid-of-a"
    assert informer.asked[0] == "list 0"


async def test_start_outlasts_an_outage(informer_of, autojump_clock):
    failures = [UNREACHABLE] * 12
    informer = await informer_of(*failures, listing(pod("a"), version="5"), OPEN)
    assert informer.reports == [{"uid-of-a"}]
    assert set(informer.asked[:13]) == {"list 0"}


async def test_store_is_changed_before_it_is_reported(client_of, nursery, autojump_clock):
    api = ScriptedApi(
        [
            listing(pod("a"), version="5"),
            watch_of(event("DELETED", pod("a", version="6")), event("ADDED", pod("b"))),
            OPEN,
        ]
    )
    store, seen = Store(), []

    def on_change(changed):
        seen.append({uid: store.get(uid) is not None for uid in changed})

    await nursery.start(run_informer, client_of(api), PODS, store, on_change)
    await trio.sleep(10)
    assert seen == [{"uid-of-a": True}, {"uid-of-a": False}, {"uid-of-b": True}]


async def test_clean_end_resumes_at_once_from_the_last_version(informer_of, autojump_clock):
    informer = await informer_of(
        listing(version="5"), watch_of(event("ADDED", pod("a", version="7")), lasts=100), OPEN
    )
    await trio.sleep(150)
    assert informer.asked == ["list 0", "watch 5", "watch 7"]
    assert informer.pauses()[1] == pytest.approx(100, abs=0.1)


async def test_bookmark_moves_only_the_version(informer_of, autojump_clock):
    informer = await informer_of(
        listing(pod("a"), version="5"), watch_of(bookmark("8"), lasts=10), OPEN
    )
    await trio.sleep(20)
    assert informer.asked == ["list 0", "watch 5", "watch 8"]
    assert informer.reports == [{"uid-of-a"}]


async def test_watch_that_ends_at_once_is_no_reason_to_spin(informer_of, autojump_clock):
    informer = await informer_of(listing(version="5"), watch_of(lasts=0))
    await trio.sleep(120)
    assert len(informer.asked) < 12
    assert set(informer.asked[1:]) == {"watch 5"}


@pytest.mark.parametrize(
    "expiry", [status(410, "Expired"), watch_of(event("ERROR", status_document(410, "Expired")))]
)
async def test_expired_watch_lists_again_and_infers_deletions_by_uid(
    informer_of, autojump_clock, expiry
):
    informer = await informer_of(
        listing(pod("kept"), pod("gone"), pod("remade", uid="old"), version="5"),
        expiry,
        listing(pod("kept"), pod("remade", uid="new"), pod("come"), version="9"),
        OPEN,
    )
    await trio.sleep(30)
    assert informer.asked == ["list 0", "watch 5", "list -", "watch 9"]
    assert informer.reports[1:] == [{"uid-of-gone", "old", "new", "uid-of-come"}]
    assert informer.store.get("old") is None
    assert informer.store.by_name("default", "remade").metadata.uid == "new"


async def test_retry_after_is_honoured_and_the_watch_resumes(informer_of, autojump_clock):
    informer = await informer_of(listing(version="5"), status(429, retry_after=17), OPEN)
    await trio.sleep(30)
    assert informer.asked == ["list 0", "watch 5", "watch 5"]
    assert informer.pauses()[1] >= 17


@pytest.mark.parametrize("failure", [LOST, UNREACHABLE, status(500), status(403, "Forbidden")])
async def test_failed_watch_resumes_without_a_list(informer_of, autojump_clock, failure):
    informer = await informer_of(
        listing(pod("a"), version="5"),
        failure,
        watch_of(event("MODIFIED", pod("a", version="6")), then=LOST(), lasts=5),
        OPEN,
    )
    await trio.sleep(60)
    assert informer.asked == ["list 0", "watch 5", "watch 5", "watch 6"]
    assert informer.reports == [{"uid-of-a"}, {"uid-of-a"}]
    assert all(pause >= 0.8 for pause in informer.pauses()[1:])


async def test_long_outage_is_asked_about_ever_more_seldom(informer_of, autojump_clock):
    informer = await informer_of(listing(version="5"), UNREACHABLE)
    await trio.sleep(3600)
    pauses = informer.pauses()
    assert 0.8 <= pauses[1] <= 1.6
    assert all(30 <= pause <= 60 for pause in pauses[8:])


async def test_silent_server_is_left(informer_of, autojump_clock):
    informer = await informer_of(listing(version="5"), OPEN)
    await trio.sleep(200)
    assert informer.asked == ["list 0", "watch 5", "watch 5"]


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_store_follows_any_history_through_any_trouble(data):
    """A server whose watches break, expire or end anywhere; in the end the store is its state."""
    history = data.draw(
        st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12), label="history"
    )
    trouble = data.draw(
        st.lists(st.sampled_from(["none", "lost", "expired", "eof", "429"]), max_size=8),
        label="trouble",
    )
    batch = data.draw(st.integers(1, 4), label="events a watch")

    state: dict[str, dict] = {}
    states, events = [{}], []
    for number, (name, present) in enumerate(history, start=1):
        known = state.get(name)
        if present:
            value = pod(name, uid=(known or {}).get("uid") or f"{name}{number}")
            value["metadata"]["resourceVersion"] = str(number)
            events.append((number, event("MODIFIED" if known else "ADDED", value)))
            state = {**state, name: {"uid": value["metadata"]["uid"], "value": value}}
        elif known:
            gone = {**known["value"]}
            gone["metadata"] = {**gone["metadata"], "resourceVersion": str(number)}
            events.append((number, event("DELETED", gone)))
            state = {other: held for other, held in state.items() if other != name}
        states.append(state)

    async def server(request):
        query = dict(request.query)
        if "watch" not in query:
            # The first list comes from a cache that lags behind.
            at = len(history) if "resourceVersion" not in query else len(history) // 2
            return listing(*(held["value"] for held in states[at].values()), version=str(at))
        kind = trouble.pop() if trouble else "none"
        if kind == "429":
            return status(429, retry_after=2)
        since = int(query["resourceVersion"])
        if kind == "expired":
            return status(410, "Expired")
        due = [line for number, line in events if number > since]
        if kind == "none":
            return watch_of(*due, lasts=100)
        return watch_of(*due[:batch], then=LOST() if kind == "lost" else None, lasts=2)

    async def main():
        store, reported = Store(), {}

        def on_change(changed):
            for uid in changed:
                reported[uid] = store.get(uid)

        async with trio.open_nursery() as nursery:
            transport = MemoryTransport(server, nursery)
            async with KubernetesClient(
                ClusterAccess(server="http://cluster.test"), transport=transport
            ) as client:
                await nursery.start(partial(run_informer, client, PODS, store, on_change))
                await trio.sleep(500)
            nursery.cancel_scope.cancel()
        wanted = {held["uid"]: held["value"] for held in states[-1].values()}
        assert {item.metadata.uid for item in store.values()} == set(wanted)
        for item in store.values():
            version = wanted[item.metadata.uid]["metadata"]["resourceVersion"]
            assert item.metadata.resource_version == version
        # Whoever only listened knows the same.
        assert {uid for uid, item in reported.items() if item is not None} == set(wanted)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_cancelled_informer_leaves_no_watch_behind(client_of, autojump_clock):
    ended = trio.Event()

    async def server(request):
        if "watch" not in dict(request.query):
            return listing(version="5")

        async def stream(_send):
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        return Response(stream=stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(run_informer, client_of(server), PODS, Store(), lambda _changed: None)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with trio.fail_after(1):
        await ended.wait()

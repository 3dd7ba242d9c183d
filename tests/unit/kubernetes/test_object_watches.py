"""Who follows an object hears of it once for each change, over one watch an object."""

from collections import Counter

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.kubernetes import object_watches
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.kubernetes.object_watches import ObjectKey, ObjectWatches
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.manifests import a_config_map
from tests.unit.kubernetes.scripted import UNREACHABLE

A = ObjectKey("ConfigMap", "default", "a")
B = ObjectKey("ConfigMap", "default", "b")
TOKEN = ObjectKey("Secret", "default", "token")


class Cluster:
    """An API server, and how many watches of it are open."""

    def __init__(self):
        self.simulator = KubernetesSimulator()
        self.requests = []
        self.down = False

    async def handle(self, request):
        self.requests.append(request)
        if self.down:
            raise UNREACHABLE
        return await self.simulator.handle(request)

    def watches(self, name):
        return sum(
            "watch" in (query := dict(request.query))
            and query["fieldSelector"] == f"metadata.name={name}"
            for request in self.requests
        )

    def put(self, name, **data):
        manifest = a_config_map(name, **data)
        if any(one["metadata"]["name"] == name for one in self.simulator.objects("configmaps")):
            self.simulator.change("configmaps", name, lambda value: {**value, "data": data})
        else:
            self.simulator.create(manifest)

    def remove(self, name):
        self.simulator.delete(a_config_map(name))


@pytest.fixture
async def cluster():
    return Cluster()


@pytest.fixture
def told():
    return []


@pytest.fixture
async def watches(cluster, client_of, told, nursery):
    watches = ObjectWatches(client_of(cluster.handle), lambda *what: told.append(what))
    await nursery.start(watches.run)
    return watches


async def settle():
    await trio.sleep(1)


async def test_coming_change_and_going_are_told_to_each_follower(
    autojump_clock, cluster, watches, told
):
    watches.follow("x", frozenset({A}))
    watches.follow("y", frozenset({A, B}))
    await settle()
    assert told == []
    for action in (
        lambda: cluster.put("a", level="1"),
        lambda: cluster.put("a", level="2"),
        lambda: cluster.remove("a"),
    ):
        action()
        await settle()
        assert told == [("x", A), ("y", A)]
        told.clear()
    assert cluster.watches("a") == 1


async def test_follower_of_what_is_there_already_is_told_once(
    autojump_clock, cluster, watches, told
):
    cluster.put("a")
    watches.follow("x", frozenset({A}))
    await settle()
    watches.follow("y", frozenset({A}))
    watches.follow("x", frozenset({A}))
    assert told == [("x", A)], "never from within follow"
    await settle()
    assert told == [("x", A), ("y", A)]


async def test_namesakes_of_other_kinds_and_namespaces_are_no_concern(
    autojump_clock, cluster, watches, told
):
    watches.follow("x", frozenset({TOKEN}))
    await settle()
    cluster.put("token")
    cluster.simulator.create({**a_config_map("token"), "kind": "Secret", "data": {}})
    await settle()
    assert told == [("x", TOKEN)]


async def test_watch_ends_with_its_last_follower(autojump_clock, cluster, watches, told):
    watches.follow("x", frozenset({A}))
    watches.follow("y", frozenset({A}))
    await settle()
    watches.follow("x", frozenset())
    watches.follow("y", frozenset({B}))
    await settle()
    cluster.put("a")
    await trio.sleep(1000)
    assert told == []
    assert cluster.watches("a") == 1
    assert cluster.watches("b") > 1


async def test_change_during_an_outage_is_told_after_it(autojump_clock, cluster, watches, told):
    watches.follow("x", frozenset({A}))
    await settle()
    cluster.down = True
    await trio.sleep(700)
    cluster.put("a")
    cluster.down = False
    await trio.sleep(100)
    assert told == [("x", A)]


async def test_what_has_no_watch_is_looked_at_in_turn(
    autojump_clock, cluster, watches, told, monkeypatch
):
    monkeypatch.setattr(object_watches, "MOST_WATCHES", 1)
    watches.follow("x", frozenset({A}))
    await settle()
    watches.follow("y", frozenset({B}))
    await settle()
    cluster.put("b")
    await trio.sleep(15)
    assert told == [("y", B)]
    assert cluster.watches("b") == 0
    watches.follow("x", frozenset())
    await settle()
    assert cluster.watches("b") == 1, "a place became free"
    cluster.put("b", level="2")
    await settle()
    assert told == [("y", B)] * 2


async def test_no_content_of_a_secret_is_kept(autojump_clock, cluster, watches, told):
    cluster.simulator.create({**a_config_map("token"), "kind": "Secret", "data": {"k": "czNjcjN0"}})
    watches.follow("x", frozenset({TOKEN}))
    await settle()
    assert told == [("x", TOKEN)]
    assert "czNjcjN0" not in repr(watches._watched)


@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_each_change_after_the_watch_began_reaches_whoever_follows(data):
    async def main():
        cluster, told = Cluster(), Counter()
        async with trio.open_nursery() as nursery:
            transport = MemoryTransport(cluster.handle, nursery)
            access = ClusterAccess(server="http://cluster.test")
            async with KubernetesClient(access, transport=transport) as client:
                watches = ObjectWatches(client, lambda *what: told.update([what]))
                await nursery.start(watches.run)
                follows = {}
                for _ in range(data.draw(st.integers(1, 8))):
                    owner = data.draw(st.sampled_from("xy"))
                    follows[owner] = data.draw(st.frozensets(st.sampled_from([A, B])))
                    watches.follow(owner, follows[owner])
                    await settle()
                    told.clear()
                    key = data.draw(st.sampled_from([A, B]))
                    exists = any(
                        one["metadata"]["name"] == key.name
                        for one in cluster.simulator.objects("configmaps")
                    )
                    if exists and data.draw(st.booleans()):
                        cluster.remove(key.name)
                    else:
                        cluster.put(key.name, at=str(trio.current_time()))
                    await settle()
                    assert told == {(one, key): 1 for one, keys in follows.items() if key in keys}
                nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

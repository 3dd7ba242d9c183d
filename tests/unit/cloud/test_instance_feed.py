"""The feed against a model of the cloud that may be slow, fail, and change under a read."""

from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from kraftlet_trio.cloud.client import InstanceReading
from kraftlet_trio.cloud.errors import CloudRefused, CloudUnavailable
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import Instance

NODE = "kraftlet:node=n"


def an_instance(uuid, *, pod="p", state="running", **fields):
    return Instance(uuid=uuid, state=state, tags=(NODE, f"k8s.io:uid={pod}"), **fields)


class ModelStream:
    def __init__(self, pieces):
        self.pieces = pieces

    async def next_piece(self):
        return await anext(self.pieces, b"")


class ModelCloud:
    """Takes its answer when a read begins or ends, as told; counts requests."""

    def __init__(self, *instances):
        self.instances = {instance.uuid: instance for instance in instances}
        self.failing = False
        self.latency = 0.0
        self.omitted_from_lists = set()
        self.lists = 0
        self.looks = []
        self.events = None
        """Those who listen; None where the platform tells of no events."""

    @asynccontextmanager
    async def audit_stream(self, *, tags):
        assert tags == [NODE]
        if self.events is None:
            raise CloudRefused("there are no events here")
        send, receive = trio.open_memory_channel(10)
        self.events.append(send)
        yield ModelStream(receive)

    async def tell(self, *uuids, text=None):
        """An event about each, or *text*, to whoever listens."""
        events = [f'event: vm\ndata: {{"object":{{"uuid":"{uuid}"}}}}\n\n' for uuid in uuids]
        for listener in self.events:
            await listener.send((text or "".join(events)).encode())

    async def list_instances(self, *, tags):
        assert tags == [NODE]
        self.lists += 1
        found = [i for i in self.instances.values() if i.uuid not in self.omitted_from_lists]
        await trio.sleep(self.latency)
        if self.failing:
            raise CloudUnavailable("down")
        return found

    async def read_instances(self, uuids):
        if not uuids:
            return InstanceReading((), frozenset())
        self.looks.append((trio.current_time(), tuple(uuids)))
        found = tuple(self.instances[uuid] for uuid in uuids if uuid in self.instances)
        missing = frozenset(uuids) - self.instances.keys()
        await trio.sleep(self.latency)
        if self.failing:
            raise CloudUnavailable("down")
        return InstanceReading(found, missing)


@pytest.fixture
async def feeding(nursery):
    """Starts feeds of a cloud; each comes with the list of its Pods' changes."""

    async def start(cloud, interval=5.0):
        feed, changes = InstanceFeed(cloud, tags=[NODE], interval=interval), []
        await nursery.start(feed.run, changes.append)
        return feed, changes

    return start


async def test_started_means_the_first_list_is_in(feeding, autojump_clock):
    feed, changes = await feeding(ModelCloud(an_instance("a"), an_instance("b", pod="q")))
    assert feed.instances.keys() == {"a", "b"}
    assert feed.of_pod("q").keys() == {"b"}
    assert changes == ["p", "q"]


async def test_start_waits_for_the_platform(autojump_clock, nursery):
    cloud = ModelCloud(an_instance("a"))
    cloud.failing = True
    feed = InstanceFeed(cloud, tags=[NODE], interval=5.0)
    with trio.move_on_after(60) as patience:
        await nursery.start(feed.run, [].append)
    assert patience.cancelled_caught
    assert feed.seconds_since_success() == float("inf")


async def test_change_shows_within_the_interval_and_only_changes_ring(feeding, autojump_clock):
    cloud = ModelCloud(an_instance("a"), an_instance("b", pod="q"))
    feed, changes = await feeding(cloud)
    changes.clear()
    cloud.instances["a"] = an_instance("a", state="stopped")
    await trio.sleep(5.1)
    assert feed.instances["a"].state == "stopped"
    assert changes == ["p"]


async def test_watched_instance_shows_its_change_at_once_then_less_often(feeding, autojump_clock):
    cloud = ModelCloud(an_instance("a", state="starting"))
    feed, changes = await feeding(cloud, interval=1000)
    changes.clear()
    feed.watch_closely("a")
    await trio.sleep(0.06)
    cloud.instances["a"] = an_instance("a", state="running")
    await trio.sleep(0.1)
    assert feed.instances["a"].state == "running"
    assert changes == ["p"]
    seen = len(cloud.looks)
    await trio.sleep(60)
    assert len(cloud.looks) - seen < 75
    feed.rest("a")
    seen = len(cloud.looks)
    await trio.sleep(60)
    assert len(cloud.looks) == seen


async def test_many_in_transition_share_their_requests(feeding, autojump_clock):
    cloud = ModelCloud(*(an_instance(f"u{n}", pod=f"p{n}") for n in range(500)))
    cloud.latency = 0.02
    feed, _ = await feeding(cloud, interval=1000)
    for uuid in cloud.instances:
        feed.watch_closely(uuid)
        await trio.sleep(0.003)
    seen = len(cloud.looks)
    await trio.sleep(10)
    assert (len(cloud.looks) - seen) / 10 <= 20


async def test_requests_do_not_grow_with_quiet_instances(feeding, autojump_clock):
    cloud = ModelCloud(*(an_instance(f"u{n}", pod=f"p{n}") for n in range(1000)))
    await feeding(cloud, interval=5)
    cloud.lists = 0
    await trio.sleep(100)
    assert cloud.lists <= 20
    assert cloud.looks == []


async def test_gone_instance_is_reported_once(feeding, autojump_clock):
    cloud = ModelCloud(an_instance("a"))
    feed, changes = await feeding(cloud)
    changes.clear()
    del cloud.instances["a"]
    await trio.sleep(30)
    assert feed.instances == {}
    assert feed.of_pod("p") == {}
    assert changes == ["p"]


async def test_instance_that_a_page_missed_is_not_gone(feeding, autojump_clock):
    cloud = ModelCloud(an_instance("a"))
    feed, changes = await feeding(cloud)
    changes.clear()
    cloud.omitted_from_lists.add("a")
    await trio.sleep(30)
    assert feed.instances.keys() == {"a"}
    assert changes == []


async def test_outage_changes_nothing_and_ages_the_feed(feeding, autojump_clock):
    cloud = ModelCloud(an_instance("a"))
    feed, changes = await feeding(cloud)
    changes.clear()
    feed.watch_closely("a")
    cloud.failing = True
    cloud.instances.clear()
    await trio.sleep(60)
    assert feed.instances.keys() == {"a"}
    assert changes == []
    assert feed.seconds_since_success() > 50
    cloud.failing = False
    await trio.sleep(10)
    assert feed.instances == {}


@pytest.mark.parametrize("read", ["list", "look"])
async def test_read_under_way_overwrites_neither_put_nor_forget(feeding, autojump_clock, read):
    cloud = ModelCloud(an_instance("a"), an_instance("b"))
    feed, _ = await feeding(cloud, interval=5 if read == "list" else 1000)
    cloud.latency = 2
    if read == "look":
        feed.watch_closely("a")
        feed.watch_closely("b")
        feed.watch_closely("c")
    await trio.sleep(5.5 if read == "list" else 0.5)
    fresh = an_instance("a", state="stopping")
    cloud.instances["a"] = fresh
    cloud.instances["c"] = an_instance("c")
    del cloud.instances["b"]
    feed.put(fresh)
    feed.put(cloud.instances["c"])
    feed.forget("b")
    await trio.sleep(1.6)
    await wait_all_tasks_blocked()
    assert feed.instances == cloud.instances


async def test_namesake_pod_has_only_its_own(feeding, autojump_clock):
    cloud = ModelCloud(an_instance("a", pod="old"), an_instance("b", pod="new"))
    feed, _ = await feeding(cloud)
    assert feed.of_pod("old").keys() == {"a"}
    assert feed.of_pod("new").keys() == {"b"}
    assert feed.of_pod("other") == {}


UUIDS = st.sampled_from("abc")
STATES = st.sampled_from(["starting", "running", "stopped"])
ACTIONS = st.sampled_from(
    ["set", "put", "put", "forget", "vanish", "watch", "rest", "fail", "heal"]
)
PAUSES = st.sampled_from([0.0, 0.03, 0.4, 1.2, 2.0])
HISTORIES = st.lists(st.tuples(ACTIONS, UUIDS, STATES, PAUSES), min_size=1, max_size=25)


async def live_through(history, latency):
    cloud = ModelCloud(an_instance("a"))
    feed = InstanceFeed(cloud, tags=[NODE], interval=1.0)
    known = {}

    def ring(pod_uid):
        # Rings come after the change, and only for a change.
        assert feed.of_pod(pod_uid) != known.get(pod_uid, {})
        known[pod_uid] = feed.of_pod(pod_uid)

    async with trio.open_nursery() as nursery:
        await nursery.start(feed.run, ring)
        cloud.latency = latency
        for action, uuid, state, pause in history:
            instance = an_instance(uuid, pod=f"p-{uuid}", state=state)
            before = dict(feed.instances)
            match action:
                case "set":
                    cloud.instances[uuid] = instance
                case "put":
                    cloud.instances[uuid] = instance
                    feed.put(instance)
                    before[uuid] = instance
                case "forget":
                    cloud.instances.pop(uuid, None)
                    feed.forget(uuid)
                    before.pop(uuid, None)
                case "vanish":
                    cloud.instances.pop(uuid, None)
                case "watch":
                    feed.watch_closely(uuid)
                case "rest":
                    feed.rest(uuid)
                case "fail":
                    cloud.failing = True
                case "heal":
                    cloud.failing = False
            if action in ("put", "forget"):
                assert feed.instances == before
                # A read that began before never undoes it.
                with trio.move_on_after(latency + 0.5):
                    while True:
                        assert feed.instances.get(uuid) == before.get(uuid)
                        await trio.sleep(0.05)
            await trio.sleep(pause)
        cloud.failing = False
        await trio.sleep(20 + 5 * latency)
        assert feed.instances == cloud.instances
        assert feed._forgotten == {}
        assert {uuid for pod in known.values() for uuid in pod} == cloud.instances.keys()
        nursery.cancel_scope.cancel()


@settings(max_examples=200, deadline=None)
@given(history=HISTORIES, latency=st.sampled_from([0.0, 0.3, 1.5]), chance=st.random_module())
def test_feed_settles_on_the_truth_and_never_undoes_what_it_was_told(history, latency, chance):
    trio.run(partial(live_through, history, latency), clock=MockClock(autojump_threshold=0))


async def test_event_shows_a_change_at_once_and_lists_become_rare(autojump_clock, feeding):
    cloud = ModelCloud(an_instance("a"), an_instance("b"))
    cloud.events = []
    feed, changes = await feeding(cloud, interval=1.0)
    await trio.sleep(60.5)
    assert cloud.lists <= 14
    changes.clear()
    cloud.instances["a"] = an_instance("a", state="stopped")
    await cloud.tell("a", "a")
    await trio.sleep(0.06)
    assert changes == ["p"]
    assert feed.instances["a"].state == "stopped"
    assert cloud.looks[-1][1] == ("a",)


@pytest.mark.parametrize("text", ['event: gap\ndata: {"dropped":4}\n\n', None])
async def test_what_events_cannot_tell_is_listed_at_once(autojump_clock, feeding, text):
    cloud = ModelCloud(an_instance("a"))
    cloud.events = []
    _, changes = await feeding(cloud, interval=1.0)
    await trio.sleep(10.5)
    cloud.instances["b"] = an_instance("b", pod="q")
    before = cloud.lists
    await cloud.tell("b", text=text)
    await trio.sleep(0.1)
    assert cloud.lists == before + 1
    assert "q" in changes


async def test_stream_that_ends_is_opened_again_and_a_refused_one_seldom(autojump_clock, feeding):
    cloud = ModelCloud(an_instance("a"))
    cloud.events = []
    await feeding(cloud, interval=1.0)
    await trio.sleep(1)
    await cloud.events[0].aclose()
    before = cloud.lists
    await trio.sleep(1)
    assert len(cloud.events) == 2
    assert cloud.lists > before

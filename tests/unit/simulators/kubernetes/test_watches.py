from __future__ import annotations

from functools import partial

import orjson
import pytest
import trio

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.unit.simulators.kubernetes.builders import a_node, a_pod, request, set_ready

NODE = {"nodeName": "node-1"}


class Watcher:
    """A client that watches, and keeps what it was sent."""

    def __init__(self, cluster, path, query):
        self.events = []
        self.ended = False
        self._request = Request(method="GET", path=path, query_string=f"watch=1&{query}")
        self._cluster = cluster

    async def run(self):
        response = await self._cluster.handle(self._request)
        assert response.status == 200
        await response.stream(self._keep)
        self.ended = True

    async def _keep(self, data):
        assert data.endswith(b"\n")
        self.events += [orjson.loads(line) for line in data.splitlines()]
        await trio.lowlevel.checkpoint()

    @property
    def seen(self):
        return [(event["type"], event["object"]["metadata"].get("name")) for event in self.events]


@pytest.fixture
def watching(nursery):
    async def watch(cluster, path="/api/v1/pods", query=""):
        watcher = Watcher(cluster, path, query)
        nursery.start_soon(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        return watcher

    return watch


settled = partial(trio.testing.wait_all_tasks_blocked)


async def list_version(cluster):
    _, listing = await request(cluster, "GET", "/api/v1/pods")
    return listing["metadata"]["resourceVersion"]


async def test_a_watch_goes_on_from_a_lists_version(watching):
    cluster = KubernetesSimulator()
    cluster.create(a_pod("before"))
    version = await list_version(cluster)
    cluster.create(a_pod("after", **NODE))
    watcher = await watching(cluster, query=f"resourceVersion={version}")
    set_ready(cluster, "after")
    cluster.delete(a_pod("before"))
    await settled()
    assert watcher.seen == [
        ("ADDED", "after"),
        ("MODIFIED", "after"),
        ("MODIFIED", "before"),
        ("DELETED", "before"),
    ]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in watcher.events]
    assert versions == sorted(set(versions))
    assert all(event["object"]["kind"] == "Pod" for event in watcher.events)


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_watch_without_a_version_begins_with_what_there_is(watching, version):
    cluster = KubernetesSimulator()
    cluster.create(a_pod("a"))
    watcher = await watching(cluster, query=f"resourceVersion={version}")
    cluster.create(a_pod("b"))
    await settled()
    assert watcher.seen == [("ADDED", "a"), ("ADDED", "b")]


async def test_an_object_comes_and_goes_with_the_selector(watching):
    cluster = KubernetesSimulator()
    cluster.create(a_pod("a"))
    cluster.create(a_pod("b"))
    version = await list_version(cluster)
    query = f"resourceVersion={version}&fieldSelector=spec.nodeName%3Dnode-1"
    labelled = f"resourceVersion={version}&labelSelector=role%3Dx"
    by_node = await watching(cluster, query=query)
    by_label = await watching(cluster, query=labelled)
    path = "/api/v1/namespaces/default/pods/a/binding"
    await request(cluster, "POST", path, {"target": {"name": "node-1"}})

    def with_role(role, pod):
        pod["metadata"]["labels"] = {"role": role}
        return pod

    for role in "xy":
        cluster.change("pods", "a", partial(with_role, role))
    await settled()
    assert by_node.seen == [("ADDED", "a"), ("MODIFIED", "a"), ("MODIFIED", "a")]
    assert by_label.seen == [("ADDED", "a"), ("DELETED", "a")]
    last = by_label.events[-1]["object"]["metadata"]
    assert last["labels"] == {"role": "x"}
    assert last["resourceVersion"] == cluster.get("pods", "a")["metadata"]["resourceVersion"]


async def test_a_namespaced_watch_sees_its_namespace_only(watching):
    cluster = KubernetesSimulator()
    watcher = await watching(cluster, "/api/v1/namespaces/kube-system/pods")
    cluster.create(a_pod("elsewhere"))
    cluster.create({**a_pod(), "metadata": {"name": "here", "namespace": "kube-system"}})
    await settled()
    assert watcher.seen == [("ADDED", "here")]


async def test_a_watch_ends_cleanly_after_its_timeout(watching, autojump_clock):
    cluster = KubernetesSimulator()
    version = await list_version(cluster)
    watcher = await watching(cluster, query=f"resourceVersion={version}&timeoutSeconds=300")
    await trio.sleep(299)
    assert not watcher.ended
    await trio.sleep(2)
    assert watcher.ended
    assert not watcher.events


async def test_bookmarks_come_each_minute_and_before_the_end(watching, autojump_clock):
    cluster = KubernetesSimulator()
    version = await list_version(cluster)
    query = f"resourceVersion={version}&timeoutSeconds=150&allowWatchBookmarks=true"
    watcher = await watching(cluster, query=query)
    cluster.create(a_node())
    await trio.sleep(200)
    assert [kind for kind, _ in watcher.seen] == ["BOOKMARK"] * 3
    bookmark = watcher.events[0]["object"]
    assert bookmark["kind"] == "Pod"
    assert bookmark["metadata"]["resourceVersion"] == str(cluster.storage.version)


async def test_a_forgotten_version_gives_410_in_the_stream(watching):
    cluster = KubernetesSimulator()
    version = await list_version(cluster)
    cluster.create(a_pod())
    cluster.expire_history()
    watcher = await watching(cluster, query=f"resourceVersion={version}")
    (event,) = watcher.events
    assert watcher.ended
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


async def test_a_watcher_that_is_too_slow_gets_410(nursery):
    cluster = KubernetesSimulator(history_limit=3)
    reading, lines = trio.Event(), []

    async def read_slowly(data):
        lines.extend(data.splitlines())
        await reading.wait()

    response = await cluster.handle(
        Request(method="GET", path="/api/v1/pods", query_string="watch=1")
    )
    nursery.start_soon(response.stream, read_slowly)
    await settled()
    for number in range(20):
        cluster.create(a_pod(f"pod-{number}"))
        await settled()
    reading.set()
    await settled()
    assert orjson.loads(lines[0])["type"] == "ADDED"
    assert orjson.loads(lines[-1])["object"]["code"] == 410


async def test_a_watch_list_marks_the_end_of_what_there_was(watching):
    cluster = KubernetesSimulator()
    cluster.create(a_pod("a"))
    query = (
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        "&resourceVersion="
    )
    watcher = await watching(cluster, query=query)
    cluster.create(a_pod("b"))
    await settled()
    assert watcher.seen == [("ADDED", "a"), ("BOOKMARK", None), ("ADDED", "b")]
    annotations = watcher.events[1]["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}


async def test_a_version_to_come_is_waited_for_and_then_refused(autojump_clock):
    cluster = KubernetesSimulator()
    query = {"resourceVersion": str(cluster.storage.version + 1), "watch": "1"}
    status, body = await request(cluster, "GET", "/api/v1/pods", **query)
    assert (status, body["reason"]) == (504, "Timeout")
    assert body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert trio.current_time() >= 3

from __future__ import annotations

from functools import partial

import orjson
import pytest
import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.kubelet_api.usage_source import UsageSource, running_containers
from kraftlet_trio.kubernetes.pod import (
    ContainerState,
    ContainerStateRunning,
    ContainerStatus,
    Pod,
    PodStatus,
)
from kraftlet_trio.kubernetes.store import Store
from tests.builders import NOW, a_pod, a_stopped_instance, ago, an_instance

TAGS = ("k8s.io:uid=uid-of-web",)


class Platform:
    """Tells that every instance has used as many milliseconds as it was asked requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.seconds = 0.5
        self.status = 200

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        await trio.sleep(self.seconds)
        if self.status != 200:
            return Response(status=self.status)
        uuids = [value for key, value in request.query if key == "uuid"]
        shown = {"status": "success", "cpu_time_ms": len(self.requests), "rss_bytes": 1}
        items = [{**shown, "uuid": uuid} for uuid in uuids]
        return json_response({"status": "success", "data": {"instances": items}})


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def pods() -> Store[Pod]:
    store: Store[Pod] = Store()
    store.replace([a_pod(containers=("app", "sidecar"))])
    return store


@pytest.fixture
def feed() -> InstanceFeed:
    feed = InstanceFeed(None, tags=(), interval=5)  # type: ignore[arg-type] # it asks nobody here
    for name in ("app", "sidecar"):
        feed.put(of_web(name))
    return feed


@pytest.fixture
def source(nursery, platform, pods, feed) -> UsageSource:
    access = CloudAccess(base_url="http://cloud.test", token=lambda: "token")
    cloud = CloudClient(access, transport=MemoryTransport(platform.handle, nursery))
    return UsageSource(cloud, pods, feed)


def of_web(name: str, make=an_instance, **fields):
    return make(name, tags=(*TAGS, f"k8s.io:container={name}"), **fields)


@pytest.mark.parametrize("seconds", [0.5, 5])
async def test_scrapes_at_once_share_one_request(autojump_clock, source, platform, seconds):
    platform.seconds = seconds
    read = []

    async def scrape() -> None:
        read.append(await source.read())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(scrape)
    assert len(platform.requests) == 1
    assert len({id(usage) for usage in read}) == 1
    assert [one.container.container for one in read[0].containers] == ["app", "sidecar"]


async def test_a_sample_serves_for_a_second_and_the_next_is_later(autojump_clock, source, platform):
    platform.seconds = 0
    first = await source.read()
    await trio.sleep(0.9)
    assert await source.read() is first
    await trio.sleep(0.2)
    later = await source.read()
    assert len(platform.requests) == 2
    assert later.at > first.at
    assert later.containers[0].counters.cpu_ns > first.containers[0].counters.cpu_ns


async def test_a_container_that_has_just_started_is_in_the_next_sample(
    autojump_clock, source, pods, feed
):
    await source.read()
    pods.replace([a_pod(containers=("app", "sidecar", "third"))])
    feed.put(of_web("third"))
    assert len((await source.read()).containers) == 3


async def test_who_gives_up_leaves_the_request_to_the_next(autojump_clock, source, platform):
    platform.seconds = 2
    async with trio.open_nursery() as nursery:
        patient = trio.Event()

        async def wait() -> None:
            assert (await source.read()).containers
            patient.set()

        with trio.move_on_after(1):
            nursery.start_soon(wait)
            await source.read()
        with trio.fail_after(5):
            await patient.wait()


async def test_a_silent_platform_is_given_up_before_the_scraper_gives_up(
    autojump_clock, source, platform
):
    platform.seconds = 1000
    began = trio.current_time()
    with pytest.raises(CloudError):
        await source.read()
    assert trio.current_time() - began < 10


async def test_nobody_is_asked_while_nothing_runs(autojump_clock, source, platform, pods):
    pods.replace([])
    assert (await source.read()).containers == ()
    assert platform.requests == []


def found(pods: Store[Pod], *instances) -> dict[str, object]:
    feed = InstanceFeed(None, tags=(), interval=5)  # type: ignore[arg-type]
    for instance in instances:
        feed.put(instance)
    return {one.container: one.started_at for one in running_containers(pods, feed, NOW)}


async def test_what_does_not_run_is_not_measured(autojump_clock, pods):
    assert found(pods, of_web("app", a_stopped_instance)) == {}
    assert found(pods, of_web("app", state="starting")) == {}
    assert found(pods, of_web("stranger")) == {}


async def test_a_container_in_standby_runs(autojump_clock, pods):
    assert found(pods, of_web("app", state="standby")) == {"app": ago(100)}


@pytest.mark.parametrize("state", ["standby", "starting", "running"])
async def test_waking_up_moves_no_start(autojump_clock, state):
    began = ago(1000)
    status = ContainerStatus(
        name="app",
        container_id="unikraft://uuid-of-app",
        state=ContainerState(running=ContainerStateRunning(started_at=began)),
    )
    pods: Store[Pod] = Store()
    pods.replace([a_pod(status=PodStatus(container_statuses=(status,)))])
    assert found(pods, of_web("app", state=state, started_at=ago(1))) == {"app": began}
    stopped = of_web("app", partial(a_stopped_instance, seconds_ago=1))
    assert found(pods, stopped) == {}


async def test_a_failed_read_is_not_taken_for_no_containers(autojump_clock, source, platform):
    platform.status = 403
    with pytest.raises(CloudError):
        await source.read()
    with pytest.raises(CloudError):
        await source.read()
    assert len(platform.requests) == 1
    platform.status = 200
    await trio.sleep(1)
    assert (await source.read()).containers


async def test_many_containers_are_still_one_request(autojump_clock, nursery, pods):
    names = [f"c{number}" for number in range(200)]
    pods.replace([a_pod(containers=names)])
    feed = InstanceFeed(None, tags=(), interval=5)  # type: ignore[arg-type]
    for name in names:
        feed.put(of_web(name))
    asked = []

    async def all_of_the_account(request: Request) -> Response:
        asked.append(request)
        shown = {"status": "success", "cpu_time_ms": 1, "rss_bytes": 1}
        uuids = ["somebody-elses", *(f"uuid-of-{name}" for name in names)]
        items = [{**shown, "uuid": uuid} for uuid in uuids]
        return Response(body=orjson.dumps({"status": "success", "data": {"instances": items}}))

    access = CloudAccess(base_url="http://cloud.test", token=lambda: "token")
    cloud = CloudClient(access, transport=MemoryTransport(all_of_the_account, nursery))
    usage = await UsageSource(cloud, pods, feed).read()
    assert (len(usage.containers), len(asked)) == (200, 1)

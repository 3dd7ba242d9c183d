"""What scrapers read off the node's port, while a whole daemon does its work in memory."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.cloud.faults import AnswerStatus, Delay, DropBefore
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from tests.log_reader import open_ports
from tests.manifests import NODE, a_claim, a_container, a_pod, a_service
from tests.world import World, a_world

PORT = 10250
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        await open_for_scrapers(world)
        yield world


async def open_for_scrapers(world: World) -> None:
    open_ports(world)
    await world.start_daemon()


async def ask(world: World, path: str, query: str = "") -> bytes:
    account = {"metadata": {"namespace": "default", "name": "scraper", "uid": "1"}}
    token = world.cluster.identities.issue(account, (), 3600, utc_now())
    response = await world.ports[PORT](
        Request(
            method="GET",
            path=path,
            query_string=query,
            headers={"authorization": f"Bearer {token}"},
        )
    )
    assert response.status == 200, response.body
    return response.body


async def scrape(world: World, path: str) -> dict[tuple[str, ...], float]:
    """Values by name and the values of the labels, in order."""
    text = (await ask(world, path)).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def metrics_requests(world: World) -> int:
    return len(world.requests("GET", "/v1/instances/metrics"))


async def test_each_container_has_a_sample_as_soon_as_its_pod_is_ready(autojump_clock, world):
    world.apply(a_pod("web", *(a_container(name) for name in ("one", "two", "three"))))
    await ask(world, "/metrics/resource")
    await world.eventually(world.is_ready, every=0.01)
    use = await scrape(world, "/metrics/resource")
    for name in ("one", "two", "three"):
        assert use["container_cpu_usage_seconds_total", name, "web", "default"] > 0
        assert use["container_memory_working_set_bytes", name, "web", "default"] == 16 * 2**20
    assert use["pod_memory_working_set_bytes", "default", "web"] == 48 * 2**20
    assert use["node_memory_working_set_bytes",] == 48 * 2**20
    assert use["resource_scrape_error",] == 0


async def test_a_restart_begins_a_new_count_and_the_node_counts_on(autojump_clock, world):
    world.script("busy", busy_cpus=0.5)
    world.apply(a_pod("web", a_container(image="busy")))
    await world.eventually(world.is_ready)
    await trio.sleep(100)
    series = ("app", "web", "default")
    before = await scrape(world, "/metrics/resource")
    assert before["container_cpu_usage_seconds_total", *series] == pytest.approx(50, abs=2)
    world.end("web-app", 1)
    await world.eventually(lambda: world.container()["restartCount"] == 1)
    await world.eventually(world.is_ready)
    after = await scrape(world, "/metrics/resource")
    assert after["container_cpu_usage_seconds_total", *series] < 10
    start = "container_start_time_seconds"
    assert after[start, *series] > before[start, *series]
    assert after["node_cpu_usage_seconds_total",] >= before["node_cpu_usage_seconds_total",]


async def test_scrapes_leave_a_sleeper_asleep(autojump_clock):
    async with a_world(CloudSettings(idle_instances_go_to_standby=True)) as world:
        await open_for_scrapers(world)
        world.apply(a_service("web", {80: 8080}), a_pod("web", a_container(ports=[8080])))
        await world.eventually(lambda: "web-app" in world.instances())
        instance = world.instances()["web-app"]
        await world.eventually(lambda: instance.state == "standby")
        starts = instance.start_count
        for _ in range(20):
            use = await scrape(world, "/metrics/resource")
            assert use["container_memory_working_set_bytes", "app", "web", "default"] >= 1
            await trio.sleep(15)
        assert (instance.state, instance.start_count) == ("standby", starts)


async def test_an_ended_container_is_not_told_of(autojump_clock, world):
    world.script("job", run_seconds=5)
    world.apply(a_pod("web", a_container("job", image="job"), restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Running")
    assert any("job" in series for series in await scrape(world, "/metrics/resource"))
    await world.eventually(lambda: world.phase() == "Succeeded")
    assert not any("job" in series for series in await scrape(world, "/metrics/resource"))


async def test_all_forms_of_a_second_cost_one_request(autojump_clock, world):
    world.apply(*(a_pod(f"web-{number}") for number in range(20)))
    await world.eventually(lambda: world.are_ready(20))
    before = metrics_requests(world)
    async with trio.open_nursery() as nursery:
        for path in ("/metrics/resource", "/metrics/cadvisor", "/stats/summary"):
            nursery.start_soon(ask, world, path)
    assert metrics_requests(world) == before + 1


async def test_a_platform_that_is_away_is_told_of(autojump_clock, world):
    world.apply(a_pod("web"))
    await world.eventually(world.is_ready)
    world.cloud_faults.add(DropBefore(), times=math.inf, path="/v1/instances/metrics")
    use = await scrape(world, "/metrics/resource")
    assert use == {("resource_scrape_error",): 1, ("scrape_error",): 1}


async def test_the_summary_tells_of_the_nodes_pods(autojump_clock, world):
    world.apply(a_pod("web", a_container("one"), a_container("two")))
    await world.eventually(world.is_ready)
    summary: dict[str, Any] = orjson.loads(await ask(world, "/stats/summary"))
    assert summary["node"]["nodeName"] == NODE
    [pod] = summary["pods"]
    assert pod["podRef"]["uid"] == world.pod()["metadata"]["uid"]
    assert [one["name"] for one in pod["containers"]] == ["one", "two"]


async def test_volumes_of_claims_are_told_of(autojump_clock, world):
    database = a_pod("db", a_container(mounts={"data": "/data"}), claims={"data": "data"})
    world.apply(a_claim("data", "10Mi"), database, a_pod("web"))
    await world.eventually(lambda: world.is_ready("db"))
    told = await scrape(world, "/metrics")
    assert told["kubelet_volume_stats_capacity_bytes", "default", "data"] == 10 * 2**20
    assert told["kubelet_volume_stats_available_bytes", "default", "data"] == 10 * 2**20
    assert told["kubelet_volume_stats_used_bytes", "default", "data"] == 0
    lists = len(world.requests("GET", "/v1/volumes"))
    for _ in range(5):
        pods = orjson.loads(await ask(world, "/stats/summary"))["pods"]
        volumes = {pod["podRef"]["name"]: pod["volume"] for pod in pods}
        assert volumes["web"] == []
        assert volumes["db"][0]["pvcRef"] == {"name": "data", "namespace": "default"}
        await trio.sleep(5)
    assert len(world.requests("GET", "/v1/volumes")) - lists <= 1


async def test_volumes_of_a_silent_platform_are_left_out(autojump_clock, world):
    database = a_pod("db", a_container(mounts={"data": "/data"}), claims={"data": "data"})
    world.apply(a_claim("data", "10Mi"), database)
    await world.eventually(lambda: world.is_ready("db"))
    world.cloud_faults.add(DropBefore(), times=math.inf, path="/v1/volumes")
    told = await scrape(world, "/metrics")
    assert not any("kubelet_volume_stats" in series[0] for series in told)
    assert told["kubelet_running_pods",] == 1


async def test_probes_are_counted_until_their_pod_is_gone(autojump_clock, world):
    world.script("serves", ports={8080: "tcp"})
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 10}
    web = a_pod("web", a_container(image="serves", ports=[8080], livenessProbe=probe))
    world.apply(web)
    await world.eventually(world.is_ready)
    await trio.sleep(95)
    uid = world.pod()["metadata"]["uid"]
    probes = await scrape(world, "/metrics/probes")
    series = ("Liveness", "successful", "app", "web", "default", uid)
    assert 9 <= probes["prober_probe_total", *series] <= 11
    assert (
        probes["prober_probe_duration_seconds_count", "Liveness", "app", "web", "default"]
        == probes["prober_probe_total", *series]
    )
    world.delete(web)
    await world.eventually(lambda: not world.pods())
    await trio.sleep(1)
    assert await scrape(world, "/metrics/probes") == {}


async def test_the_daemon_tells_how_it_does(autojump_clock, world):
    world.script("gone", pull="fail")
    world.apply(
        *(a_pod(f"web-{number}") for number in range(3)), a_pod("no", a_container(image="gone"))
    )
    await world.eventually(lambda: sum(world.is_ready(name) for name in world.pod_names()) == 3)
    await trio.sleep(30)
    told = await scrape(world, "/metrics")
    assert told["kubelet_node_name", NODE] == 1
    assert told["kubelet_running_pods",] == 3
    assert told["kubelet_running_containers", "running"] == 3
    actors = ("working", "resting", "retrying", "crashed")
    assert sum(told["kraftlet_pod_actors", state] for state in actors) == 4
    assert told["kraftlet_pod_ready_duration_seconds_count",] == 3
    assert told["kubelet_pod_start_duration_seconds_count",] == 3
    assert told["kraftlet_pod_ready_duration_seconds_sum",] < 3
    assert told["kraftlet_cloud_feed_age_seconds",] < 10
    assert told["kraftlet_cloud_instances", "running"] == 3
    assert told["kraftlet_pod_actor_crashes_total",] == 0
    assert told["rest_client_requests_total", "200", "PATCH", "kubernetes.test"] >= 3
    assert told["kraftlet_cloud_requests_total", "200", "POST", "cloud.test"] >= 3
    assert told["process_resident_memory_bytes",] > 10**6


async def test_actors_that_work_and_that_wait_to_try_again_are_told_apart(autojump_clock, world):
    world.cloud_faults.add(AnswerStatus(400), method="POST", path="/v1/instances", body="nginx")
    world.cloud_faults.add(Delay(20), method="POST", path="/v1/instances", body="slow")
    world.apply(a_pod("refused"), a_pod("slow", a_container(image="slow")))
    await trio.sleep(0.5)
    told = await scrape(world, "/metrics")
    assert told["kraftlet_pod_actors", "retrying"] == 1
    assert told["kraftlet_pod_actors", "working"] == 1
    await world.eventually(lambda: world.are_ready(2))
    await trio.sleep(10)
    told = await scrape(world, "/metrics")
    assert told["kraftlet_pod_actors", "resting"] == 2
    assert told["kraftlet_pod_actor_longest_unanswered_seconds",] == 0


async def test_every_name_is_explained(autojump_clock, world):
    probe = {"exec": {"command": ["true"]}}
    world.apply(a_pod("web", a_container(readinessProbe=probe)))
    await trio.sleep(60)
    page = OPERATIONS.read_text()
    for path in ("/metrics", "/metrics/resource", "/metrics/cadvisor", "/metrics/probes"):
        lines = (await ask(world, path)).decode().splitlines()
        names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
        assert {name for name in names if f"`{name}`" not in page} == set()


async def test_every_page_can_be_read_by_others(autojump_clock, world):
    probe = {"exec": {"command": ["true"]}}
    world.apply(a_pod("web", a_container(readinessProbe=probe)))
    await trio.sleep(60)
    for path in ("/metrics", "/metrics/resource", "/metrics/cadvisor", "/metrics/probes"):
        names = [
            family.name
            for family in text_string_to_metric_families((await ask(world, path)).decode())
        ]
        assert names
        assert len(names) == len(set(names))

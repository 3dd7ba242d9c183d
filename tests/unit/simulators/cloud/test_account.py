"""Quotas, images, health, tokens, routes."""

import attrs
import httpx
import pytest

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.simulators.cloud.settings import EXAMPLE_HARD_QUOTAS


async def quotas(cloud):
    return await cloud.item("GET", "/users/quotas")


async def test_quotas_show_what_is_used_and_what_is_allowed(autojump_clock, cloud):
    first = await cloud.create(
        memory_mb=256,
        service_group={"services": [{"port": 443}, {"port": 80}]},
        volumes=[{"size_mb": 100, "at": "/data"}],
    )
    await cloud.item("POST", "/instances", {"image": "app"})
    read = await quotas(cloud)
    assert read["used"] == {
        "instances": 2,
        "live_instances": 1,
        "live_vcpus": 1,
        "live_memory_mb": 256,
        "service_groups": 1,
        "services": 2,
        "volumes": 1,
        "total_volume_mb": 100,
    }
    assert read["hard"]["instances"] == 64
    assert read["hard"]["live_instances"] == read["hard"]["live_vcpus"]
    assert read["limits"]["max_memory_mb"] == 8192
    await cloud.item("DELETE", f"/instances/{first['uuid']}")
    used = (await quotas(cloud))["used"]
    assert used == {**dict.fromkeys(used, 0), "instances": 1}


async def test_standby_uses_no_live_quota(autojump_clock, cloud):
    instance = await cloud.create()
    await cloud.wait(instance["uuid"], "running")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/suspend")
    await cloud.wait(instance["uuid"], "standby")
    assert (await quotas(cloud))["used"]["live_memory_mb"] == 0


@pytest.mark.parametrize(
    ("hard", "path", "body"),
    [
        ({"instances": 0}, "/instances", {"image": "app"}),
        ({"instances": 2}, "/instances", {"image": "app", "replicas": 2}),
        ({"service_groups": 0}, "/services", {"services": [{"port": 443}]}),
        ({"services": 1}, "/services", {"services": [{"port": 443}, {"port": 80}]}),
        (
            {"service_groups": 0},
            "/instances",
            {"image": "app", "service_group": {"services": [{"port": 443}]}},
        ),
        ({"volumes": 0}, "/volumes", {"size_mb": 10}),
        ({"total_volume_mb": 9}, "/volumes", {"size_mb": 10}),
        (
            {"total_volume_mb": 9},
            "/instances",
            {"image": "app", "volumes": [{"size_mb": 10, "at": "/data"}]},
        ),
    ],
)
async def test_create_over_the_quota_is_19_and_leaves_nothing(
    autojump_clock, cloud_of, hard, path, body
):
    cloud = await cloud_of(quotas=attrs.evolve(EXAMPLE_HARD_QUOTAS, **hard))
    failed = await cloud.item("POST", path, body)
    assert failed["error"] == 19
    assert failed["message"] == "Failed to create. Quota exceeded"
    used = (await quotas(cloud))["used"]
    assert used == dict.fromkeys(used, 0)


async def test_shrunken_quota_leaves_what_exists(autojump_clock, cloud):
    await cloud.create()
    cloud.simulator.account.hard = attrs.evolve(EXAMPLE_HARD_QUOTAS, instances=0)
    assert (await cloud.item("POST", "/instances", {"image": "app"}))["error"] == 19
    assert len(await cloud.items("GET", "/instances")) == 1


async def test_images_are_those_of_the_instances(autojump_clock, cloud):
    for tag in ("1", "1", "2"):
        await cloud.create(f"team/web:{tag}")
    images = await cloud.items("GET", "/images")
    user = cloud.simulator.account.uuid
    assert [(each["tags"], each["users"]) for each in images] == [(["1"], [user]), (["2"], [user])]
    [one] = await cloud.items("GET", "/images?tag=2")
    assert one["url"].startswith("team/web@sha256:")
    assert await cloud.items("GET", "/images?digest=sha256:0") == []


async def test_health_shows_the_checks(autojump_clock, cloud):
    cloud.simulator.account.health["images"] = "degraded"
    answer = await cloud.call("GET", "/healthz")
    assert answer["data"]["checks"] == {"images": "degraded", "systemd": "healthy"}


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
async def test_wrong_token_is_401(autojump_clock, cloud, nursery, headers):
    transport = MemoryTransport(cloud.simulator.handle, nursery)
    stranger = httpx.AsyncClient(transport=transport, base_url="http://cloud.test/v1")
    answer = await stranger.get("/instances", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["errors"] == [{"status": 401, "message": "Unauthorized"}]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/instances/u/v/w", 404),
        ("GET", "/instances/u/plugins/sandbox/", 404),
        ("POST", "/instances/start", 405),
        ("PUT", "/instances", 405),
        ("DELETE", "/users/quotas", 405),
    ],
)
async def test_unknown_routes_and_wrong_verbs(autojump_clock, cloud, method, path, status):
    assert (await cloud.send(method, path)).status_code == status


async def test_requests_are_counted_by_route(autojump_clock, cloud):
    instance = await cloud.create()
    await cloud.read(instance["uuid"])
    assert cloud.simulator.requests["POST /v1/instances"] == 1
    assert cloud.simulator.requests["GET /v1/instances/{u}"] == 2


async def test_simulator_that_does_not_run_says_so(autojump_clock, cloud_of):
    from kraftlet_trio.http.messages import Request
    from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

    with pytest.raises(RuntimeError, match="not running"):
        await CloudSimulator(token="t").handle(Request(method="GET", path="/v1/instances"))

"""Requests to plugins, as the metro's proxy passes them on."""

import pytest
import trio
import trio.testing

from kraftlet_trio.cloud.objects import QuotaUse
from kraftlet_trio.http.messages import json_response
from kraftlet_trio.simulators.cloud.runtime_virtual import VirtualRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings

SANDBOX = {"name": "sandbox", "image": "plugins/sandbox:latest", "config": {}}
OWN = {**SANDBOX, "name": "own", "authorization": {"type": "bearer", "token": "plugin-token"}}


@pytest.fixture
async def guarded(cloud_of):
    """A cloud whose instances answer for the sandbox plugin with what they were asked."""

    async def echo(request):
        if request.path == "/slow":
            await trio.sleep(1000)
        return json_response(
            {
                "method": request.method,
                "path": request.path,
                "query": request.query_string,
                "body": request.body.decode(),
                "headers": dict(request.headers),
            }
        )

    settings = CloudSettings(idle_instances_go_to_standby=True, resume_seconds=0.1)
    runtime = VirtualRuntime(settings)
    runtime.sandbox_handler = echo
    return await cloud_of(
        runtime=runtime,
        settings=settings,
        quotas=QuotaUse(
            instances=9,
            live_vcpus=9,
            live_memory_mb=256,
            services=9,
            service_groups=9,
            volumes=9,
            total_volume_mb=99,
        ),
    )


async def running(cloud, image="app", **members):
    instance = await cloud.create(image, plugins=[SANDBOX, OWN], **members)
    return await cloud.wait(instance["uuid"], "running")


def route(instance, rest="", plugin="sandbox"):
    return f"/instances/{instance['uuid']}/plugins/{plugin}/{rest}"


async def test_a_request_goes_on_without_its_token(autojump_clock, guarded):
    instance = await running(guarded)
    path = route(instance, "commands/a%2Fb?x=1")
    response = await guarded.send("PATCH", path, {"a": 1}, headers={"x-mine": "1"})
    seen = response.json()
    assert (seen["method"], seen["path"], seen["query"]) == ("PATCH", "/commands/a%2Fb", "x=1")
    assert seen["body"].replace(" ", "") == '{"a":1}'
    assert seen["headers"]["x-mine"] == "1"
    assert "authorization" not in seen["headers"]


async def test_there_is_no_plugin_where_none_serves(autojump_clock, guarded):
    booting = await guarded.create("slow", plugins=[SANDBOX])
    stopped = await guarded.create(autostart=False, plugins=[SANDBOX])
    instance = await running(guarded)
    unknown = {"uuid": "00000000-0000-4000-8000-000000000000"}
    for path in (
        route(booting),
        route(stopped),
        route(unknown),
        route({"uuid": "web"}),
        route(instance, plugin="other"),
    ):
        response = await guarded.send("GET", path)
        assert response.status_code == 404, path
        assert response.headers["content-type"] == "text/html"


async def test_a_plugin_with_a_token_refuses_the_platforms(autojump_clock, guarded):
    instance = await running(guarded)
    path = route(instance, plugin="own")
    assert (await guarded.send("GET", path)).status_code == 401
    own = {"authorization": "Bearer plugin-token"}
    assert (await guarded.send("GET", path, headers=own)).status_code == 200
    assert (await guarded.send("GET", route(instance), headers=own)).status_code == 401
    assert (await guarded.send("GET", "/instances", headers=own)).status_code == 401
    read = await guarded.read(instance["uuid"])
    assert read["plugins"][1]["authorization"] == {"type": "bearer"}


@pytest.mark.parametrize(
    "authorization", [{"type": "bearer"}, {"type": "bearer", "token": "x" * 257}]
)
async def test_a_bearer_plugin_needs_a_token(autojump_clock, cloud, authorization):
    plugin = {**SANDBOX, "authorization": authorization}
    answer = await cloud.item("POST", "/instances", {"image": "app", "plugins": [plugin]})
    assert answer["error"] == 7


@pytest.mark.parametrize(
    ("plugins", "code"),
    [
        ([{**SANDBOX, "rom": "plugins/sandbox:latest"}], 17),
        ([SANDBOX, SANDBOX], 7),
        ([{**SANDBOX, "name": f"p{number}"} for number in range(9)], 7),
        ([{**SANDBOX, "name": "a.b"}], 7),
    ],
    ids=["two images", "one name twice", "nine", "no name"],
)
async def test_plugins_that_the_platform_refuses(autojump_clock, cloud, plugins, code):
    answer = await cloud.item("POST", "/instances", {"image": "app", "plugins": plugins})
    assert answer["error"] == code


async def test_the_proxy_ends_a_request_after_60_seconds(autojump_clock, guarded):
    instance = await running(guarded)
    began = trio.current_time()
    response = await guarded.send("GET", route(instance, "slow"))
    assert response.status_code == 504
    assert response.headers["content-type"] == "text/html"
    assert trio.current_time() - began == pytest.approx(60)


async def test_a_request_wakes_a_standby_instance(autojump_clock, guarded):
    instance = await running(guarded, scale_to_zero={"policy": "on", "cooldown_time_ms": 1000})
    await guarded.wait(instance["uuid"], "standby")
    assert (await guarded.send("GET", route(instance, "commands"))).status_code == 200
    assert (await guarded.read(instance["uuid"]))["state"] == "running"


async def test_an_instance_that_cannot_wake_is_a_bad_gateway(autojump_clock, guarded):
    instance = await running(guarded, scale_to_zero={"policy": "on", "cooldown_time_ms": 1000})
    await guarded.wait(instance["uuid"], "standby")
    await guarded.create(memory_mb=256)
    assert (await guarded.send("GET", route(instance))).status_code == 502
    assert (await guarded.read(instance["uuid"]))["state"] == "standby"


async def test_scripted_guests_have_no_sandbox(autojump_clock, cloud):
    instance = await running(cloud)
    assert (await cloud.send("GET", route(instance, "commands"))).status_code == 404

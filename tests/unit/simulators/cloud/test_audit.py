"""The audit stream of the simulated cloud."""

import json
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from kraftlet_trio.cloud.objects import QuotaUse
from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.cloud.settings import EXAMPLE_HARD_QUOTAS, CloudSettings

TOKEN = "secret"


@asynccontextmanager
async def listening(cloud, query=""):
    """Yields a function that returns the next frame: its type and its document."""
    path, _, query_string = f"/v1/audit{query}".partition("?")
    response = await cloud.simulator.handle(
        Request(
            method="GET",
            path=path,
            query_string=query_string,
            headers={"authorization": f"Bearer {TOKEN}"},
        )
    )
    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream"
    send, receive = trio.open_memory_channel(0)

    async def pump():
        async with send:
            await response.stream(send.send)

    async def next_frame():
        return _parse(await receive.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        yield next_frame
        nursery.cancel_scope.cancel()


def _parse(frame):
    if frame.startswith(b":"):
        return frame.decode().strip(), None
    first, second, *rest = frame.decode().split("\n")
    assert rest == ["", ""]
    return first.removeprefix("event: "), json.loads(second.removeprefix("data: "))


async def frames(next_frame, count):
    return [(await next_frame())[1] for _ in range(count)]


def changes(documents):
    return [(each["data"]["prev"], each["data"]["new"]) for each in documents]


async def test_a_start_and_a_stop_are_told_each_as_one_operation(autojump_clock, cloud):
    async with listening(cloud) as next_frame:
        instance = await cloud.create(tags=["k8s.io:pod=web-0"])
        await cloud.wait(instance["uuid"], "running")
        await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
        started, running, stopping, stopped = await frames(next_frame, 4)
    assert changes([started, running, stopping, stopped]) == [
        ("stopped", "starting"),
        ("starting", "running"),
        ("running", "stopping"),
        ("stopping", "stopped"),
    ]
    triggers = [each["attribution"]["trigger"] for each in (started, running, stopping, stopped)]
    assert triggers == ["requested", "observed", "requested", "observed"]
    assert started["attribution"]["operation"] == running["attribution"]["operation"]
    assert stopping["attribution"]["operation"] == stopped["attribution"]["operation"]
    assert started["attribution"]["operation"] != stopped["attribution"]["operation"]
    assert stopped["attribution"]["kind"] == "stop"
    assert stopped["attribution"]["origin"] == "api"
    assert stopped["object"]["tags"] == ["k8s.io:pod=web-0"]
    assert stopped["object"]["uuid"] == instance["uuid"]
    assert stopped["data"]["stop"] == {
        "reason": ["sys-exit", "app-exit", "ukpd", "api"],
        "code": 33024,
        "exit_code": 0,
    }


async def test_a_refused_start_fails_without_a_change(autojump_clock, cloud_of):
    cloud = await cloud_of(quotas=QuotaUse(instances=4, live_vcpus=4, live_memory_mb=100))
    async with listening(cloud) as next_frame:
        await cloud.create(memory_mb=128)
        kind, document = await next_frame()
    assert kind == "vm.start_failed"
    assert document["data"] == {
        "state": "stopped",
        "error": "EDQUOT",
        "stop": {"reason": ["ukpd"], "cause": "quota-exceeded"},
    }


async def test_an_image_that_cannot_be_had_is_the_cause(autojump_clock, cloud):
    async with listening(cloud) as next_frame:
        await cloud.create("unpullable")
        _, (last) = await frames(next_frame, 2)
    assert last["data"]["stop"] == {"reason": ["ukpd"], "cause": "image-unavailable"}


async def test_silence_is_broken_by_heartbeats_every_30_seconds(autojump_clock, cloud):
    async with listening(cloud) as next_frame:
        began = trio.current_time()
        assert await next_frame() == (": heartbeat", None)
        assert trio.current_time() - began == pytest.approx(30)
        await cloud.create()
        kind, _ = await next_frame()
        assert kind == "vm.state_change"
        await next_frame()
        spoken = trio.current_time()
        assert await next_frame() == (": heartbeat", None)
        assert trio.current_time() - spoken == pytest.approx(30, abs=0.1)


async def test_nothing_is_replayed(autojump_clock, cloud):
    instance = await cloud.create()
    await cloud.wait(instance["uuid"], "running")
    async with listening(cloud) as next_frame:
        assert await next_frame() == (": heartbeat", None)


async def test_filters_must_all_match(autojump_clock, cloud):
    one = await cloud.create("app", tags=["a", "b"], autostart=False)
    two = await cloud.create("app", tags=["a"], autostart=False)
    queries = {
        "?tags=a,b": [one],
        "?tags=a": [one, two],
        f"?uuid={two['uuid']}": [two],
        f"?uuid={one['uuid']},{two['uuid']}&tags=b": [one],
        f"?uuid={one['uuid']}&uuid={two['uuid']}": [two],  # of a repeated one the last counts
        "?events=vm.state_change&events=": [one, two],
        "?events=vm.start_failed": [],
    }
    for query, expected in queries.items():
        heard = []
        async with listening(cloud, query) as next_frame:
            for instance in (one, two):
                await cloud.item("PUT", f"/instances/{instance['uuid']}/start")
                await cloud.wait(instance["uuid"], "running")
                await cloud.item("PUT", f"/instances/{instance['uuid']}/stop", {"force": True})
            while (frame := await next_frame())[1] is not None:
                heard.append(frame[1]["object"]["uuid"])
        assert list(dict.fromkeys(heard)) == [each["uuid"] for each in expected], query


@pytest.mark.parametrize(
    "query", ["?since=1", "?uuid=web", "?tags=a%2Cb", "?events=vm.created", "?events=gap"]
)
async def test_what_cannot_be_filtered_by_is_400(autojump_clock, cloud, query):
    response = await cloud.send("GET", f"/audit{query}")
    assert response.status_code == 400
    assert response.json()["status"] == "error"


async def test_a_body_is_400(autojump_clock, cloud):
    assert (await cloud.send("GET", "/audit", {})).status_code == 400


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(audit_backlog=3))
    async with listening(cloud) as next_frame:
        await next_frame()  # a heartbeat: from now on it is slow
        instance = await cloud.create()
        await cloud.wait(instance["uuid"], "running")
        for _ in range(2):
            await cloud.item("PUT", f"/instances/{instance['uuid']}/stop", {"force": True})
            await cloud.item("PUT", f"/instances/{instance['uuid']}/start")
            await cloud.wait(instance["uuid"], "running")
        seen = [await next_frame() for _ in range(6)]
    # One frame was on its way already, and three are kept.
    kinds = [kind for kind, _ in seen]
    assert kinds[1] == "gap"
    assert seen[1][1] == {"dropped": 4}
    assert kinds.count("vm.state_change") == 4
    assert kinds[-1] == ": heartbeat"


async def test_the_65th_subscriber_is_turned_away(autojump_clock, cloud):
    async with trio.open_nursery() as nursery:
        ready = trio.Semaphore(0)

        async def subscribe():
            async with listening(cloud):
                ready.release()
                await trio.sleep_forever()

        for _ in range(64):
            nursery.start_soon(subscribe)
        for _ in range(64):
            await ready.acquire()
        assert (await cloud.send("GET", "/audit")).status_code == 429
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    async with listening(cloud):
        pass


async def test_the_stream_may_be_unavailable(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(audit_refusal_status=403))
    assert (await cloud.send("GET", "/audit")).status_code == 403


async def test_connections_can_be_cut(autojump_clock, cloud):
    async with listening(cloud) as next_frame:
        await trio.testing.wait_all_tasks_blocked()
        cloud.simulator.audit.cut()
        with pytest.raises(trio.EndOfChannel):
            await next_frame()


async def test_scaling_to_zero_has_an_origin_of_its_own(autojump_clock, cloud_of):
    cloud = await cloud_of(
        settings=CloudSettings(idle_instances_go_to_standby=True), quotas=EXAMPLE_HARD_QUOTAS
    )
    async with listening(cloud) as next_frame:
        await cloud.create(
            service_group={"services": [{"port": 443}]},
            scale_to_zero={"policy": "on", "cooldown_time_ms": 1000},
        )
        documents = await frames(next_frame, 4)
    assert changes(documents)[2:] == [("running", "stopping"), ("stopping", "standby")]
    assert {each["attribution"]["origin"] for each in documents[2:]} == {"scale-to-zero"}
    assert "scale-to-zero" in documents[-1]["data"]["stop"]["reason"]

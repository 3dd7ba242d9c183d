"""Waits, logs and metrics."""

from base64 import b64decode

import pytest
import trio

from kraftlet_trio.simulators.cloud.settings import CloudSettings


async def test_wait_options_count_only_in_the_body(autojump_clock, cloud):
    instance = await cloud.create("slow")
    path = f"/instances/{instance['uuid']}/wait"
    began = trio.current_time()
    ignored = await cloud.item("GET", f"{path}?state=stopped&timeout_s=10")
    assert ignored["status"] == "error"
    assert trio.current_time() == began
    assert (await cloud.item("GET", path, {"timeout_s": 60}))["state"] == "running"


async def test_lapsed_wait_is_an_error_without_code(autojump_clock, cloud):
    instance = await cloud.create()
    answer = await cloud.call(
        "GET", f"/instances/{instance['uuid']}/wait", {"state": "stopped", "timeout_s": 30}
    )
    assert (answer["status"], answer["message"]) == ("error", "Operation timed out")
    [item] = answer["data"]["instances"]
    assert item["state"] == "running"
    assert "error" not in item


async def test_bulk_wait_waits_for_all_at_once(autojump_clock, cloud):
    first, second = await cloud.create("job"), await cloud.create("slow")
    began = trio.current_time()
    answer = await cloud.call(
        "GET",
        "/instances/wait",
        [
            {"uuid": first["uuid"], "state": "stopped", "timeout_s": 30},
            {"name": second["name"], "timeout_s": 10},
            {"name": "ghost", "timeout_s": 10},
        ],
    )
    assert [item["status"] for item in answer["data"]["instances"]] == ["success", "error", "error"]
    assert trio.current_time() - began == 10


async def test_wait_identified_by_the_query(autojump_clock, cloud):
    instance = await cloud.create()
    await cloud.wait(instance["uuid"], "running")
    waited = await cloud.item("GET", f"/instances/wait?name={instance['name']}")
    assert waited["status"] == "success"


async def test_wait_on_an_instance_that_is_deleted_meanwhile_is_8(autojump_clock, cloud, nursery):
    instance = await cloud.create()

    async def delete_soon() -> None:
        await trio.sleep(5)
        await cloud.item("DELETE", f"/instances/{instance['uuid']}")

    nursery.start_soon(delete_soon)
    item = await cloud.item(
        "GET", f"/instances/{instance['uuid']}/wait", {"state": "stopped", "timeout_s": -1}
    )
    assert item["error"] == 8
    assert trio.current_time() < 10


async def test_wait_for_an_unknown_state_is_refused(autojump_clock, cloud):
    instance = await cloud.create()
    item = await cloud.item("GET", f"/instances/{instance['uuid']}/wait", {"state": "ready"})
    assert item["error"] == 7


async def read_log(cloud, uuid, **options) -> tuple[bytes, dict]:
    item = await cloud.item("GET", f"/instances/{uuid}/log", options)
    return b64decode(item["output"]), item


async def test_log_is_read_by_offset_and_limit(autojump_clock, cloud):
    job = await cloud.create("job")
    await cloud.wait(job["uuid"], "running")
    whole, item = await read_log(cloud, job["uuid"])
    assert whole == b"working\n"
    assert item["available"] == item["range"] == {"start": 0, "end": 8}
    assert (await read_log(cloud, job["uuid"], offset=3, limit=2))[0] == b"ki"
    assert (await read_log(cloud, job["uuid"], offset=-3))[0] == b"ng\n"
    nothing, item = await read_log(cloud, job["uuid"], offset=100)
    assert (nothing, item["range"]) == (b"", {"start": 8, "end": 8})


async def test_log_options_count_only_in_the_body(autojump_clock, cloud):
    job = await cloud.create("job")
    await cloud.wait(job["uuid"], "running")
    item = await cloud.item("GET", f"/instances/log?name={job['name']}&offset=3&limit=1")
    assert b64decode(item["output"]) == b"working\n"


async def test_log_survives_restarts_in_one_offset_space(autojump_clock, cloud):
    job = await cloud.create("job")
    await cloud.wait(job["uuid"], "stopped")
    await cloud.item("PUT", f"/instances/{job['uuid']}/start", {"timeout_s": 5})
    assert (await read_log(cloud, job["uuid"]))[0] == b"working\nworking\n"


async def test_old_log_is_dropped_and_a_read_is_capped(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(log_bytes=10, log_bytes_a_read=4))
    job = await cloud.create("job")
    await cloud.wait(job["uuid"], "stopped")
    await cloud.item("PUT", f"/instances/{job['uuid']}/start", {"timeout_s": 5})
    output, item = await read_log(cloud, job["uuid"], limit=100)
    assert item["available"] == {"start": 6, "end": 16}
    assert item["range"] == {"start": 6, "end": 10}
    assert output == b"g\nwo"


async def test_metrics_of_all_or_of_some(autojump_clock, cloud):
    first, second = await cloud.create(), await cloud.create("job")
    await cloud.wait(second["uuid"], "stopped")
    everyone = await cloud.items("GET", "/instances/metrics")
    assert {item["uuid"] for item in everyone} == {first["uuid"], second["uuid"]}
    joined = f"/instances/metrics?uuid={second['uuid']},{first['uuid']}"
    assert [item["state"] for item in await cloud.items("GET", joined)] == ["stopped", "running"]
    stopped = await cloud.item("GET", f"/instances/{second['uuid']}/metrics")
    assert stopped["rss_bytes"] == 0
    assert stopped["uptime_ms"] == 3000


@pytest.mark.parametrize("path", ["/instances/wait", "/instances/log", "/instances/metrics"])
async def test_missing_instances_are_item_errors(autojump_clock, cloud, path):
    assert (await cloud.item("GET", f"{path}?name=ghost"))["error"] == 8


async def test_metrics_are_prometheus_text_unless_json_is_accepted(autojump_clock, cloud):
    instance = await cloud.create("job")
    await cloud.wait(instance["uuid"], "stopped")
    answer = await cloud.send("GET", "/instances/metrics", headers={"accept": "text/plain"})
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    label = f'{{instance_uuid="{instance["uuid"]}"}}'
    assert f"instance_state{label} 0" in lines
    assert f"instance_uptime_s{label} 3.0" in lines
    assert f"instance_start_count{label} 1" in lines

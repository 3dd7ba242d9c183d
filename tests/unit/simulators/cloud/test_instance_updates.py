import pytest


async def stopped_instance(cloud, **members):
    created = await cloud.item("POST", "/instances", {"image": "app", **members})
    return created["uuid"]


async def patch(cloud, uuid, prop, op, *value):
    body = {"prop": prop, "op": op}
    if value:
        [body["value"]] = value
    return await cloud.item("PATCH", f"/instances/{uuid}", body)


@pytest.mark.parametrize(
    ("prop", "before", "op", "value", "after"),
    [
        ("args", ["a"], "set", ["b", "c"], ["b", "c"]),
        ("args", ["a"], "set", "b", ["b"]),
        ("args", ["a"], "add", ["b"], ["a", "b"]),
        ("env", {"A": "1"}, "set", {"B": "2"}, {"B": "2"}),
        ("env", {"A": "1"}, "add", {"A": "2", "B": "2"}, {"A": "2", "B": "2"}),
        ("env", {"A": "1", "B": "2"}, "del", "A", {"B": "2"}),
        ("env", {"A": "1", "B": "2", "C": "3"}, "del", ["A", "B"], {"C": "3"}),
        ("memory_mb", 128, "set", 256, 256),
        ("tags", ["a"], "add", ["a", "b"], ["a", "b"]),
        ("tags", ["a", "b"], "del", ["a"], ["b"]),
        ("annotations", {"a": "1"}, "add", {"b": "2"}, {"a": "1", "b": "2"}),
        ("delete_lock", None, "set", True, True),
        ("autokill", None, "set", {"time_ms": 5}, {"time_ms": 5, "num_requests": 0}),
    ],
)
async def test_stopped_instance_changes_at_once(
    autojump_clock, cloud, prop, before, op, value, after
):
    uuid = await stopped_instance(cloud, **({} if before is None else {prop: before}))
    assert (await patch(cloud, uuid, prop, op, value))["status"] == "success"
    assert (await cloud.read(uuid))[prop] == after


@pytest.mark.parametrize("prop", ["args", "env", "tags", "annotations"])
async def test_set_without_a_value_clears(autojump_clock, cloud, prop):
    filled = {"args": ["a"], "env": {"A": "1"}, "tags": ["a"], "annotations": {"a": "1"}}
    uuid = await stopped_instance(cloud, **filled)
    await patch(cloud, uuid, prop, "set")
    assert prop not in await cloud.read(uuid)


@pytest.mark.parametrize("prop", ["args", "env", "tags", "annotations"])
async def test_del_without_a_value_is_refused(autojump_clock, cloud, prop):
    uuid = await stopped_instance(cloud)
    assert (await patch(cloud, uuid, prop, "del"))["error"] == 16


async def test_scalars_can_only_be_set(autojump_clock, cloud):
    uuid = await stopped_instance(cloud)
    assert (await patch(cloud, uuid, "memory_mb", "add", 1))["error"] == 16
    assert (await patch(cloud, uuid, "delete_lock", "del", True))["error"] == 16


@pytest.mark.parametrize(
    "prop", ["name", "restart_policy", "service_group", "volumes", "autostart", "nonsense"]
)
async def test_fixed_properties_are_refused(autojump_clock, cloud, prop):
    uuid = await stopped_instance(cloud)
    assert (await patch(cloud, uuid, prop, "set", "x"))["error"] == 7


async def test_invalid_values_are_refused_and_change_nothing(autojump_clock, cloud):
    uuid = await stopped_instance(cloud)
    before = await cloud.read(uuid)
    assert (await patch(cloud, uuid, "memory_mb", "set", 1))["error"] == 7
    assert (await patch(cloud, uuid, "tags", "set", ["?"]))["error"] == 7
    assert (await patch(cloud, uuid, "memory_mb", "grow", 1))["error"] == 7
    assert (await patch(cloud, uuid, "memory_mb", "set", "1"))["error"] == 16
    assert await cloud.read(uuid) == before


async def test_running_instance_changes_when_it_stops(autojump_clock, cloud):
    uuid = (await cloud.create(env={"A": "1"}))["uuid"]
    await patch(cloud, uuid, "env", "add", {"B": "2"})
    await patch(cloud, uuid, "memory_mb", "set", 256)
    running = await cloud.read(uuid)
    assert (running["env"], running["memory_mb"]) == ({"A": "1"}, 128)
    assert running["updates"][0] == {
        "prop": "env",
        "op": "add",
        "value": {"B": "2"},
        "status": "pending",
    }
    await cloud.item("PUT", f"/instances/{uuid}/stop")
    stopped = await cloud.wait(uuid, "stopped")
    assert (stopped["env"], stopped["memory_mb"]) == ({"A": "1", "B": "2"}, 256)
    assert "updates" not in stopped


async def test_suspending_applies_what_is_queued(autojump_clock, cloud):
    uuid = (await cloud.create())["uuid"]
    await cloud.wait(uuid, "running")
    await patch(cloud, uuid, "args", "set", ["x"])
    await cloud.item("PUT", f"/instances/{uuid}/suspend")
    assert (await cloud.wait(uuid, "standby"))["args"] == ["x"]


async def test_update_that_fails_at_the_stop_stays_listed(autojump_clock, cloud):
    uuid = (await cloud.create())["uuid"]
    await patch(cloud, uuid, "tags", "set", ["kept"])
    await patch(cloud, uuid, "memory_mb", "set", 4096)
    cloud.simulator.account.limits = type(cloud.simulator.account.limits)(
        min_memory_mb=16, max_memory_mb=512, max_vcpus=1
    )
    await cloud.item("PUT", f"/instances/{uuid}/stop", {"force": True})
    stopped = await cloud.read(uuid)
    assert stopped["memory_mb"] == 128
    assert stopped["updates"][0]["status"] == "failed"
    assert "4096" in stopped["updates"][0]["error"]


async def test_bookkeeping_changes_at_once_on_a_running_instance(autojump_clock, cloud):
    uuid = (await cloud.create())["uuid"]
    await patch(cloud, uuid, "tags", "set", ["a"])
    read = await cloud.read(uuid)
    assert read["tags"] == ["a"]
    assert "updates" not in read


async def test_bulk_operations_apply_in_order_and_echo_their_ids(autojump_clock, cloud):
    uuid = await stopped_instance(cloud, name="web")
    outcomes = await cloud.items(
        "PATCH",
        "/instances",
        [
            {"name": "web", "id": "1", "prop": "tags", "op": "set", "value": ["a", "b"]},
            {"uuid": uuid, "id": "2", "prop": "tags", "op": "del", "value": ["a"]},
            {"name": "ghost", "prop": "tags", "op": "set"},
        ],
    )
    assert [outcome.get("id") for outcome in outcomes] == ["1", "2", None]
    assert outcomes[2]["error"] == 8
    assert (await cloud.read(uuid))["tags"] == ["b"]


async def test_value_of_a_wrong_type_fails_alone(autojump_clock, cloud):
    uuid = await stopped_instance(cloud)
    operations = [
        {"uuid": uuid, "prop": "tags", "op": "set", "value": ["a"]},
        {"uuid": uuid, "prop": "tags", "op": "set", "value": 1},
    ]
    answer = await cloud.call("PATCH", "/instances", operations)
    assert answer["status"] == "partial_success"
    assert (await cloud.read(uuid))["tags"] == ["a"]


async def test_malformed_operation_is_400_and_nothing_is_done(autojump_clock, cloud):
    uuid = await stopped_instance(cloud)
    operations = [
        {"uuid": uuid, "prop": "tags", "op": "set", "value": ["a"]},
        {"uuid": uuid, "prop": "tags", "op": "set", "worth": 1},
    ]
    assert (await cloud.send("PATCH", "/instances", operations)).status_code == 400
    assert "tags" not in await cloud.read(uuid)


async def test_scale_to_zero_needs_a_group_here_too(autojump_clock, cloud):
    policy = {"policy": "on"}
    alone = await stopped_instance(cloud)
    assert (await patch(cloud, alone, "scale_to_zero", "set", policy))["error"] == 7
    grouped = await stopped_instance(cloud, service_group={"services": [{"port": 443}]})
    await patch(cloud, grouped, "scale_to_zero", "set", policy)
    assert (await cloud.read(grouped))["scale_to_zero"]["enabled"]


async def test_image_and_roms_change(autojump_clock, cloud):
    uuid = await stopped_instance(cloud, roms=[{"name": "a", "files": []}])
    before = await cloud.read(uuid)
    await patch(cloud, uuid, "image", "set", {"url": "other"})
    await patch(cloud, uuid, "roms", "add", [{"name": "b", "image": "rom"}])
    await patch(cloud, uuid, "roms", "del", ["a"])
    after = await cloud.read(uuid)
    assert after["image"] != before["image"]
    assert [rom["name"] for rom in after["roms"]] == ["b"]


async def test_schedules_are_told_apart_by_name(autojump_clock, cloud):
    uuid = await stopped_instance(cloud)
    nightly = {"name": "nightly", "when": "*-*-* 02:00:00", "action": "stop"}
    leap = {"name": "leap", "when": "2-29", "action": "exec", "args": ["date"]}
    await patch(cloud, uuid, "schedules", "set", [nightly, leap])
    await patch(cloud, uuid, "schedules", "add", {**nightly, "action": "start"})
    schedules = (await cloud.read(uuid))["schedules"]
    assert [(each["name"], each["action"]) for each in schedules] == [
        ("leap", "exec"),
        ("nightly", "start"),
    ]
    assert schedules[1]["next_at"].endswith("T02:00:00Z")
    await patch(cloud, uuid, "schedules", "del", ["leap", "nightly"])
    assert "schedules" not in await cloud.read(uuid)


async def test_dependencies_must_be_there(autojump_clock, cloud):
    first, second = await stopped_instance(cloud), await stopped_instance(cloud)
    one = {"uuid": first}
    assert (await patch(cloud, second, "dependencies", "set", [one]))["status"] == "success"
    assert (await patch(cloud, second, "dependencies", "del", [one]))["status"] == "success"
    gone = [{"name": "gone"}]
    assert (await patch(cloud, second, "dependencies", "add", gone))["error"] == 8


async def test_priorities_are_not_for_everybody(autojump_clock, cloud):
    uuid = await stopped_instance(cloud)
    assert (await patch(cloud, uuid, "sched_priority", "set", "high"))["error"] == 14
    assert (await patch(cloud, uuid, "sched_priority", "set"))["status"] == "success"

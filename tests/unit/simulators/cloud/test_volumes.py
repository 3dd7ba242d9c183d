import pytest
import trio

from kraftlet_trio.simulators.cloud.settings import CloudSettings


async def volume(cloud, **members):
    created = await cloud.item("POST", "/volumes", {"size_mb": 100, **members})
    assert created["status"] == "success", created
    return await cloud.read(created["uuid"], "volumes")


async def stopped(cloud, **members):
    created = await cloud.item("POST", "/instances", {"image": "app", **members})
    assert created["status"] == "success", created
    return created


async def test_create_answers_reference_and_state_only(autojump_clock, cloud):
    created = await cloud.item("POST", "/volumes", {"size_mb": 100})
    assert created.keys() == {"status", "uuid", "name", "state"}
    assert created["name"].startswith("vol-")


async def test_volume_is_read_with_defaults(autojump_clock, cloud):
    read = await volume(cloud, name="data", tags=["a"])
    assert read["state"] == "available"
    assert read["persistent"]
    assert (read["access_mode"], read["filesystem"], read["quota_policy"]) == (
        "rwo",
        "ext4",
        "static",
    )
    assert (read["size_mb"], read["free_mb"], read["tags"]) == (100, 100, ["a"])
    assert read["attached_to"] == read["mounted_by"] == []


async def test_volume_is_formatted_first(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(format_seconds=5))
    made = await volume(cloud)
    assert made["state"] == "initializing"
    await cloud.wait((await cloud.create("slow"))["uuid"], "running")
    assert (await cloud.read(made["uuid"], "volumes"))["state"] == "available"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"size_mb": 7}, 7),
        ({"size_mb": 20481}, 7),
        ({"size_mb": 10, "access_mode": "rwx"}, 7),
        ({"size_mb": 10, "access_mode": "all"}, 7),
        ({"size_mb": 10, "filesystem": "fat"}, 7),
        ({"size_mb": 10, "quota_policy": "none"}, 7),
        ({"size_mb": 10, "tags": [""]}, 7),
        ({"size_mb": 10, "name": "a_b"}, 7),
        ({"template": {"name": "t"}}, 8),
        ({"host_path": "/x"}, 14),
    ],
)
async def test_values_out_of_the_rules_fail(autojump_clock, cloud, members, code):
    assert (await cloud.item("POST", "/volumes", members))["error"] == code
    assert await cloud.items("GET", "/volumes") == []


@pytest.mark.parametrize("members", [{}, {"size_mb": 1.5}])
async def test_malformed_volumes_are_400(autojump_clock, cloud, members):
    assert (await cloud.send("POST", "/volumes", members)).status_code == 400


async def test_name_taken_is_23(autojump_clock, cloud):
    await volume(cloud, name="data")
    assert (await cloud.item("POST", "/volumes", {"name": "data", "size_mb": 10}))["error"] == 23


async def test_state_follows_the_instance(autojump_clock, cloud):
    made = await volume(cloud, name="data")
    instance = await stopped(cloud, volumes=[{"name": "data", "at": "/data"}])

    async def state():
        read = await cloud.read(made["uuid"], "volumes")
        return read["state"], len(read["attached_to"]), len(read["mounted_by"])

    assert await state() == ("idle", 1, 0)
    await cloud.item("PUT", f"/instances/{instance['uuid']}/start", {"timeout_s": 5})
    assert await state() == ("mounted", 1, 1)
    await cloud.item("PUT", f"/instances/{instance['uuid']}/suspend")
    await cloud.wait(instance["uuid"], "standby")
    assert await state() == ("mounted", 1, 1)
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    assert await state() == ("idle", 1, 0)
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    assert await state() == ("available", 0, 0)


async def test_rwo_is_for_one_running_instance(autojump_clock, cloud):
    await volume(cloud, name="data")
    mount = [{"name": "data", "at": "/data"}]
    first = await cloud.create(volumes=mount)
    refused = await cloud.item(
        "POST", "/instances", {"image": "app", "autostart": True, "volumes": mount}
    )
    assert refused["error"] == 10
    assert "EBUSY" in refused["message"]
    second = await stopped(cloud, volumes=mount)
    start = f"/instances/{second['uuid']}/start"
    assert "EBUSY" in (await cloud.item("PUT", start))["message"]
    await cloud.item("DELETE", f"/instances/{first['uuid']}")
    assert (await cloud.item("PUT", start))["status"] == "success"


@pytest.mark.parametrize(
    ("members", "readonly", "together"),
    [
        ({"access_mode": "rox"}, True, True),
        ({}, True, False),
        ({"access_mode": "rwx", "filesystem": "virtiofs"}, False, True),
    ],
)
async def test_shared_modes(autojump_clock, cloud, members, readonly, together):
    await volume(cloud, name="data", **members)
    mount = [{"name": "data", "at": "/data", "readonly": readonly}]
    await cloud.create(volumes=mount)
    second = await cloud.item(
        "POST", "/instances", {"image": "app", "autostart": True, "volumes": mount}
    )
    assert (second["status"] == "success") is together


async def test_rox_is_for_reading_only(autojump_clock, cloud):
    made = await volume(cloud, name="data", access_mode="rox")
    refused = await cloud.item(
        "POST", "/instances", {"image": "app", "volumes": [{"name": "data", "at": "/data"}]}
    )
    assert refused["error"] == 7
    assert "read-only" in refused["message"]
    await stopped(cloud, name="web")
    attach = {"attach_to": {"name": "web"}, "at": "/data"}
    assert (await cloud.item("PUT", f"/volumes/{made['uuid']}/attach", attach))["error"] == 7


async def test_volume_is_mounted_once_it_is_formatted(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(format_seconds=5))
    await volume(cloud, name="data")
    web = {"image": "app", "autostart": True, "volumes": [{"name": "data", "at": "/data"}]}
    assert "EBUSY" in (await cloud.item("POST", "/instances", web))["message"]
    await trio.sleep(5)
    assert (await cloud.item("POST", "/instances", web))["status"] == "success"


async def test_attached_volume_is_not_deleted(autojump_clock, cloud):
    made = await volume(cloud, name="data")
    instance = await stopped(cloud, volumes=[{"name": "data", "at": "/data"}])
    path = f"/volumes/{made['uuid']}"
    assert (await cloud.item("DELETE", path))["error"] == 15
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    assert (await cloud.item("DELETE", path))["status"] == "success"
    assert (await cloud.item("DELETE", path))["error"] == 8


async def test_volume_is_busy_for_a_while_after_its_instance(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(busy_after_delete_seconds=2))
    made = await volume(cloud, name="data")
    instance = await stopped(cloud, volumes=[{"name": "data", "at": "/data"}])
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    assert (await cloud.read(made["uuid"], "volumes"))["state"] == "busy"
    assert "EBUSY" in (await cloud.item("DELETE", f"/volumes/{made['uuid']}"))["message"]
    await trio.sleep(2)
    assert (await cloud.item("DELETE", f"/volumes/{made['uuid']}"))["status"] == "success"


async def test_locked_volume_is_not_deleted(autojump_clock, cloud):
    path = f"/volumes/{(await volume(cloud))['uuid']}"
    await cloud.item("PATCH", path, {"prop": "delete_lock", "op": "set", "value": True})
    assert (await cloud.item("DELETE", path))["error"] == 14


async def test_inline_volume_lives_as_long_as_its_instance(autojump_clock, cloud):
    instance = await cloud.create(volumes=[{"name": "scratch", "size_mb": 10, "at": "/tmp"}])
    [attached] = instance["volumes"]
    assert attached["name"] == "scratch"
    assert not (await cloud.read(attached["uuid"], "volumes"))["persistent"]
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    assert (await cloud.read(attached["uuid"], "volumes"))["error"] == 8


async def test_detached_inline_volume_becomes_persistent(autojump_clock, cloud):
    instance = await stopped(cloud, volumes=[{"name": "scratch", "size_mb": 10, "at": "/tmp"}])
    await cloud.item("PUT", "/volumes/detach", [{"name": "scratch"}])
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    [left] = await cloud.items("GET", "/volumes?name=scratch&details=true")
    assert left["persistent"]


async def test_attach_to_a_stopped_instance_is_at_once(autojump_clock, cloud):
    made, instance = await volume(cloud), await stopped(cloud, name="web")
    attach = {"attach_to": {"name": "web"}, "at": "/data", "readonly": True}
    await cloud.item("PUT", f"/volumes/{made['uuid']}/attach", attach)
    assert (await cloud.read(instance["uuid"]))["volumes"] == [
        {"uuid": made["uuid"], "name": made["name"], "at": "/data", "readonly": True}
    ]
    again = await cloud.item("PUT", f"/volumes/{made['uuid']}/attach", attach)
    assert again["error"] == 15


async def test_two_volumes_do_not_share_a_path(autojump_clock, cloud):
    await stopped(cloud, name="web")
    first, second = await volume(cloud), await volume(cloud)
    attach = {"attach_to": {"name": "web"}, "at": "/data"}
    await cloud.item("PUT", f"/volumes/{first['uuid']}/attach", attach)
    assert (await cloud.item("PUT", f"/volumes/{second['uuid']}/attach", attach))["error"] == 7


async def test_attach_and_detach_wait_for_a_running_instance(autojump_clock, cloud):
    old, new = await volume(cloud, name="old"), await volume(cloud, name="new")
    instance = await cloud.create(volumes=[{"name": "old", "at": "/old"}])
    await cloud.wait(instance["uuid"], "running")
    target = {"uuid": instance["uuid"]}
    await cloud.item("PUT", f"/volumes/{new['uuid']}/attach", {"attach_to": target, "at": "/new"})
    await cloud.item("PUT", f"/volumes/{old['uuid']}/detach", {"from": target})
    assert (await cloud.read(old["uuid"], "volumes"))["state"] == "mounted"
    assert (await cloud.read(new["uuid"], "volumes"))["state"] == "idle"
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    after = await cloud.wait(instance["uuid"], "stopped")
    assert [each["name"] for each in after["volumes"]] == ["new"]
    assert (await cloud.read(old["uuid"], "volumes"))["state"] == "available"


async def test_standby_does_not_let_go_of_a_volume(autojump_clock, cloud):
    made = await volume(cloud, name="data")
    instance = await cloud.create(volumes=[{"name": "data", "at": "/data"}])
    await cloud.wait(instance["uuid"], "running")
    await cloud.item("PUT", f"/volumes/{made['uuid']}/detach")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/suspend")
    await cloud.wait(instance["uuid"], "standby")
    assert (await cloud.read(made["uuid"], "volumes"))["state"] == "mounted"
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    assert (await cloud.read(made["uuid"], "volumes"))["state"] == "available"


async def test_detach_of_what_is_not_attached_is_21(autojump_clock, cloud):
    made = await volume(cloud)
    assert (await cloud.item("PUT", f"/volumes/{made['uuid']}/detach"))["error"] == 21


async def test_volume_grows_but_does_not_shrink(autojump_clock, cloud):
    path = f"/volumes/{(await volume(cloud))['uuid']}"

    async def resize(size_mb):
        return await cloud.item("PATCH", path, {"prop": "size_mb", "op": "set", "value": size_mb})

    assert (await resize(200))["status"] == "success"
    assert (await resize(100))["error"] == 7
    assert (await resize(20481))["error"] == 7
    assert (await cloud.item("GET", f"{path}?details=true"))["size_mb"] == 200


async def test_tags_are_patched(autojump_clock, cloud):
    uuid = (await volume(cloud, tags=["a", "b"]))["uuid"]
    await cloud.item(
        "PATCH", "/volumes", [{"uuid": uuid, "prop": "tags", "op": "del", "value": "a"}]
    )
    assert (await cloud.read(uuid, "volumes"))["tags"] == ["b"]


async def test_inline_volume_outlives_its_instance_while_another_uses_it(autojump_clock, cloud):
    instance = await stopped(cloud, volumes=[{"name": "scratch", "size_mb": 10, "at": "/tmp"}])
    await stopped(cloud, name="other")
    attach = {"name": "scratch", "attach_to": {"name": "other"}, "at": "/tmp"}
    await cloud.item("PUT", "/volumes/attach", [attach])
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    [left] = await cloud.items("GET", "/volumes?name=scratch&details=true")
    assert [one["name"] for one in left["attached_to"]] == ["other"]
    assert left["persistent"]


SLEEPER = {
    "autostart": False,
    "scale_to_zero": {"policy": "on"},
    "service_group": {"services": [{"port": 443}]},
}


async def test_two_instances_cannot_be_created_in_standby_on_one_volume(autojump_clock, cloud):
    await volume(cloud, name="data")
    mount = {"volumes": [{"name": "data", "at": "/data"}]}
    await cloud.create(**SLEEPER, **mount)
    refused = await cloud.item("POST", "/instances", {"image": "app", **SLEEPER, **mount})
    assert refused["error"] == 10
    assert "EBUSY" in refused["message"]


async def test_attachment_waits_in_standby_while_another_instance_has_the_volume(
    autojump_clock, cloud
):
    made = await volume(cloud, name="data")
    sleeper = await cloud.create(**{**SLEEPER, "autostart": True}, timeout_s=5)
    owner = await cloud.create(volumes=[{"name": "data", "at": "/data"}], timeout_s=5)
    attach = {"attach_to": {"uuid": sleeper["uuid"]}, "at": "/data"}
    await cloud.item("PUT", f"/volumes/{made['uuid']}/attach", attach)

    async def sleep_and_read() -> list[str]:
        await cloud.item("PUT", f"/instances/{sleeper['uuid']}/suspend")
        await cloud.wait(sleeper["uuid"], "standby")
        shown = await cloud.read(made["uuid"], "volumes")
        return [one["uuid"] for one in shown["mounted_by"]]

    assert await sleep_and_read() == [owner["uuid"]]
    await cloud.item("PUT", f"/instances/{owner['uuid']}/stop", {"force": True})
    started = await cloud.item("PUT", f"/instances/{sleeper['uuid']}/start", {"timeout_s": 5})
    assert started["state"] == "running"
    assert await sleep_and_read() == [sleeper["uuid"]]


async def test_instance_created_in_standby_holds_its_volumes(autojump_clock, cloud):
    made = await volume(cloud, name="data")
    await cloud.create(**SLEEPER, volumes=[{"name": "data", "at": "/data"}])
    assert (await cloud.read(made["uuid"], "volumes"))["state"] == "mounted"


async def test_managed_volume_is_a_directory_of_the_machine(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(managed_volumes=True))
    made = await cloud.item("POST", "/volumes", {"name": "logs", "host_path": "/var/log"})
    path = f"/volumes/{made['uuid']}"
    read = await cloud.read(made["uuid"], "volumes")
    assert (read["host_path"], read["uid"], read["gid"], read["size_mb"]) == ("/var/log", 0, 0, 0)
    grow = {"prop": "size_mb", "op": "set", "value": 100}
    assert (await cloud.item("PATCH", path, grow))["error"] == 7
    assert (await cloud.item("POST", f"{path}/clone", {}))["error"] == 7
    await cloud.create(volumes=[{"name": "logs", "at": "/logs"}])
    inline = {"image": "app", "volumes": [{"host_path": "/srv", "at": "/srv", "uid": 1}]}
    assert (await cloud.item("POST", "/instances", inline))["status"] == "success"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"host_path": "/x", "size_mb": 10}, 17),
        ({"host_path": "/x", "quota_policy": "static"}, 17),
        ({"host_path": "x"}, 7),
        ({"host_path": "/x/../y"}, 7),
        ({"size_mb": 10, "uid": 1}, 7),
    ],
)
async def test_managed_volume_out_of_the_rules_fails(autojump_clock, cloud_of, members, code):
    cloud = await cloud_of(settings=CloudSettings(managed_volumes=True))
    assert (await cloud.item("POST", "/volumes", members))["error"] == code


async def test_account_without_virtiofs_has_no_shared_volumes(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(filesystems=frozenset({"ext4"})))
    shared = {"size_mb": 10, "filesystem": "virtiofs", "access_mode": "rwx"}
    assert (await cloud.item("POST", "/volumes", shared))["error"] == 14


@pytest.mark.parametrize("grows", [True, False])
async def test_mounted_volume_grows_where_the_platform_lets_it(autojump_clock, cloud_of, grows):
    cloud = await cloud_of(settings=CloudSettings(mounted_volumes_grow=grows))
    made = await volume(cloud, name="data")
    await cloud.create(volumes=[{"name": "data", "at": "/data"}])
    grow = {"prop": "size_mb", "op": "set", "value": 200}
    answer = await cloud.item("PATCH", f"/volumes/{made['uuid']}", grow)
    assert (answer["status"] == "success") is grows

import pytest

from kraftlet_trio.simulators.cloud.settings import CloudSettings

MISSING = "00000000-0000-4000-8000-000000000000"


async def test_created_instance_runs_after_its_boot(autojump_clock, cloud):
    created = await cloud.item(
        "POST", "/instances", {"name": "web", "image": "team/web:1.4", "autostart": True}
    )
    assert created["status"] == "success"
    assert created["state"] == "starting"
    read = await cloud.wait(created["uuid"], "running")
    assert read["private_fqdn"] == "web.internal"
    assert read["start_count"] == 1
    assert read["boot_time_us"] == pytest.approx(50_000, abs=1)
    assert "restart_count" not in read
    assert "stopped_at" not in read


async def test_create_answers_less_than_a_read(autojump_clock, cloud):
    created = await cloud.item("POST", "/instances", {"image": "app"})
    read = await cloud.read(created["uuid"])
    assert "private_ip" not in created
    assert read["private_ip"]
    assert created.keys() < read.keys()


async def test_defaults_are_those_of_the_platform(autojump_clock, cloud):
    created = await cloud.item("POST", "/instances", {"image": "team/app:1"})
    read = await cloud.read(created["uuid"])
    assert read["state"] == "stopped"
    assert (read["memory_mb"], read["vcpus"]) == (128, 1)
    assert read["restart_policy"] == "never"
    assert read["scale_to_zero"] == {"enabled": False, "policy": "off"}
    assert read["name"].startswith("app-")
    for absent in ("args", "env", "tags", "service_group", "volumes", "stop_reason", "exit_code"):
        assert absent not in read


async def test_image_is_shown_with_a_digest(autojump_clock, cloud):
    digest = "sha256:" + "a" * 64
    assert (await cloud.create("oci://host/team/web:1"))["image"].startswith(
        "host/team/web@sha256:"
    )
    assert (await cloud.create(f"web@{digest}"))["image"] == f"web@{digest}"
    as_object = {"url": "oci://web", "pull_policy": "always", "credentials": "x"}
    assert (await cloud.create(as_object))["image"] == (await cloud.create("web"))["image"]


async def test_everything_set_is_read_back(autojump_clock, cloud):
    members = {
        "args": ["/srv", ""],
        "env": {"A": "1"},
        "memory_mb": 256,
        "restart_policy": "on-failure",
        "tags": ["a=b", "a=b", "c"],
        "annotations": {"example.com/owner": "team"},
        "hostname": "host",
        "roms": [{"name": "cfg", "at": "/etc/web", "files": [{"path": "a", "data": "b"}]}],
        "plugins": [
            {
                "name": "sand_box",
                "image": "plugins/sandbox",
                "config": {"a": 1},
                "authorization": {"type": "bearer", "token": "hidden"},
            }
        ],
        "features": [],
    }
    read = await cloud.create(**members)
    assert read["args"] == ["/srv", ""]
    assert read["env"] == {"A": "1"}
    assert read["memory_mb"] == 256
    assert read["tags"] == ["a=b", "c"]
    assert read["annotations"] == {"example.com/owner": "team"}
    assert read["roms"][0]["files"] == [{"path": "a", "encoding": "text", "data": "b"}]
    assert read["plugins"][0]["authorization"] == {"type": "bearer"}


async def test_name_taken_is_23_and_leaves_the_first_untouched(autojump_clock, cloud):
    first = await cloud.create("one", name="web")
    second = await cloud.item("POST", "/instances", {"name": "web", "image": "two"})
    assert (second["error"], second["name"]) == (23, "web")
    [only] = await cloud.items("GET", "/instances?details=true")
    assert only["uuid"] == first["uuid"]
    assert only["image"] == first["image"]


async def test_private_addresses_are_unique_and_return_to_the_pool(autojump_clock, cloud):
    created = [await cloud.create() for _ in range(5)]
    addresses = {instance["private_ip"] for instance in created}
    assert len(addresses) == 5
    assert all(address.startswith("10.") for address in addresses)


async def test_replicas_have_names_of_their_own(autojump_clock, cloud):
    created = await cloud.items(
        "POST", "/instances", {"name": "web", "image": "app", "replicas": 2}
    )
    names = [instance["name"] for instance in created]
    assert names[0] == "web"
    assert len(set(names)) == 3


async def test_create_accepts_a_list(autojump_clock, cloud):
    body = [{"name": "a", "image": "app"}, {"name": "a", "image": "app"}]
    answer = await cloud.call("POST", "/instances", body)
    assert answer["status"] == "partial_success"
    assert [item["status"] for item in answer["data"]["instances"]] == ["success", "error"]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"volumes": [{"name": "ghost", "at": "/data"}]}, 8),
        ({"service_group": {"name": "ghost"}}, 8),
        ({"service_group": {"uuid": MISSING}}, 8),
    ],
)
async def test_missing_resources_fail_the_create_and_leave_nothing(
    autojump_clock, cloud, members, code
):
    failed = await cloud.item("POST", "/instances", {"image": "app", "name": "web", **members})
    assert failed["error"] == code
    assert "ghost" in failed["message"] or MISSING in failed["message"]
    assert await cloud.items("GET", "/instances") == []


@pytest.mark.parametrize(
    "members",
    [
        {"name": "not_a_label"},
        {"name": "-dash"},
        {"name": ""},
        {"image": ""},
        {"image": {"url": "https://x", "credentials": "c"}},
        {"image": {"url": "x", "pull_policy": "sometimes"}},
        {"memory_mb": 15},
        {"memory_mb": 8193},
        {"vcpus": 0},
        {"vcpus": 2},
        {"restart_policy": "sometimes"},
        {"tags": ["sp ace"]},
        {"tags": ["x" * 257]},
        {"tags": [str(number) for number in range(17)]},
        {"env": {"": "x"}},
        {"env": {"a=b": "x"}},
        {"env": {"a": "\0"}},
        {"args": ["\0"]},
        {"annotations": {"bad key": "x"}},
        {"annotations": {"*.example.com/x": "x"}},
        {"hostname": "a.b"},
        {"timeout_s": 5},
        {"timeout_s": -2, "autostart": True},
        {"features": ["flying"]},
        {"features": ["delete-on-stop"], "restart_policy": "always"},
        {"scale_to_zero": {"policy": "on"}},
        {"scale_to_zero": {"policy": "on", "notify_time_ms": 1000, "cooldown_time_ms": 1000}},
        {"volumes": [{"name": "v", "at": "data"}]},
        {"volumes": [{"name": "v", "at": "/"}]},
        {"volumes": [{"name": "v", "at": "/a/../b"}]},
        {"volumes": [{"name": "v", "at": "/a:b"}]},
        {"volumes": [{"name": "v", "at": "/a"}, {"name": "w", "at": "/a/"}]},
        {"volumes": [{"name": "v", "at": "/a", "size_mb": 7}]},
        {"roms": [{"name": f"r{number}", "files": []} for number in range(9)]},
        {"roms": [{"name": "r", "files": [{"path": "p", "data": "x" * 1_000_001}]}]},
        {"roms": [{"name": "r", "files": [{"path": "../p", "data": "x"}]}]},
        {"roms": [{"name": "r", "files": [{"path": "p", "data": "?", "encoding": "base64"}]}]},
    ],
)
async def test_values_out_of_the_rules_fail_the_item(autojump_clock, cloud, members):
    failed = await cloud.item("POST", "/instances", {"image": "app", **members})
    assert failed["status"] == "error"
    assert failed["error"] == 7
    assert await cloud.items("GET", "/instances") == []


async def test_too_long_a_name_is_22(autojump_clock, cloud):
    failed = await cloud.item("POST", "/instances", {"image": "app", "name": "x" * 64})
    assert failed["error"] == 22


@pytest.mark.parametrize(
    "members",
    [
        {"type": "full"},
        {"gpus": 1},
        {"network_interfaces": [{"name": "a"}]},
        {"sched_priority": "high"},
        {"features": ["nested-virt"]},
        {"volumes": [{"at": "/a", "host_path": "/b"}]},
    ],
)
async def test_what_needs_a_permission_is_14(autojump_clock, cloud, members):
    failed = await cloud.item("POST", "/instances", {"image": "app", **members})
    assert failed["error"] == 14


@pytest.mark.parametrize(
    "members",
    [
        {"network_interfaces": {}},
        {"gpus": "1"},
        {"whatever": 1},
        {"image": {"url": "x", "size": 1}},
        {"env": {"A": 1}},
        {"args": "text"},
        {"name": None},
        {"memory_mb": True},
        {"memory_mb": "128"},
        {"annotations": {"a": "line\nbreak"}},
        {"volumes": [{"name": "v"}]},
        {"service_group": []},
    ],
)
async def test_malformed_creates_are_400_and_create_nothing(autojump_clock, cloud, members):
    answer = await cloud.send("POST", "/instances", {"image": "app", **members})
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"
    assert await cloud.items("GET", "/instances") == []


async def test_unknown_member_is_named(autojump_clock, cloud):
    answer = await cloud.send("POST", "/instances", {"image": "app", "min_memory_mb": "1.2.3.4"})
    assert answer.json()["message"] == "Unknown member 'min_memory_mb'"


async def test_waiting_create_answers_when_it_runs(autojump_clock, cloud):
    created = await cloud.item(
        "POST", "/instances", {"image": "app", "autostart": True, "timeout_s": 5}
    )
    assert (created["status"], created["state"]) == ("success", "running")


async def test_waiting_create_that_lapses_is_an_error_without_code(autojump_clock, cloud):
    answer = await cloud.call(
        "POST", "/instances", {"image": "slow", "autostart": True, "timeout_s": 5}
    )
    [item] = answer["data"]["instances"]
    assert answer["status"] == "error"
    assert "timed out" in answer["message"]
    assert item["state"] == "starting"
    assert "error" not in item
    assert (await cloud.wait(item["uuid"], "running"))["name"] == item["name"]


async def test_waiting_create_of_a_bad_image_shows_it_stopped(autojump_clock, cloud):
    item = await cloud.item(
        "POST", "/instances", {"image": "unpullable", "autostart": True, "timeout_s": 60}
    )
    assert (item["status"], item["state"]) == ("error", "stopped")
    assert "error" not in item


async def test_deprecated_wait_is_rounded_up_and_warned_about(autojump_clock, cloud):
    answer = await cloud.call(
        "POST", "/instances", {"image": "app", "autostart": True, "wait_timeout_ms": 1}
    )
    assert answer["data"]["instances"][0]["state"] == "running"
    assert "wait_timeout_ms" in answer["warnings"][0]["message"]


async def test_created_with_scale_to_zero_but_not_started_is_standby(autojump_clock, cloud):
    created = await cloud.item(
        "POST",
        "/instances",
        {
            "image": "app",
            "scale_to_zero": {"policy": "on"},
            "service_group": {"services": [{"port": 443, "destination_port": 8080}]},
        },
    )
    assert created["state"] == "standby"
    read = await cloud.read(created["uuid"])
    assert read["scale_to_zero"] == {
        "enabled": True,
        "policy": "on",
        "stateful": False,
        "cooldown_time_ms": 1000,
        "notify_time_ms": 0,
    }


async def test_deleted_instance_is_gone_and_its_name_is_free(autojump_clock, cloud):
    instance = await cloud.create(name="web")
    deleted = await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    assert deleted["previous_state"] == "starting"
    again = await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    assert again["error"] == 8
    assert (await cloud.item("GET", "/instances?name=web"))["error"] == 8
    await cloud.create(name="web")


async def test_bulk_delete_goes_on_after_a_failure(autojump_clock, cloud):
    for name in ("a", "b"):
        await cloud.create(name=name)
    answer = await cloud.call(
        "DELETE", "/instances", [{"name": "a"}, {"name": "ghost"}, {"name": "b"}]
    )
    assert answer["status"] == "partial_success"
    items = answer["data"]["instances"]
    assert [item["status"] for item in items] == ["success", "error", "success"]
    assert items[1] == {
        "status": "error",
        "name": "ghost",
        "message": "No instance with name 'ghost'",
        "error": 8,
    }
    assert await cloud.items("GET", "/instances") == []


async def test_locked_instance_is_not_deleted(autojump_clock, cloud):
    instance = await cloud.create()
    path = f"/instances/{instance['uuid']}"
    await cloud.item("PATCH", path, {"prop": "delete_lock", "op": "set", "value": True})
    refused = await cloud.item("DELETE", path)
    assert refused["error"] == 14
    await cloud.item("PATCH", path, {"prop": "delete_lock", "op": "set"})
    assert (await cloud.item("DELETE", path))["status"] == "success"


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"uuid": "web"}, 7),
        ({"uuid": MISSING}, 8),
        ({"uuid": MISSING, "name": "web"}, 17),
        ({}, 13),
        ({"name": ""}, 13),
    ],
)
async def test_an_item_has_exactly_one_valid_identifier(autojump_clock, cloud, item, code):
    assert (await cloud.item("DELETE", "/instances", [item]))["error"] == code


async def test_name_in_a_uuid_path_is_an_error(autojump_clock, cloud):
    await cloud.create(name="web")
    failed = await cloud.item("GET", "/instances/web")
    assert failed["message"] == "Invalid uuid 'web'"


async def test_details_may_be_the_default(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(default_details=True))
    created = await cloud.create()
    assert "image" in await cloud.item("GET", f"/instances/{created['uuid']}")

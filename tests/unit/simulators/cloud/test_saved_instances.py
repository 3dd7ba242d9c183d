"""Templates, branches and checkpoints: what instances are made from beside images."""

import pytest
import trio

from kraftlet_trio.simulators.cloud.settings import CloudSettings

GROUP = {"services": [{"port": 443}]}
SOURCE = {
    "name": "source",
    "args": ["a"],
    "env": {"A": "1"},
    "memory_mb": 256,
    "tags": ["t"],
    "annotations": {"a": "1", "b": "1"},
    "volumes": [{"name": "data", "size_mb": 10, "at": "/data"}],
    "service_group": GROUP,
}


async def a_template(cloud, **members):
    source = await cloud.create(**{**SOURCE, **members})
    await cloud.wait(source["uuid"], "running")
    return await cloud.item("POST", "/instances/templates", [{"name": "source"}])


async def a_checkpoint(cloud, **members):
    await cloud.create(**SOURCE)
    await cloud.wait((await cloud.items("GET", "/instances"))[0]["uuid"], "running")
    body = [{"from": {"name": "source"}, "name": "saved", **members}]
    return await cloud.item("POST", "/instances/checkpoints", body)


async def test_conversion_keeps_identity_and_ends_the_rest(autojump_clock, cloud):
    template = await a_template(cloud)
    assert (template["status"], template["state"]) == ("success", "template")
    assert await cloud.items("GET", "/instances") == []
    assert await cloud.items("GET", "/services") == []
    assert await cloud.items("GET", "/volumes") == []
    [volume] = await cloud.items("GET", "/volumes/templates?details=true")
    assert (volume["name"], volume["state"]) == ("data", "template")
    [read] = await cloud.items("GET", "/instances/templates?details=true&tags=t")
    assert (read["uuid"], read["name"]) == (template["uuid"], "source")
    assert read["snapshot"]
    assert "network_interfaces" not in read
    assert "service_group" not in read


async def test_a_template_does_not_run(autojump_clock, cloud):
    template = await a_template(cloud)
    started = await cloud.item("PUT", f"/instances/{template['uuid']}/start")
    assert started["error"] == 8


@pytest.mark.parametrize("origin", ["template", "branch_from", "checkpoint"])
async def test_what_is_made_from_another_takes_its_configuration_over(
    autojump_clock, cloud, origin
):
    match origin:
        case "template":
            source = (await a_template(cloud))["name"]
        case "checkpoint":
            source = (await a_checkpoint(cloud, timeout_s=10))["name"]
        case _:
            source = (await cloud.create(**SOURCE))["name"]
            await cloud.wait((await cloud.items("GET", "/instances"))[0]["uuid"], "running")
    made = await cloud.item(
        "POST",
        "/instances",
        {origin: {"name": source}, "name": "made", "annotations": {"b": "2"}, "tags": ["u"]},
    )
    read = await cloud.read(made["uuid"])
    assert (read["args"], read["env"], read["memory_mb"]) == (["a"], {"A": "1"}, 256)
    assert read["annotations"] == {"a": "1", "b": "2"}
    assert read["tags"] == ["u"]
    [volume] = read["volumes"]
    assert volume["at"] == "/data"
    assert volume["name"] != "data"


@pytest.mark.parametrize("origin", ["template", "branch_from", "checkpoint"])
@pytest.mark.parametrize(
    ("members", "code"), [({"args": ["b"]}, 7), ({"memory_mb": 64}, 7), ({"image": "app"}, 17)]
)
async def test_what_an_origin_fixes_cannot_be_given(autojump_clock, cloud, origin, members, code):
    body = {origin: {"name": "any"}, **members}
    answer = await cloud.item("POST", "/instances", body)
    assert answer["error"] == code
    assert answer["message"].startswith("Cannot specify '")


@pytest.mark.parametrize("origin", ["template", "branch_from", "checkpoint"])
async def test_an_unknown_origin_is_8(autojump_clock, cloud, origin):
    assert (await cloud.item("POST", "/instances", {origin: {"name": "none"}}))["error"] == 8


async def test_there_is_one_origin(autojump_clock, cloud):
    body = {"template": {"name": "a"}, "checkpoint": {"name": "b"}}
    assert (await cloud.item("POST", "/instances", body))["error"] == 17


async def test_nothing_branches_off_an_instance_that_boots(autojump_clock, cloud):
    await cloud.create("slow", name="source")
    answer = await cloud.item("POST", "/instances", {"branch_from": {"name": "source"}})
    assert answer["message"] == "Cannot branch from VM in state 'starting'"


async def test_a_checkpoint_can_be_loaded_once_it_is_ready(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(checkpoint_seconds=5))
    checkpoint = await a_checkpoint(cloud)
    assert checkpoint["state"] == "starting"
    answer = await cloud.item("POST", "/instances", {"checkpoint": {"name": "saved"}})
    assert answer["message"].startswith("Failed to create instance from checkpoint:")
    await trio.sleep(6)
    answer = await cloud.item("POST", "/instances", {"checkpoint": {"name": "saved"}})
    assert answer["status"] == "success"


async def test_a_wait_for_a_checkpoint_may_lapse(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(checkpoint_seconds=50))
    checkpoint = await a_checkpoint(cloud, timeout_s=1)
    assert (checkpoint["status"], checkpoint["state"]) == ("error", "starting")
    assert "error" not in checkpoint


async def test_the_history_is_that_of_checkpoints(autojump_clock, cloud):
    await a_checkpoint(cloud, timeout_s=10)
    body = [{"from": {"name": "source"}, "name": "later", "timeout_s": 10}]
    await cloud.item("POST", "/instances/checkpoints", body)
    await cloud.item("POST", "/instances", {"checkpoint": {"name": "saved"}, "name": "made"})
    histories = await cloud.items("GET", "/instances/history?name=source&name=made")
    assert [[each["name"] for each in item["history"]] for item in histories] == [
        ["later", "saved"],
        ["saved"],
    ]
    [saved] = await cloud.items("GET", "/instances/checkpoints/history?name=later")
    assert [each["name"] for each in saved["history"]] == ["later", "saved"]


async def test_checkpoints_outlive_the_instance(autojump_clock, cloud):
    await a_checkpoint(cloud, timeout_s=10)
    await cloud.item("DELETE", "/instances", [{"name": "source"}])
    [checkpoint] = await cloud.items("GET", "/instances/checkpoints")
    assert checkpoint["name"] == "saved"


@pytest.mark.parametrize("kind", ["templates", "checkpoints"])
async def test_saved_instances_are_changed_locked_and_deleted(autojump_clock, cloud, kind):
    saved = await (a_template(cloud) if kind == "templates" else a_checkpoint(cloud, timeout_s=9))
    path = f"/instances/{kind}/{saved['uuid']}"
    for prop, value in (("tags", ["x"]), ("autokill", {"time_ms": 9000}), ("delete_lock", True)):
        changed = await cloud.item("PATCH", path, {"prop": prop, "op": "set", "value": value})
        assert changed["status"] == "success"
    read = await cloud.item("GET", f"{path}?details=true")
    assert (read["tags"], read["delete_lock"]) == (["x"], True)
    assert read[f"{kind[:-1]}_autokill"] == {"time_ms": 9000}
    assert (await cloud.item("DELETE", path))["error"] == 14
    await cloud.item("PATCH", path, {"prop": "delete_lock", "op": "set"})
    wrong = await cloud.item("PATCH", path, {"prop": "image", "op": "set", "value": "b"})
    assert wrong["error"] == 7
    assert (await cloud.item("DELETE", path))["status"] == "success"
    assert await cloud.items("GET", f"/instances/{kind}") == []


def prepared(**members):
    template = {"name": "base", "prepare": True, "create_args": {"image": "app", "env": {"A": "1"}}}
    return {"template": {**template, **members}}


async def test_a_template_is_prepared_once(autojump_clock, cloud):
    first = await cloud.item("POST", "/instances", prepared())
    second = await cloud.item("POST", "/instances", prepared())
    assert first["status"] == second["status"] == "success"
    [template] = await cloud.items("GET", "/instances/templates?details=true")
    assert (template["name"], template["start_count"]) == ("base", 1)
    assert (await cloud.read(second["uuid"]))["env"] == {"A": "1"}


async def test_a_preparation_that_takes_too_long_is_given_up(autojump_clock, cloud):
    slow = prepared(create_args={"image": "slow"}, prepare_timeout_s=5)
    answer = await cloud.item("POST", "/instances", slow)
    assert answer["status"] == "error"
    assert await cloud.items("GET", "/instances") == []


async def test_a_preparation_needs_arguments(autojump_clock, cloud):
    body = {"template": {"name": "base", "prepare": True}}
    assert (await cloud.send("POST", "/instances", body)).status_code == 400


async def test_a_volume_is_copied_from_a_template(autojump_clock, cloud):
    await cloud.item("POST", "/volumes", {"name": "seed", "size_mb": 20, "tags": ["t"]})
    made = await cloud.item("POST", "/volumes/templates", [{"name": "seed"}])
    assert made["state"] == "template"
    copy = await cloud.item("POST", "/volumes", {"template": {"name": "seed"}})
    assert (await cloud.read(copy["uuid"], "volumes"))["size_mb"] == 20
    small = {"template": {"name": "seed"}, "size_mb": 10}
    assert (await cloud.item("POST", "/volumes", small))["error"] == 7
    instance = await cloud.create(volumes=[{"at": "/a", "template": {"name": "seed"}}])
    [volume] = instance["volumes"]
    assert (await cloud.read(volume["uuid"], "volumes"))["size_mb"] == 20


async def test_an_attached_volume_becomes_no_template(autojump_clock, cloud):
    await cloud.create(**SOURCE)
    assert (await cloud.item("POST", "/volumes/templates", [{"name": "data"}]))["error"] == 15


async def test_a_clone_holds_its_source_until_it_is_ready(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(clone_seconds=5))
    source = await cloud.item("POST", "/volumes", {"name": "seed", "size_mb": 20})
    path = f"/volumes/{source['uuid']}"
    clone = await cloud.item("POST", f"{path}/clone", {"vol_name": "copy", "tags": ["c"]})
    assert (clone["name"], clone["state"]) == ("copy", "initializing")
    assert (await cloud.read(source["uuid"], "volumes"))["state"] == "busy"
    assert "EBUSY" in (await cloud.item("DELETE", path))["message"]
    assert "EBUSY" in (await cloud.item("POST", f"{path}/clone"))["message"]
    await trio.sleep(6)
    read = await cloud.read(clone["uuid"], "volumes")
    assert (read["state"], read["size_mb"], read["tags"]) == ("available", 20, ["c"])
    assert (await cloud.item("DELETE", path))["status"] == "success"


async def test_a_volume_mounted_for_writing_is_not_cloned(autojump_clock, cloud):
    await cloud.create(**SOURCE)
    answer = await cloud.item("POST", "/volumes/clone", [{"name": "data"}])
    assert "EBUSY" in answer["message"]

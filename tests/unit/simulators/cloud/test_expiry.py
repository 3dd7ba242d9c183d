"""What goes by itself: autokill, and the retention of what was deleted."""

import trio

from kraftlet_trio.simulators.cloud.settings import CloudSettings

SOON = {"time_ms": 60_000}


async def test_an_instance_goes_so_long_after_its_stop(autojump_clock, cloud):
    job = await cloud.create("job", autokill=SOON)
    await cloud.wait(job["uuid"], "stopped")
    await trio.sleep(59)
    assert len(await cloud.items("GET", "/instances")) == 1
    await trio.sleep(2)
    assert await cloud.items("GET", "/instances") == []


async def test_what_runs_never_stopped_or_is_locked_stays(autojump_clock, cloud):
    await cloud.create(autokill=SOON)
    await cloud.create(autokill=SOON, autostart=False)
    locked = await cloud.create("job", autokill=SOON)
    await cloud.item(
        "PATCH",
        f"/instances/{locked['uuid']}",
        {"prop": "delete_lock", "op": "set", "value": True},
    )
    await trio.sleep(1000)
    assert len(await cloud.items("GET", "/instances")) == 3


async def test_a_template_goes_so_long_after_its_last_clone(autojump_clock, cloud):
    await cloud.create(name="base", autostart=False)
    await cloud.item("POST", "/instances/templates", [{"name": "base", "autokill": SOON}])
    await trio.sleep(50)
    await cloud.item("POST", "/instances", {"template": {"name": "base"}})
    await trio.sleep(50)
    assert len(await cloud.items("GET", "/instances/templates")) == 1
    await trio.sleep(20)
    assert await cloud.items("GET", "/instances/templates") == []


async def test_a_group_goes_so_long_after_it_became_empty(autojump_clock, cloud):
    body = {"name": "web", "services": [{"port": 443}], "autokill": SOON}
    await cloud.item("POST", "/services", body)
    member = await cloud.create(service_group={"name": "web"})
    await trio.sleep(100)
    await cloud.item("DELETE", f"/instances/{member['uuid']}")
    await trio.sleep(50)
    [group] = await cloud.items("GET", "/services?details=true")
    assert group["autokill"] == SOON
    await trio.sleep(20)
    assert await cloud.items("GET", "/services") == []


async def test_a_deleted_instance_can_be_read_while_it_is_retained(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(retention_seconds=60))
    instance = await cloud.create(name="web")
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    read = await cloud.read(instance["uuid"])
    assert (read["state"], "retained_until" in read) == ("deleted", True)
    assert (await cloud.item("PUT", f"/instances/{instance['uuid']}/start"))["error"] == 8
    again = await cloud.create(name="web")
    states = [each["state"] for each in await cloud.items("GET", "/instances?details=true")]
    assert sorted(states) == ["deleted", "starting"]
    await cloud.item("DELETE", f"/instances/{again['uuid']}", {"dont_retain": True})
    await trio.sleep(61)
    assert await cloud.items("GET", "/instances") == []


async def test_retained_names_may_stay_reserved(autojump_clock, cloud_of):
    settings = CloudSettings(retention_seconds=60, retained_names_stay_reserved=True)
    cloud = await cloud_of(settings=settings)
    instance = await cloud.create(name="web")
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    answer = await cloud.item("POST", "/instances", {"name": "web", "image": "app"})
    assert answer["error"] == 23


async def test_a_wait_for_deletion_ends_where_it_is_retained(autojump_clock, cloud_of, nursery):
    cloud = await cloud_of(settings=CloudSettings(retention_seconds=60))
    instance = await cloud.create()

    async def delete_soon():
        await trio.sleep(5)
        await cloud.item("DELETE", f"/instances/{instance['uuid']}")

    nursery.start_soon(delete_soon)
    path = f"/instances/{instance['uuid']}/wait"
    waited = await cloud.item("GET", path, {"state": "deleted", "timeout_s": 60})
    assert (waited["status"], waited["state"]) == ("success", "deleted")

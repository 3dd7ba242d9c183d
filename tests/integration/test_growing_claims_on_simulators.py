"""Claims that ask for more than they have, and what their class says of them."""

from contextlib import suppress
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from kraftlet_trio.cloud.objects import InstanceRequest, InstanceVolumeRequest, VolumeRequest
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from tests.claim_world import a_claim_world

MOUNT = InstanceVolumeRequest(name="data", at="/data")


def has(world, name="data"):
    return world.claim(name)["status"]["capacity"]["storage"]


async def test_unused_volume_grows_at_once(autojump_clock):
    async with a_claim_world() as world:
        world.create_class()
        world.start()
        world.create_claim()
        await world.until_bound()
        world.ask_for("20Mi")
        await world.until(lambda: has(world) == "20Mi")
        assert world.volumes["data"].size_mb == 20
        assert world.persistent_volumes[0]["spec"]["capacity"] == {"storage": "20Mi"}
        assert world.conditions() == set()
        for reason in ("Resizing", "VolumeResizeSuccessful"):
            [event] = world.events(reason)
            assert event["involvedObject"]["name"] == "data"
        await trio.sleep(10)
        before = world.requests
        await trio.sleep(120)
        assert world.requests == before


async def test_used_volume_grows_when_its_instances_start_again(autojump_clock):
    async with a_claim_world() as world, world.user() as client:
        world.create_class()
        world.start()
        world.create_claim()
        await world.until_bound()
        user = await client.create_instance(
            InstanceRequest(name="user", image="app", autostart=True, volumes=(MOUNT,))
        )
        await trio.sleep(5)
        world.ask_for("20Mi")
        await world.until(lambda: world.conditions() == {"FileSystemResizePending"})
        assert world.volumes["data"].size_mb == 20
        assert has(world) == "10Mi"
        assert world.events("FileSystemResizeRequired")
        await trio.sleep(100)
        assert has(world) == "10Mi"
        await client.stop_instance(user.uuid, force=True)
        await client.start_instance(user.uuid)
        await world.until(lambda: has(world) == "20Mi")
        assert world.conditions() == set()


async def test_platform_that_enlarges_no_volume_in_use_is_asked_until_it_is_free(autojump_clock):
    settings = CloudSettings(mounted_volumes_grow=False)
    async with a_claim_world(settings=settings) as world, world.user() as client:
        world.create_class()
        world.start()
        world.create_claim()
        await world.until_bound()
        user = await client.create_instance(
            InstanceRequest(name="user", image="app", autostart=True, volumes=(MOUNT,))
        )
        world.ask_for("20Mi")
        await world.until(lambda: world.events("VolumeResizeFailed"))
        assert "EBUSY" in world.events("VolumeResizeFailed")[0]["message"]
        assert world.conditions() == {"Resizing"}
        await client.delete_instance(user.uuid)
        await world.until(lambda: has(world) == "20Mi")
        assert world.conditions() == set()
        assert len(world.events("Resizing")) == 1


async def test_volume_that_was_raised_to_the_smallest_size_has_room_already(autojump_clock):
    async with a_claim_world() as world:
        world.create_class()
        world.start()
        world.create_claim(size="2Mi")
        await world.until_bound()
        world.ask_for("5Mi")
        await world.until(lambda: has(world) == "5Mi")
        assert world.volumes["data"].size_mb == 8
        assert not world.events("Resizing")


async def test_volume_that_is_gone_from_the_cloud_does_not_grow_and_that_is_told(autojump_clock):
    async with a_claim_world() as world, world.user() as client:
        world.create_class()
        world.start()
        world.create_claim()
        await world.until_bound()
        await client.delete_volume(world.volumes["data"].uuid)
        world.ask_for("20Mi")
        await world.until(lambda: world.events("VolumeResizeFailed"))
        assert "not to be found" in world.events("VolumeResizeFailed")[0]["message"]


async def grow_through_a_kill(kill_at, after_commit):
    async with a_claim_world() as world:
        world.create_class()
        world.start()
        world.create_claim()
        await world.until_bound()
        await trio.sleep(5)
        world.kill_at, world.kill_after_commit = kill_at, after_commit
        world.ask_for("20Mi")
        with suppress(trio.TooSlowError):
            await world.until(lambda: world.kill_at is None, seconds=10)
        world.kill()
        world.kill_at = None
        await trio.sleep(0.1)
        world.start()
        await world.until(lambda: has(world) == "20Mi", seconds=120)
        assert world.volumes["data"].size_mb == 20
        assert world.persistent_volumes[0]["spec"]["capacity"] == {"storage": "20Mi"}
        assert world.conditions() == set()


@pytest.mark.parametrize("after_commit", [False, True])
def test_killed_once_at_any_request_it_grows_all_the_same(after_commit):
    for kill_at in range(1, 8):
        trio.run(
            partial(grow_through_a_kill, kill_at, after_commit),
            clock=MockClock(autojump_threshold=0),
        )


async def test_class_with_retain_keeps_the_volume_and_says_so(autojump_clock):
    async with a_claim_world() as world:
        world.create_class("kept", reclaimPolicy="Retain")
        world.start()
        world.create_claim(storage_class="kept")
        await world.until_bound()
        world.delete_claim()
        await world.until(lambda: world.persistent_volumes[0]["status"]["phase"] == "Released")
        await trio.sleep(60)
        [volume] = world.persistent_volumes
        assert world.volumes.keys() == {"data"}
        world.cluster.delete(volume)
        await world.until(lambda: not world.persistent_volumes)
        assert world.volumes.keys() == {"data"}
        await world.until(lambda: world.events("VolumeRetained"))
        assert world.volumes["data"].uuid in world.events("VolumeRetained")[0]["message"]


async def test_claim_for_many_writers_takes_a_class_with_virtiofs(autojump_clock):
    async with a_claim_world() as world:
        world.create_class()
        world.create_class("shared", parameters={"filesystem": "virtiofs"})
        world.start()
        world.create_claim("plain", accessModes=["ReadWriteMany"])
        world.create_claim("many", storage_class="shared", accessModes=["ReadWriteMany"])
        await world.until_bound("many")
        made = world.volumes["many"]
        assert (made.filesystem, made.access_mode) == ("virtiofs", "rwx")
        await world.until(lambda: world.events("ProvisioningFailed"))
        [event] = world.events("ProvisioningFailed")
        assert event["involvedObject"]["name"] == "plain"
        assert "virtiofs" in event["message"]


def a_volume(uuid, **spec):
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "kept"},
        "spec": {
            "capacity": {"storage": "16Mi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "ukc-volume",
            "csi": {"driver": "volumes.unikraft.cloud", "volumeHandle": uuid},
            **spec,
        },
    }


@pytest.mark.parametrize("with_class", [True, False])
async def test_volume_that_somebody_made_is_bound_and_grows_and_stays(autojump_clock, with_class):
    async with a_claim_world() as world, world.user() as client:
        theirs = await client.create_volume(VolumeRequest(name="theirs", size_mb=16))
        reserved = {} if with_class else {"claimRef": {"namespace": "default", "name": "data"}}
        world.cluster.create(a_volume(theirs.uuid, **reserved))
        if with_class:
            world.create_class()
        world.start()
        await trio.sleep(1)
        world.create_claim()
        await world.until_bound()
        await trio.sleep(10)
        assert world.claim()["spec"]["volumeName"] == "kept"
        assert world.volumes.keys() == {"theirs"}
        if with_class:
            world.ask_for("32Mi")
            await world.until(lambda: has(world) == "32Mi")
            assert world.volumes["theirs"].size_mb == 32
        world.delete_claim()
        await trio.sleep(30)
        assert world.volumes.keys() == {"theirs"}
        assert [one["status"]["phase"] for one in world.persistent_volumes] == ["Released"]

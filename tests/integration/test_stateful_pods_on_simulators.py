"""Pods with claims: volumes outlive the Pods, and go with the claims."""

from __future__ import annotations

import trio

from tests.manifests import a_claim, a_container, a_pod


def a_database(name="db"):
    return a_pod(name, a_container(mounts={"data": "/data"}), claims={"data": "data"})


def claim_phase(world):
    return world.cluster.get("persistentvolumeclaims", "data")["status"]["phase"]


async def test_claim_is_provisioned_bound_and_mounted(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_claim(), a_database())
    await world.eventually(lambda: world.is_ready("db"))
    assert claim_phase(world) == "Bound"
    [volume] = world.cluster.objects("persistentvolumes")
    assert volume["spec"]["csi"]["volumeHandle"] == world.volumes()["data"].uuid
    [attachment] = world.volumes()["data"].attachments.values()
    assert (attachment.instance.name, attachment.at) == ("db-app", "/data")
    assert world.volumes()["data"].size_mb == 10


async def test_pod_that_comes_before_its_claim_waits_for_it(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_database())
    await world.eventually(lambda: world.waits_for("app", "db") == "CreateContainerConfigError")
    assert world.events("FailedMount")
    world.apply(a_claim())
    await world.eventually(lambda: world.is_ready("db"), seconds=10)


async def test_volume_outlives_the_pod_and_goes_to_the_next_one(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_claim(), a_database())
    await world.eventually(lambda: world.is_ready("db"))
    volume = world.volumes()["data"]
    world.delete(a_database())
    await world.eventually(lambda: not world.pods())
    await trio.sleep(60)
    assert world.volumes() == {"data": volume}
    assert volume.state == "available"
    world.apply(a_database("db-2"))
    await world.eventually(lambda: world.is_ready("db-2"))
    [attachment] = volume.attachments.values()
    assert attachment.instance.name == "db-2-app"


async def test_volume_goes_with_its_claim(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_claim())
    await world.eventually(lambda: claim_phase(world) == "Bound")
    world.delete(a_claim())
    await world.eventually(world.is_empty)


async def test_claim_deleted_while_mounted_goes_once_its_pod_is_gone(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_claim(), a_database())
    await world.eventually(lambda: world.is_ready("db"))
    world.delete(a_claim())
    await trio.sleep(60)
    assert world.volumes()["data"].state == "mounted"
    assert world.is_ready("db")
    world.delete(a_database())
    await world.eventually(world.is_empty)


async def test_pod_recreated_at_once_gets_the_volume_of_its_namesake(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_claim(), a_database())
    await world.eventually(lambda: world.is_ready("db"))
    volume = world.volumes()["data"]
    for _ in range(3):
        world.delete(a_database())
        await world.eventually(lambda: not world.pods())
        world.apply(a_database())
        await world.eventually(lambda: world.is_ready("db"))
        assert world.volumes() == {"data": volume}
        [attachment] = volume.attachments.values()
        assert attachment.instance is world.instances()["db-app"]


async def test_claim_of_another_class_is_nobodys_business_here(autojump_clock, world):
    claim = a_claim()
    claim["spec"]["storageClassName"] = "other"
    await world.start_daemon()
    world.apply(claim, a_database())
    await world.eventually(lambda: world.waits_for("app", "db") == "CreateContainerConfigError")
    await trio.sleep(60)
    assert not world.volumes()
    assert not world.instances()

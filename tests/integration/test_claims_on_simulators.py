"""Claims on both simulators, with a provisioner that may be killed at any of its requests."""

from contextlib import suppress
from functools import partial

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from kraftlet_trio.cloud.objects import InstanceRequest, InstanceVolumeRequest, VolumeRequest
from kraftlet_trio.simulators.cloud.faults import AnswerStatus, CommitThenDrop
from tests.claim_world import a_claim_world as a_world


async def test_claim_is_bound_within_seconds_and_its_volume_goes_with_it(autojump_clock):
    async with a_world() as world:
        world.start()
        await trio.sleep(1)
        claim = world.create_claim()
        with trio.fail_after(2):
            await world.until_bound()
        [pv] = world.persistent_volumes
        assert pv["metadata"]["name"] == f"pv-{claim['metadata']['uid']}"
        assert pv["spec"]["csi"]["volumeHandle"] == world.volumes["data"].uuid
        assert f"k8s.io:uid={claim['metadata']['uid']}" in world.volumes["data"].tags
        finalizers = world.claim()["metadata"]["finalizers"]
        assert finalizers == ["kubernetes.io/pvc-protection"]
        [event] = world.events("ProvisioningSucceeded")
        assert event["involvedObject"]["name"] == "data"
        world.delete_claim()
        await world.until(lambda: not world.volumes and not world.persistent_volumes)
        assert world.cluster.objects("persistentvolumeclaims") == []


async def test_quiet_claims_cost_no_requests(autojump_clock):
    async with a_world() as world:
        world.start()
        for number in range(20):
            world.create_claim(f"data-{number}")
        await world.until(lambda: len(world.persistent_volumes) == 20)
        await trio.sleep(30)
        before = world.requests
        await trio.sleep(120)
        assert world.requests == before


async def test_size_is_at_least_the_accounts_minimum(autojump_clock):
    async with a_world() as world:
        world.start()
        world.create_claim(size="1500k")
        await world.until_bound()
        assert world.volumes["data"].size_mb == 8
        assert world.persistent_volumes[0]["spec"]["capacity"] == {"storage": "1500k"}


@pytest.mark.parametrize(
    ("spec", "named"),
    [({"accessModes": ["ReadWriteMany"]}, "ReadWriteMany"), ({"volumeMode": "Block"}, "Block")],
)
async def test_impossible_claim_is_told_why_and_stays_free_to_go(autojump_clock, spec, named):
    async with a_world() as world:
        world.start()
        world.create_claim(**spec)
        world.create_claim("fine")
        await world.until_bound("fine")
        await world.until(lambda: world.events("ProvisioningFailed"))
        assert named in world.events("ProvisioningFailed")[0]["message"]
        assert "cloud.unikraft.v1/volume" not in world.claim()["metadata"]["finalizers"]
        await trio.sleep(300)
        assert len(world.events("ProvisioningFailed")) == 1
        assert world.volumes.keys() == {"fine"}
        world.delete_claim()
        await world.until(lambda: len(world.cluster.objects("persistentvolumeclaims")) == 1)


async def test_foreign_volume_of_that_name_is_left_alone_and_told_of(autojump_clock):
    async with a_world() as world, world.user() as client:
        foreign = await client.create_volume(VolumeRequest(name="data", size_mb=8))
        world.start()
        world.create_claim()
        await world.until(lambda: world.events("ProvisioningFailed"))
        assert "data" in world.events("ProvisioningFailed")[0]["message"]
        assert world.persistent_volumes == []
        await client.delete_volume(foreign.uuid)
        await world.until_bound()
        world.delete_claim()
        await world.until(lambda: not world.volumes)


async def test_claim_given_up_while_a_foreign_volume_has_its_name_takes_nothing_along(
    autojump_clock,
):
    async with a_world() as world, world.user() as client:
        await client.create_volume(VolumeRequest(name="data", size_mb=8))
        world.start()
        world.create_claim()
        await world.until(lambda: world.events("ProvisioningFailed"))
        world.delete_claim()
        await world.until(lambda: not world.cluster.objects("persistentvolumeclaims"))
        assert world.volumes.keys() == {"data"}


async def test_volume_in_use_is_deleted_once_it_is_free(autojump_clock):
    async with a_world() as world, world.user() as client:
        world.start()
        world.create_claim()
        await world.until_bound()
        mount = InstanceVolumeRequest(name="data", at="/data")
        instance = await client.create_instance(
            InstanceRequest(name="user", image="app", volumes=(mount,))
        )
        world.delete_claim()
        await world.until(lambda: world.events("VolumeFailedDelete"))
        assert len(world.persistent_volumes) == 1
        await client.delete_instance(instance.uuid)
        await world.until(lambda: not world.volumes and not world.persistent_volumes)


async def test_retained_volume_outlives_claim_and_persistent_volume(autojump_clock):
    async with a_world() as world:
        world.start()
        world.create_claim()
        await world.until_bound()
        [pv] = world.persistent_volumes

        def retained(value):
            value["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
            return value

        world.cluster.change("persistentvolumes", pv["metadata"]["name"], retained)
        world.delete_claim()
        await trio.sleep(30)
        assert len(world.persistent_volumes) == 1
        world.cluster.delete(pv)
        await world.until(lambda: not world.persistent_volumes)
        assert world.volumes.keys() == {"data"}


async def test_namesake_gets_a_volume_of_its_own(autojump_clock):
    async with a_world() as world:
        world.start()
        world.create_claim()
        await world.until_bound()
        first = world.volumes["data"].uuid
        world.delete_claim()
        await world.until(lambda: not world.cluster.objects("persistentvolumeclaims"))
        world.create_claim()
        await world.until_bound()
        assert world.volumes["data"].uuid != first
        assert len(world.persistent_volumes) == 1


async def test_class_of_another_name_that_names_our_provisioner_is_served(autojump_clock):
    async with a_world() as world:
        world.create_class("fast")
        world.start()
        world.create_claim(storage_class="fast")
        world.create_claim("elsewhere", storage_class="slow")
        await world.until_bound()
        assert world.volumes.keys() == {"data"}


async def test_two_daemons_make_one_volume_and_the_second_takes_over(autojump_clock):
    async with a_world() as world:
        world.start("first")
        await trio.sleep(3)
        first = attrs.evolve(world)
        world.start("second")
        world.create_claim()
        await world.until_bound()
        assert len(world.volumes) == len(world.persistent_volumes) == 1
        first.kill()
        await trio.sleep(1)
        world.create_claim("more")
        await world.until_bound("more")
        assert "kraftlet:node=second" in world.volumes["more"].tags


async def test_outage_of_the_platform_delays_and_loses_nothing(autojump_clock):
    async with a_world() as world:
        world.start()
        await trio.sleep(1)
        world.cloud.faults.add(AnswerStatus(503), times=20)
        world.cloud.faults.add(CommitThenDrop(), method="POST")
        world.create_claim()
        await trio.sleep(120)
        assert world.claim()["status"]["phase"] == "Bound"
        assert len(world.volumes) == 1


async def live_through(kills, delete_at_kill, wait):
    """A claim's life, its provisioner killed and started again at each of *kills*' requests."""
    async with a_world() as world:
        world.create_claim()
        deleted = False
        for kill_at, after_commit in kills:
            world.kill_at, world.kill_after_commit = kill_at, after_commit
            world.start()
            with suppress(trio.TooSlowError):
                await world.until(lambda: world.kill_at is None, seconds=30)
            world.kill()
            world.kill_at = None
            await trio.sleep(0.1)
            if delete_at_kill and not deleted:
                deleted = True
                world.delete_claim()
            await trio.sleep(wait)
        world.start()
        if not deleted:
            await world.until_bound()
            [pv] = world.persistent_volumes
            [volume] = world.volumes.values()
            assert pv["spec"]["csi"]["volumeHandle"] == volume.uuid
            await trio.sleep(10)
            assert "cloud.unikraft.v1/volume" not in world.claim()["metadata"]["finalizers"]
            world.delete_claim()
        await world.until(
            lambda: (
                not (
                    world.volumes
                    or world.persistent_volumes
                    or world.cluster.objects("persistentvolumeclaims")
                )
            ),
            seconds=120,
        )


@pytest.mark.parametrize("delete_at_kill", [False, True])
@pytest.mark.parametrize("after_commit", [False, True])
def test_killed_once_at_any_request_it_leaves_nothing(after_commit, delete_at_kill):
    for kill_at in range(1, 13):
        trio.run(
            partial(live_through, [(kill_at, after_commit)], delete_at_kill, 0.0),
            clock=MockClock(autojump_threshold=0),
        )


@settings(max_examples=40, deadline=None)
@given(
    kills=st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=4),
    delete_at_kill=st.booleans(),
    wait=st.sampled_from([0.0, 20.0]),
    chance=st.random_module(),
)
def test_killed_again_and_again_it_leaves_nothing(kills, delete_at_kill, wait, chance):
    trio.run(
        partial(live_through, kills, delete_at_kill, wait), clock=MockClock(autojump_threshold=0)
    )

"""Volumes that belong to one Pod: made before its instances, gone after them, never two of one."""

from __future__ import annotations

import pytest
import trio

from tests.manifests import a_claim, a_container, a_pod


def an_empty_dir(name="scratch", **source):
    return {"name": name, "emptyDir": source}


def with_scratch(*names, init=(), volume=None, **fields):
    """A Pod all of whose containers mount one emptyDir."""
    containers = [a_container(one, mounts={"scratch": "/scratch"}) for one in names]
    return a_pod(
        "web",
        *containers,
        init=tuple(init),
        volumes=[volume or an_empty_dir()],
        **fields,
    )


def attached(world):
    """Name of each volume → instances that it is attached to."""
    found = {}
    for instance in world.instances().values():
        for each in instance.attachments:
            found.setdefault(each.volume.name, set()).add(instance.name)
    return found


async def test_empty_dir_is_one_volume_for_init_and_main_and_goes_with_the_pod(
    autojump_clock, world
):
    world.script("setup", run_seconds=1.0)
    await world.start_daemon()
    setup = a_container("setup", "setup", mounts={"scratch": "/work"})
    pod = with_scratch("app", init=[setup], volume=an_empty_dir(sizeLimit="9.5Mi"))
    world.apply(pod)
    await world.eventually(world.is_ready)
    [(name, volume)] = world.volumes().items()
    assert volume.size_mb == 10
    assert attached(world) == {name: {"web-setup", "web-app"}}
    world.delete(pod)
    await world.eventually(world.is_empty)


async def test_containers_side_by_side_share_a_file_system_that_can_be_shared(
    autojump_clock, world
):
    await world.start_daemon()
    world.apply(with_scratch("app", "log"))
    await world.eventually(world.is_ready)
    [volume] = world.volumes().values()
    assert (volume.filesystem, volume.access_mode) == ("virtiofs", "rwx")
    assert volume.size_mb == 100
    [users] = attached(world).values()
    assert users == {"web-app", "web-log"}


async def test_what_is_in_it_outlives_a_restart_of_the_container(autojump_clock, world):
    await world.start_daemon()
    world.apply(with_scratch("app"))
    await world.eventually(world.is_ready)
    [before] = world.volumes().values()
    world.end("web-app")
    await world.eventually(lambda: world.container().get("restartCount") == 1)
    await world.eventually(world.is_ready)
    [after] = world.volumes().values()
    assert after.uuid == before.uuid
    assert attached(world) == {after.name: {"web-app"}}


async def test_pod_that_succeeded_gives_its_volume_back(autojump_clock, world):
    world.script("nginx:latest", run_seconds=2.0)
    await world.start_daemon()
    world.apply(with_scratch("app", restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Succeeded")
    await world.eventually(lambda: not world.volumes())
    await world.check_quiet()


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.02, 0.05, 0.2])
async def test_kill_at_any_moment_leaves_one_volume_and_then_none(autojump_clock, world, seconds):
    await world.start_daemon()
    pod = with_scratch("app", "log")
    world.apply(pod)
    await trio.sleep(seconds)
    world.kill_daemon()
    await world.start_daemon()
    await world.eventually(world.is_ready)
    assert len(world.volumes()) == 1
    world.delete(pod)
    await trio.sleep(seconds)
    world.kill_daemon()
    await world.start_daemon()
    await world.eventually(world.is_empty)


async def test_memory_is_kept_on_a_volume_and_said_so(autojump_clock, world):
    await world.start_daemon()
    world.apply(with_scratch("app", volume=an_empty_dir(medium="Memory", sizeLimit="16Mi")))
    await world.eventually(world.is_ready)
    assert [one.size_mb for one in world.volumes().values()] == [16]
    assert any("Memory" in event["message"] for event in world.cluster.objects("events"))


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ({"name": "scratch", "hostPath": {"path": "/srv"}}, "hostPath"),
        ({"name": "scratch", "nfs": {"server": "a", "path": "/"}}, "nfs"),
        (an_empty_dir(medium="HugePages-2Mi"), "HugePages"),
    ],
)
async def test_other_kinds_are_refused_by_name(autojump_clock, world, volume, said):
    await world.start_daemon()
    world.apply(with_scratch("app", volume=volume))
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    assert said in world.container()["state"]["waiting"]["message"]
    assert not world.instances()
    assert not world.volumes()


async def test_second_pod_waits_for_a_claim_that_another_uses(autojump_clock, world):
    await world.start_daemon()
    first, second = (
        a_pod(name, a_container(mounts={"data": "/data"}), claims={"data": "data"})
        for name in ("one", "two")
    )
    world.apply(a_claim(), first)
    await world.eventually(lambda: world.is_ready("one"))
    world.apply(second)
    await trio.sleep(60)
    assert not world.is_ready("two")
    world.delete(first)
    await world.eventually(lambda: world.is_ready("two"), seconds=120)

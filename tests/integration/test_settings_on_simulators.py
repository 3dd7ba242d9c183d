"""The same daemon under other settings, and several of them beside each other."""

from __future__ import annotations

import trio

from tests.manifests import NODE, a_claim, a_container, a_pod, a_service
from tests.world import a_world

OTHER = "other-node"


def on_other_node(pod):
    pod["spec"]["nodeName"] = OTHER
    return pod


async def test_nodes_share_the_group_of_a_service(autojump_clock, world):
    await world.start_daemon()
    await world.start_daemon(node_name=OTHER)
    here = a_pod("here", labels={"app": "web"})
    there = on_other_node(a_pod("there", labels={"app": "web"}))
    world.apply(a_service(), here, there)
    await world.eventually(lambda: world.are_ready(2))
    assert world.members() == {"web": {"here-app", "there-app"}}
    world.delete(here)
    await world.eventually(lambda: world.pod_names() == {"there"})
    await trio.sleep(60)
    assert world.members() == {"web": {"there-app"}}
    world.delete(there)
    await world.eventually(world.is_empty)


async def test_nodes_that_lose_their_pods_at_once_leave_no_group(autojump_clock, world):
    await world.start_daemon()
    await world.start_daemon(node_name=OTHER)
    pods = [a_pod(f"here-{number}", labels={"app": "web"}) for number in range(2)]
    pods += [on_other_node(a_pod(f"there-{number}", labels={"app": "web"})) for number in range(2)]
    world.apply(a_service(), *pods)
    await world.eventually(lambda: world.are_ready(4))
    world.delete(*pods)
    await world.eventually(world.is_empty)


async def test_pod_of_one_node_takes_over_the_group_that_the_other_is_leaving(
    autojump_clock, world
):
    await world.start_daemon()
    await world.start_daemon(node_name=OTHER)
    world.apply(a_service())
    here = a_pod("here", labels={"app": "web"})
    there = on_other_node(a_pod("there", labels={"app": "web"}))
    for pause in (0.0, 0.01, 0.03, 0.06, 0.2):
        world.apply(here)
        await world.eventually(lambda: world.is_ready("here"))
        world.delete(here)
        await trio.sleep(pause)
        world.apply(there)
        await world.eventually(lambda: world.is_ready("there"))
        await world.eventually(lambda: world.members() == {"web": {"there-app"}})
        world.delete(there)
        await world.eventually(world.is_empty)


async def test_one_of_several_daemons_provisions_claims(autojump_clock, world):
    await world.start_daemon()
    await world.start_daemon(node_name=OTHER)
    claims = [a_claim(f"data-{number}") for number in range(5)]
    world.apply(*claims)
    await world.eventually(lambda: len(world.volumes()) == 5)
    await trio.sleep(60)
    assert world.volumes().keys() == {f"data-{number}" for number in range(5)}
    assert len({volume.tags[0] for volume in world.volumes().values()}) == 1
    world.delete(*claims)
    await world.eventually(world.is_empty)


async def test_without_a_finalizer_a_pod_deleted_in_order_leaves_nothing(autojump_clock):
    # An environment variable that is set to nothing reaches the settings as an empty text.
    async with a_world(pod_finalizer="") as world:
        await world.start_daemon()
        world.apply(a_service(), a_pod())
        await world.eventually(world.is_ready)
        assert "finalizers" not in world.pod()["metadata"]
        world.delete(a_pod(), a_service())
        await world.eventually(world.is_empty)


async def test_hashed_names_show_nothing_of_their_owners(autojump_clock):
    async with a_world(naming="hashed") as world:
        await world.start_daemon()
        database = a_pod("db", a_container(mounts={"data": "/data"}), claims={"data": "data"})
        world.apply(a_claim(), database, a_service(), a_pod())
        await world.eventually(lambda: world.are_ready(2))
        names = {*world.instances(), *world.groups(), *world.volumes()}
        assert len(names) == 4
        assert all(len(name) == 43 and name.isalnum() for name in names)
        world.delete(database, a_pod(), a_claim(), a_service())
        await world.eventually(world.is_empty)


async def test_provisioner_that_is_switched_off_leaves_claims_alone(autojump_clock):
    async with a_world(enable_pvc_watcher="false") as world:
        await world.start_daemon()
        world.apply(a_claim())
        await trio.sleep(60)
        assert not world.volumes()
        assert world.node_condition() == "True"
        assert world.cluster.objects("nodes")[0]["metadata"]["name"] == NODE

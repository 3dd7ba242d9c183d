"""Deployments behind Services, from their first Pod to nothing left."""

from __future__ import annotations

from tests.manifests import a_container, a_deployment, a_pod, a_service


async def test_simple_app_is_one_group_with_an_instance_a_replica(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("web", {443: 8080}), a_deployment("web", replicas=3))
    await world.eventually(lambda: world.are_ready(3))
    instances = {f"{name}-app" for name in world.pod_names()}
    assert world.instances().keys() == instances
    assert world.members() == {"web": instances}
    [published] = world.groups()["web"].services
    assert (published.port, published.destination_port) == (443, 8080)
    assert published.handlers == ("tls", "http")
    for pod in world.pods():
        address = world.instances()[f"{pod['metadata']['name']}-app"].private_ip
        assert pod["status"]["podIP"] == address
        assert pod["status"]["hostIP"] == "192.0.2.1"


async def test_scaling_adds_and_removes_members_of_the_same_group(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("web"), a_deployment("web", replicas=1))
    await world.eventually(lambda: world.are_ready(1))
    group = world.groups()["web"]
    for replicas in (4, 2, 3):
        world.scale("web", replicas)
        await world.eventually(lambda replicas=replicas: world.are_ready(replicas))
        assert world.groups() == {"web": group}
        assert world.members()["web"] == {f"{name}-app" for name in world.pod_names()}
    world.scale("web", 0)
    await world.eventually(lambda: not world.pods())
    assert not world.instances()
    assert not world.groups()


async def test_rolling_update_never_leaves_the_group_empty(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_service("web"), a_deployment("web", replicas=2))
    await world.eventually(lambda: world.are_ready(2))
    group = world.groups()["web"]

    def with_new_image(deployment):
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:new"
        return deployment

    def is_updated():
        assert any(one.state == "running" for one in group.instances.values())
        return world.are_ready(2) and all("nginx@" in image for image in images())

    def images():
        return [one.image.resolved for one in world.instances().values()]

    old = set(images())
    world.cluster.change("deployments", "web", with_new_image)
    await world.eventually(lambda: is_updated() and not old & set(images()))
    assert world.groups() == {"web": group}


async def test_deleted_app_leaves_nothing(autojump_clock, world):
    service, deployment = a_service("web"), a_deployment("web", replicas=3)
    await world.start_daemon()
    world.apply(service, deployment)
    await world.eventually(lambda: world.are_ready(3))
    world.delete(deployment, service)
    await world.eventually(world.is_empty)


async def test_two_containers_are_two_groups_under_the_domain_of_each(autojump_clock, world):
    annotations = {"cloud.unikraft.v1.services/domain": "shop"}
    await world.start_daemon()
    world.apply(
        a_service("web", {443: 8080, 9090: 9090}, annotations=annotations),
        a_pod("web", a_container("app", ports=[8080]), a_container("metrics", ports=[9090])),
    )
    await world.eventually(world.is_ready)
    assert world.instances().keys() == {"web-app", "web-metrics"}
    assert world.published() == {"web-app": {443: 8080}, "web-metrics": {9090: 9090}}
    assert world.members() == {"web-app": {"web-app"}, "web-metrics": {"web-metrics"}}
    zone = world.cloud.account.zone
    assert world.groups()["web-app"].domains == (f"app-shop.{zone}",)
    assert world.groups()["web-metrics"].domains == (f"metrics-shop.{zone}",)


async def test_pods_of_other_namespaces_do_not_meet_by_their_names(autojump_clock, world):
    from_elsewhere = {"namespace": "team-a"}
    await world.start_daemon()
    world.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}})
    world.apply(
        a_service("web"),
        a_pod("web"),
        a_service("web", **from_elsewhere),
        a_pod("web", **from_elsewhere),
    )
    await world.eventually(lambda: len(world.members()) == 2 and all(world.members().values()))
    assert len(world.instances()) == 2
    assert [len(members) for members in world.members().values()] == [1, 1]
    assert {"web-app"} == world.members()["web"]


async def test_quiet_pods_cost_no_writes(autojump_clock, world):
    await world.start_daemon()
    world.apply(
        a_service("web"), a_deployment("web", replicas=3), a_pod("job", restartPolicy="Never")
    )
    await world.eventually(lambda: world.are_ready(4))
    await world.check_quiet(seconds=300)

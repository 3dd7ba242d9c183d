"""Pods that change while they run: images, sizes, sleep, and what they refer to."""

from __future__ import annotations

import trio

from tests.manifests import a_config_map, a_container, a_pod, a_service

REFRESH = "cloud.unikraft.v1.instances/refresh"
COOLDOWN = "cloud.unikraft.v1.instances/scale_to_zero.cooldown_time_ms"


def set_container(world, **fields):
    """As ``kubectl set image`` and the ``resize`` subresource do."""

    def change(pod):
        pod["spec"]["containers"][0].update(fields)
        return pod

    subresource = "resize" if "resources" in fields else ""
    world.cluster.change("pods", "web", change, subresource=subresource)


def condition(world, kind):
    found = [one for one in world.pod()["status"]["conditions"] if one["type"] == kind]
    return found[0] if found else None


def of_size(cpu, memory):
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


async def test_new_image_restarts_just_its_container(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container("app", "app:1"), a_container("log", "log:1")))
    await world.eventually(world.is_ready)
    uuid = world.instances()["web-app"].uuid
    set_container(world, image="app:2")
    await world.eventually(lambda: world.container("app").get("restartCount") == 1)
    await world.eventually(world.is_ready)
    app = world.instances()["web-app"]
    assert app.uuid == uuid
    assert app.start_count == 2
    assert str(app.image.tag) == "2"
    assert world.container("app")["image"] == "app:2"
    assert world.instances()["web-log"].start_count == 1
    assert world.container("log")["restartCount"] == 0
    [killing] = world.events("Killing")
    assert killing["message"] == "Container app definition changed, will be restarted"
    assert world.pod()["status"]["observedGeneration"] == world.pod()["metadata"]["generation"]
    await world.check_quiet()


async def test_mended_image_ends_a_crash_loop_at_once(autojump_clock, world):
    world.script("broken", run_seconds=1.0, exit_code=1)
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="broken")))
    await world.eventually(lambda: world.container().get("restartCount") == 4, seconds=600)
    await world.eventually(lambda: world.waits_for() == "CrashLoopBackOff")
    set_container(world, image="good")
    await world.eventually(world.is_ready, seconds=8)


async def test_image_that_cannot_be_pulled_is_mended_at_once(autojump_clock, world):
    world.script("missing", pull="fail")
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="missing")))
    await world.eventually(lambda: world.waits_for() == "ImagePullBackOff")
    await trio.sleep(100)
    set_container(world, image="good")
    await world.eventually(world.is_ready, seconds=8)


async def test_resize_restarts_its_container_and_tells_how_far_it_is(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(resources=of_size("1", "64Mi"))))
    await world.eventually(world.is_ready)
    assert world.container()["resources"]["limits"]["memory"] == "64Mi"
    set_container(world, resources=of_size("1", "96Mi"))
    await world.eventually(lambda: condition(world, "PodResizeInProgress"), every=0.02)
    await world.eventually(
        lambda: world.container()["resources"]["limits"]["memory"] == "96Mi" and world.is_ready()
    )
    await world.eventually(lambda: condition(world, "PodResizeInProgress") is None)
    assert world.container()["allocatedResources"]["memory"] == "96Mi"
    assert world.instances()["web-app"].memory_mb == 96
    assert world.container()["restartCount"] == 1
    await world.check_quiet()


async def test_resize_to_what_is_the_same_for_the_platform_restarts_nothing(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(resources=of_size("500m", "64Mi"))))
    await world.eventually(world.is_ready)
    set_container(world, resources=of_size("700m", "64Mi"))
    await world.eventually(lambda: world.container()["resources"]["limits"]["cpu"] == "700m")
    await trio.sleep(60)
    assert world.instances()["web-app"].start_count == 1
    assert condition(world, "PodResizeInProgress") is None


async def test_impossible_resize_is_told_and_changes_nothing(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container(resources=of_size("1", "64Mi"))))
    await world.eventually(world.is_ready)
    set_container(world, resources=of_size("1", "1Ti"))
    await world.eventually(lambda: condition(world, "PodResizePending"))
    pending = condition(world, "PodResizePending")
    assert (pending["status"], pending["reason"]) == ("True", "Infeasible")
    assert world.container()["resources"]["limits"]["memory"] == "64Mi"
    assert world.is_ready()
    assert world.instances()["web-app"].start_count == 1
    assert world.events("ResizeInfeasible")
    set_container(world, resources=of_size("1", "64Mi"))
    await world.eventually(lambda: condition(world, "PodResizePending") is None)


async def test_pod_that_never_restarts_says_that_it_cannot_be_resized(autojump_clock, world):
    await world.start_daemon()
    container = a_container(resources=of_size("1", "64Mi"))
    world.apply(a_pod("web", container, restartPolicy="Never"))
    await world.eventually(world.is_ready)
    set_container(world, resources=of_size("1", "96Mi"))
    await world.eventually(lambda: condition(world, "PodResizePending"))
    assert condition(world, "PodResizePending")["reason"] == "Infeasible"
    assert "restartPolicy Never" in condition(world, "PodResizePending")["message"]
    assert not world.requests("PATCH", "/v1/instances")
    await world.check_quiet()


async def test_other_sleep_is_taken_over_without_a_restart(autojump_clock, world):
    await world.start_daemon()
    world.apply(
        a_service("web"),
        a_pod("web", a_container(ports=[8080]), annotations={COOLDOWN: "600000"}),
    )
    await world.eventually(world.is_ready)

    def change(pod):
        pod["metadata"]["annotations"][COOLDOWN] = "2000"
        return pod

    world.cluster.change("pods", "web", change)
    await world.eventually(lambda: world.requests("PATCH", "/v1/instances"))
    await trio.sleep(30)
    assert len(world.requests("PATCH", "/v1/instances")) == 1
    assert world.container()["restartCount"] == 0
    assert world.instances()["web-app"].start_count == 1


def a_pod_that_refers(refresh):
    setting = {"configMapKeyRef": {"name": "settings", "key": "level"}}
    return a_pod(
        "web",
        a_container(env=[{"name": "LEVEL", "valueFrom": setting}]),
        annotations={REFRESH: refresh} if refresh else {},
    )


def set_level(world, level):
    def change(config_map):
        config_map["data"]["level"] = level
        return config_map

    world.cluster.change("configmaps", "settings", change)


async def test_changed_config_map_restarts_a_container_that_asked_for_it(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_config_map(level="low"), a_pod_that_refers("restart"))
    await world.eventually(world.is_ready)
    await trio.sleep(20)
    assert world.container()["restartCount"] == 0
    set_level(world, "high")
    await world.eventually(lambda: world.container().get("restartCount") == 1, seconds=10)
    await world.eventually(world.is_ready)
    assert world.instances()["web-app"].env["LEVEL"] == "high"
    await world.check_quiet()


async def test_changed_config_map_waits_for_the_next_start_where_that_is_asked(
    autojump_clock, world
):
    await world.start_daemon()
    world.apply(a_config_map(level="low"), a_pod_that_refers("next-start"))
    await world.eventually(world.is_ready)
    set_level(world, "high")
    await trio.sleep(60)
    assert world.container()["restartCount"] == 0
    world.end("web-app")
    await world.eventually(lambda: world.container().get("restartCount") == 1)
    await world.eventually(world.is_ready)
    assert world.instances()["web-app"].env["LEVEL"] == "high"


async def test_each_start_takes_over_what_its_config_maps_hold(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_config_map(level="low"), a_pod_that_refers(""))
    await world.eventually(world.is_ready)
    set_level(world, "high")
    await trio.sleep(60)
    assert world.instances()["web-app"].env["LEVEL"] == "low"
    world.end("web-app")
    await world.eventually(lambda: world.container().get("restartCount") == 1)
    await world.eventually(world.is_ready)
    assert world.instances()["web-app"].env["LEVEL"] == "high"


async def test_update_outlives_a_kill_of_the_daemon(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod("web", a_container("app", "app:1")))
    await world.eventually(world.is_ready)
    world.kill_daemon()
    set_container(world, image="app:2")
    await world.start_daemon()
    await world.eventually(lambda: world.container().get("restartCount") == 1)
    await world.eventually(world.is_ready)
    assert world.instances()["web-app"].start_count == 2
    await world.check_quiet()

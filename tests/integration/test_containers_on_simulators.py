"""Containers that end, fail, wait and cannot start: what their Pods say of it, and do about it."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
import trio

from kraftlet_trio.clock import utc_now
from tests.manifests import a_config_map, a_container, a_pod, a_service


async def note_starts(world, until):
    """Which instance started when, looked at every tenth of a second."""
    began = []

    def look():
        for name, instance in world.instances().items():
            if instance.start_count > [one for one, _ in began].count(name):
                began.append((name, trio.current_time()))
        return "web-app" in world.instances() and until()

    await world.eventually(look, seconds=900)
    return began


def a_pod_with_settings():
    setting = {"configMapKeyRef": {"name": "settings", "key": "level"}}
    return a_pod("web", a_container(env=[{"name": "LEVEL", "valueFrom": setting}]))


async def test_init_containers_run_in_turn_and_again_after_1_s_and_2_s(autojump_clock, world):
    world.script("first", run_seconds=1.0)
    world.script("second", run_seconds=1.0, exits=(3, 3))
    await world.start_daemon()
    world.apply(a_pod("web", init=(a_container("one", "first"), a_container("two", "second"))))
    began = await note_starts(world, until=world.is_ready)
    assert [name for name, _ in began] == ["web-one", "web-two", "web-two", "web-two", "web-app"]
    first, second, third = (at for name, at in began if name == "web-two")
    # From start to start: a run of a second and the pause, which counts from a whole second.
    assert 1.0 < second - first <= 2.2
    assert 2.0 < third - second <= 3.2
    assert world.container("one")["restartCount"] == 0
    assert world.container("two")["restartCount"] == 2
    assert world.container("two")["state"]["terminated"]["reason"] == "Completed"
    requests = {one.name: one for one in world.instances().values()}
    assert requests["web-one"].service_group is None


async def test_failed_init_container_fails_a_pod_that_never_restarts(autojump_clock, world):
    world.script("broken", run_seconds=0.5, exit_code=3)
    await world.start_daemon()
    world.apply(a_pod("web", init=(a_container("one", "broken"),), restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Failed")
    await trio.sleep(600)
    assert world.instances().keys() == {"web-one"}
    assert world.instances()["web-one"].start_count == 1
    assert world.container("one")["state"]["terminated"]["exitCode"] == 3


async def test_crashing_container_backs_off_as_under_kubelet(autojump_clock, world):
    world.script("crashing", run_seconds=1.0, exit_code=1)
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="crashing")))
    began = await note_starts(world, until=lambda: world.instances()["web-app"].start_count == 7)
    waits = [later - earlier for (_, earlier), (_, later) in pairwise(began)]
    # A run of a second, and then the back-off, counted from the end.
    assert waits[0] < 6.5  # at once, when the end is seen
    assert waits[1:] == pytest.approx([11, 21, 41, 81, 161], abs=1.5)
    await world.eventually(lambda: world.container()["restartCount"] == 6)
    await world.eventually(lambda: world.waits_for() == "CrashLoopBackOff")
    assert world.phase() == "Running"
    assert not world.is_ready()
    assert world.container()["lastState"]["terminated"]["exitCode"] == 1
    assert world.events("BackOff")


async def test_restart_count_and_back_off_outlive_the_daemon(autojump_clock, world):
    world.script("crashing", run_seconds=1.0, exit_code=1)
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="crashing")))
    await world.eventually(lambda: world.container().get("restartCount") == 3, seconds=120)
    await world.eventually(lambda: world.waits_for() == "CrashLoopBackOff")
    world.kill_daemon()
    await world.start_daemon()
    starts = world.instances()["web-app"].start_count
    assert starts == 4
    await trio.sleep(20)
    assert world.instances()["web-app"].start_count == starts
    assert world.waits_for() == "CrashLoopBackOff"
    await world.eventually(lambda: world.container()["restartCount"] == 4, seconds=60)
    assert world.instances()["web-app"].start_count == 5


async def test_end_that_nobody_saw_counts_as_a_restart(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod())
    await world.eventually(world.is_ready)
    world.kill_daemon()
    world.end("web-app", 1)
    await trio.sleep(60)
    await world.start_daemon()
    await world.eventually(world.is_ready)
    assert world.container()["restartCount"] == 1
    assert world.container()["lastState"]["terminated"]["exitCode"] == 1


async def test_job_succeeds_once_and_is_not_run_again(autojump_clock, world):
    world.script("job", run_seconds=2.0)
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="job"), restartPolicy="OnFailure"))
    await world.eventually(lambda: world.phase() == "Succeeded")
    await trio.sleep(600)
    assert world.container()["restartCount"] == 0
    assert world.container()["state"]["terminated"]["reason"] == "Completed"


async def test_image_that_cannot_be_pulled_is_tried_again_until_it_can(autojump_clock, world):
    world.script("private", pull="fail")
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="private")))
    await world.eventually(lambda: world.waits_for() == "ImagePullBackOff")
    assert "ErrImagePull" in "".join(event["message"] for event in world.events("Failed"))
    assert world.phase() == "Pending"
    assert world.container()["restartCount"] == 0
    world.script("private")
    await world.eventually(world.is_ready, seconds=60)
    assert world.container()["restartCount"] == 0


async def test_missing_config_map_is_waited_for(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod_with_settings())
    await world.eventually(lambda: world.waits_for() == "CreateContainerConfigError")
    assert world.phase() == "Pending"
    assert not world.instances()
    world.apply(a_config_map("settings"))
    await trio.sleep(20)
    assert world.waits_for() == "CreateContainerConfigError"
    assert "level" in world.container()["state"]["waiting"]["message"]

    def with_level(config_map):
        return {**config_map, "data": {"level": "high"}}

    world.cluster.change("configmaps", "settings", with_level)
    await world.eventually(world.is_ready, seconds=15)
    assert world.instances()["web-app"].env["LEVEL"] == "high"


async def test_full_quota_is_waited_for(autojump_clock, world):
    roomy = world.cloud.account.hard
    world.cloud.account.hard = attrs.evolve(roomy, instances=1)
    await world.start_daemon()
    world.apply(a_pod("one"), a_pod("two"))
    await world.eventually(lambda: world.is_ready("one") or world.is_ready("two"))
    await trio.sleep(60)
    [waiting] = [name for name in ("one", "two") if not world.is_ready(name)]
    assert world.phase(waiting) == "Pending"
    assert world.waits_for("app", waiting) == "CreateContainerError"
    assert "uota" in world.container("app", waiting)["state"]["waiting"]["message"]
    world.cloud.account.hard = roomy
    await world.eventually(lambda: world.are_ready(2), seconds=60)


async def test_name_that_somebody_elses_instance_has_is_waited_for(autojump_clock, world):
    await world.start_daemon()
    foreign = await world.make_foreign_instance("web-app")
    world.apply(a_pod())
    await world.eventually(lambda: world.waits_for().startswith("CreateContainer"))
    assert "web-app" in world.container()["state"]["waiting"]["message"]
    await trio.sleep(60)
    assert world.instances()["web-app"].uuid == foreign
    await world.delete_foreign_instance(foreign)
    await world.eventually(world.is_ready, seconds=60)
    assert world.instances()["web-app"].uuid != foreign


async def test_pod_that_waits_for_a_taken_name_is_deleted_and_the_other_instance_is_not(
    autojump_clock, world
):
    await world.start_daemon()
    foreign = await world.make_foreign_instance("web-app")
    world.apply(a_pod())
    await world.eventually(lambda: world.waits_for().startswith("CreateContainer"))
    world.delete(a_pod())
    await world.eventually(lambda: not world.pods())
    assert world.instances()["web-app"].uuid == foreign


async def test_instance_stopped_through_the_platform_is_started_again(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod())
    await world.eventually(world.is_ready)
    await world.as_account_owner("PUT", f"/v1/instances/{world.instances()['web-app'].uuid}/stop")
    await world.eventually(lambda: world.container().get("restartCount") == 1)
    await world.eventually(world.is_ready)
    assert world.container()["lastState"]["terminated"]["exitCode"] == 143


async def test_instance_deleted_through_the_platform_is_made_again(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod(), a_service())
    await world.eventually(world.is_ready)
    await world.as_account_owner("DELETE", f"/v1/instances/{world.instances()['web-app'].uuid}")
    await world.eventually(lambda: world.container()["restartCount"] == 1)
    await world.eventually(world.is_ready)
    assert world.members() == {"web": {"web-app"}}


async def test_instance_that_is_not_to_start_waits_for_its_owner(autojump_clock, world):
    annotations = {"cloud.unikraft.v1.instances/autostart": "false"}
    await world.start_daemon()
    world.apply(a_pod("web", a_container(), annotations=annotations))
    await world.eventually(lambda: "web-app" in world.instances())
    await trio.sleep(60)
    assert world.instances()["web-app"].start_count == 0
    assert world.phase() == "Pending"
    assert world.waits_for() == "ContainerCreating"
    await world.as_account_owner("PUT", f"/v1/instances/{world.instances()['web-app'].uuid}/start")
    await world.eventually(world.is_ready)
    assert world.container()["restartCount"] == 0


async def test_published_instance_that_is_not_to_start_sleeps_until_it_is_asked_for(
    autojump_clock, world
):
    annotations = {"cloud.unikraft.v1.instances/autostart": "false"}
    await world.start_daemon()
    world.apply(a_service(), a_pod(annotations=annotations))
    await world.eventually(lambda: "web-app" in world.instances())
    await trio.sleep(60)
    assert world.instances()["web-app"].state == "standby"
    assert world.instances()["web-app"].start_count == 0
    assert world.is_ready()


async def test_sleeping_instance_keeps_its_pod_running(autojump_clock, world):
    await world.start_daemon()
    world.apply(a_pod(), a_service())
    await world.eventually(world.is_ready)
    uuid = world.instances()["web-app"].uuid
    await world.as_account_owner("PUT", f"/v1/instances/{uuid}/suspend")
    await world.eventually(lambda: world.instances()["web-app"].state == "standby")
    await trio.sleep(30)
    assert world.is_ready()
    await world.as_account_owner("PUT", f"/v1/instances/{uuid}/start")
    await trio.sleep(30)
    assert world.is_ready()
    assert world.container()["restartCount"] == 0


async def test_scale_to_zero_is_what_the_annotations_say(autojump_clock, world):
    prefix = "cloud.unikraft.v1.instances/scale_to_zero."
    annotations = {
        f"{prefix}policy": "idle",
        f"{prefix}stateful": "true",
        f"{prefix}cooldown_time_ms": "2500",
    }
    await world.start_daemon()
    world.apply(
        a_service("web"), a_pod("web", annotations=annotations), a_pod("lonely", a_container())
    )
    await world.eventually(lambda: world.are_ready(2))
    asked = world.instances()["web-app"].scale_to_zero
    assert (asked.policy, asked.stateful, asked.cooldown_time_ms) == ("idle", True, 2500)
    assert world.instances()["lonely-app"].scale_to_zero.policy == "off"


async def test_invalid_annotation_is_an_event_and_the_default_holds(autojump_clock, world):
    annotations = {
        "cloud.unikraft.v1.instances/autostart": "perhaps",
        "cloud.unikraft.v1.instances/scale_to_zero.policy": "sometimes",
    }
    await world.start_daemon()
    world.apply(a_service("web"), a_pod("web", annotations=annotations))
    await world.eventually(world.is_ready)
    assert world.instances()["web-app"].scale_to_zero.policy == "on"
    said = [event["message"] for event in world.events("InvalidAnnotation")]
    assert len(said) == 2
    assert any("perhaps" in message for message in said)
    assert any("sometimes" in message for message in said)


async def test_template_is_used_in_place_of_the_image(autojump_clock, world):
    annotations = {"cloud.unikraft.v1.instances/template": "golden"}
    await world.start_daemon()
    world.apply(a_pod(annotations=annotations))
    [creation] = await world.eventually(lambda: world.requests("POST", "/v1/instances"))
    body = creation.json()
    assert body["template"] == {"name": "golden"}
    assert not {"image", "args", "env", "memory_mb", "vcpus", "volumes"} & body.keys()


async def test_one_unhealthy_pod_does_not_delay_the_others(autojump_clock, world):
    world.script("private", pull="fail")
    world.script("crashing", run_seconds=0.1, exit_code=1)
    await world.start_daemon()
    world.apply(
        a_pod_with_settings(),
        *(a_pod(f"private-{number}", a_container(image="private")) for number in range(5)),
        *(a_pod(f"crashing-{number}", a_container(image="crashing")) for number in range(5)),
    )
    await trio.sleep(120)
    before = utc_now()
    world.apply(a_pod("healthy"))
    await world.eventually(lambda: world.is_ready("healthy"), seconds=2)
    assert (utc_now() - before).total_seconds() < 1

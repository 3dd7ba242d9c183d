from datetime import datetime
from itertools import pairwise

import attrs
import pytest
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.cloud.runtime import Crashed, Exited
from kraftlet_trio.simulators.cloud.settings import EXAMPLE_HARD_QUOTAS, CloudSettings

RESTARTS = ("always", "on-failure", "never")


async def test_application_exit_is_reason_3_with_its_code(autojump_clock, cloud):
    job = await cloud.create("failing-job")
    stopped = await cloud.wait(job["uuid"], "stopped")
    assert (stopped["stop_reason"], stopped["exit_code"]) == (3, 7)
    assert stopped["uptime_ms"] == 3000
    assert stopped["stopped_at"] > stopped["started_at"]


async def test_exit_code_0_is_shown(autojump_clock, cloud):
    job = await cloud.create("job")
    assert (await cloud.wait(job["uuid"], "stopped"))["exit_code"] == 0


async def test_stop_reason_may_trail_the_state(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(stop_reason_lag_seconds=0.004))
    instance = await cloud.create()
    await cloud.wait(instance["uuid"], "running")
    cloud.simulator.runtime.end(instance["uuid"], Exited(7))
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert "stop_reason" not in stopped
    assert "exit_code" not in stopped
    await trio.sleep(0.004)
    settled = await cloud.read(instance["uuid"])
    assert (settled["stop_reason"], settled["exit_code"]) == (3, 7)


async def test_late_stop_reason_is_lost_to_a_start(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(stop_reason_lag_seconds=1))
    instance = await cloud.create()
    await cloud.wait(instance["uuid"], "running")
    cloud.simulator.runtime.end(instance["uuid"], Exited(7))
    await cloud.wait(instance["uuid"], "stopped")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/start")
    await trio.sleep(2)
    assert "stop_reason" not in await cloud.read(instance["uuid"])


async def test_crash_is_reason_1_with_the_kernels_code(autojump_clock, cloud):
    crasher = await cloud.create("crasher")
    stopped = await cloud.wait(crasher["uuid"], "stopped")
    assert (stopped["stop_reason"], stopped["stop_code"]) == (1, 818948)
    assert "exit_code" not in stopped


async def test_image_that_cannot_be_pulled_stops_with_4_and_1(autojump_clock, cloud):
    instance = await cloud.create("unpullable")
    assert instance["state"] == "starting"
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert (stopped["stop_reason"], stopped["stop_code"]) == (4, 1)
    assert stopped["start_count"] == 0


async def test_stop_goes_by_stopping_and_is_reason_15(autojump_clock, cloud):
    instance = await cloud.create()
    await cloud.wait(instance["uuid"], "running")
    answer = await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    assert (answer["state"], answer["previous_state"]) == ("stopping", "running")
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert (stopped["stop_reason"], stopped["exit_code"]) == (15, 0)


async def test_guest_that_is_told_to_stop_ends_with_the_exit_code_of_its_choice(
    autojump_clock, cloud
):
    instance = await cloud.create("offended")
    await cloud.wait(instance["uuid"], "running")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert (stopped["stop_reason"], stopped["exit_code"]) == (15, 143)


@pytest.mark.parametrize(("drain_ms", "seconds"), [(None, 10.0), (2500, 2.5), (-1, 300.0)])
async def test_guest_that_does_not_stop_is_killed_after_its_grace(
    autojump_clock, cloud, drain_ms, seconds
):
    instance = await cloud.create("stubborn")
    await cloud.wait(instance["uuid"], "running")
    began = trio.current_time()
    body = None if drain_ms is None else {"drain_timeout_ms": drain_ms}
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop", body)
    stopped = await cloud.wait(instance["uuid"], "stopped", timeout_s=1000)
    assert trio.current_time() - began == pytest.approx(seconds)
    assert stopped["stop_reason"] == 13


async def test_forced_stop_is_at_once_and_reason_28(autojump_clock, cloud):
    instance = await cloud.create("stubborn")
    await cloud.wait(instance["uuid"], "running")
    answer = await cloud.item("PUT", f"/instances/{instance['uuid']}/stop", {"force": True})
    assert answer["state"] == "stopped"
    stopped = await cloud.read(instance["uuid"])
    assert stopped["stop_reason"] == 28
    assert "exit_code" not in stopped


async def test_force_overtakes_a_stop_in_progress(autojump_clock, cloud):
    instance = await cloud.create("stubborn")
    await cloud.wait(instance["uuid"], "running")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop", {"force": True})
    assert (await cloud.read(instance["uuid"]))["stop_reason"] == 28


async def test_stop_while_booting_ends_the_boot(autojump_clock, cloud):
    instance = await cloud.create("slow")
    began = trio.current_time()
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert trio.current_time() - began < 1
    assert stopped["stop_reason"] == 13


@pytest.mark.parametrize(
    "body", [{"force": True, "drain_timeout_ms": 100}, {"dump": True}, {"drain": 1}]
)
async def test_contradictory_stops_are_400(autojump_clock, cloud, body):
    instance = await cloud.create()
    answer = await cloud.send("PUT", f"/instances/{instance['uuid']}/stop", body)
    assert answer.status_code == 400


async def test_stop_minds_ifstate(autojump_clock, cloud):
    instance = await cloud.create()
    await cloud.wait(instance["uuid"], "running")
    answer = await cloud.item("PUT", f"/instances/{instance['uuid']}/stop", {"ifstate": "standby"})
    assert answer["state"] == "running"


async def test_start_and_stop_are_idempotent(autojump_clock, cloud):
    instance = await cloud.create()
    path = f"/instances/{instance['uuid']}"
    await cloud.wait(instance["uuid"], "running")
    again = await cloud.item("PUT", f"{path}/start")
    assert (again["status"], again["state"]) == ("success", "running")
    await cloud.item("PUT", f"{path}/stop")
    assert (await cloud.item("PUT", f"{path}/stop"))["previous_state"] == "stopping"
    first = await cloud.wait(instance["uuid"], "stopped")
    assert (await cloud.item("PUT", f"{path}/stop"))["status"] == "success"
    assert (await cloud.read(instance["uuid"]))["stopped_at"] == first["stopped_at"]


async def test_start_clears_what_the_last_stop_left(autojump_clock, cloud):
    job = await cloud.create("failing-job")
    await cloud.wait(job["uuid"], "stopped")
    await cloud.item("PUT", f"/instances/{job['uuid']}/start", {"timeout_s": 5})
    running = await cloud.read(job["uuid"])
    assert running["start_count"] == 2
    for cleared in ("stop_reason", "stop_code", "exit_code", "stopped_at"):
        assert cleared not in running


async def test_stopping_instance_cannot_be_started(autojump_clock, cloud):
    instance = await cloud.create("stubborn")
    await cloud.wait(instance["uuid"], "running")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    assert (await cloud.item("PUT", f"/instances/{instance['uuid']}/start"))["error"] == 11


async def test_start_right_after_a_forced_stop_is_a_new_run(autojump_clock, cloud):
    instance = await cloud.create("job")
    path = f"/instances/{instance['uuid']}"
    await cloud.wait(instance["uuid"], "running")
    await cloud.item("PUT", f"{path}/stop", {"force": True})
    await cloud.item("PUT", f"{path}/start", {"timeout_s": 1})
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert (stopped["start_count"], stopped["stop_reason"]) == (2, 3)


async def test_suspended_instance_is_standby_until_started(autojump_clock, cloud):
    instance = await cloud.create()
    path = f"/instances/{instance['uuid']}"
    await cloud.wait(instance["uuid"], "running")
    await cloud.item("PUT", f"{path}/suspend")
    standby = await cloud.wait(instance["uuid"], "standby")
    assert standby["stop_reason"] & 32
    assert (await cloud.item("PUT", f"{path}/start"))["previous_state"] == "standby"
    await cloud.wait(instance["uuid"], "running")


async def test_stop_of_a_standby_instance_stops_it(autojump_clock, cloud):
    instance = await cloud.create()
    await cloud.wait(instance["uuid"], "running")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/suspend")
    await cloud.wait(instance["uuid"], "standby")
    answer = await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    assert answer["state"] == "stopped"


async def test_stopped_instance_cannot_be_suspended(autojump_clock, cloud):
    created = await cloud.item("POST", "/instances", {"image": "app"})
    assert (await cloud.item("PUT", f"/instances/{created['uuid']}/suspend"))["error"] == 11


SCALED = {
    "scale_to_zero": {"policy": "on", "cooldown_time_ms": 4000},
    "service_group": {"services": [{"port": 443}]},
}


async def test_nothing_idles_unless_the_setting_says_so(autojump_clock, cloud):
    instance = await cloud.create(**SCALED)
    await trio.sleep(3600)
    assert (await cloud.read(instance["uuid"]))["state"] == "running"


async def test_idle_instance_goes_to_standby_after_its_cooldown(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(idle_instances_go_to_standby=True))
    instance = await cloud.create(**SCALED)
    await trio.sleep(4)
    assert (await cloud.read(instance["uuid"]))["state"] == "running"
    standby = await cloud.wait(instance["uuid"], "standby")
    assert standby["stop_reason"] == 39


async def test_restarts_back_off_and_are_counted(autojump_clock, cloud):
    instance = await cloud.create("crasher", restart_policy="on-failure")
    starts = []
    for second in range(50):
        await trio.sleep(1)
        if (await cloud.read(instance["uuid"]))["start_count"] > len(starts):
            starts.append(second)
    pauses = [later - earlier - 1 for earlier, later in pairwise(starts)]
    assert pauses == [0, 5, 10, 20]


async def test_waiting_restart_says_when(autojump_clock, cloud):
    instance = await cloud.create("crasher", restart_policy="always")
    await trio.sleep(2.5)
    waiting = await cloud.read(instance["uuid"])
    assert waiting["state"] == "stopped"
    assert waiting["restart"]["attempt"] == 2
    assert waiting["restart_count"] == 1
    next_at = datetime.fromisoformat(waiting["restart"]["next_at"])
    assert 0 < (next_at - utc_now()).total_seconds() < 5


@pytest.mark.parametrize("action", [("PUT", "/stop"), ("PUT", "/start"), ("DELETE", "")])
async def test_manual_action_ends_the_sequence_of_restarts(autojump_clock, cloud, action):
    instance = await cloud.create("flaky", restart_policy="always")
    await trio.sleep(2.5)
    method, path = action
    await cloud.item(method, f"/instances/{instance['uuid']}{path}")
    await trio.sleep(0.2)
    if method != "DELETE":
        assert "restart" not in await cloud.read(instance["uuid"])
    if path == "/stop":
        await trio.sleep(60)
        assert (await cloud.read(instance["uuid"]))["state"] == "stopped"


async def test_ten_quiet_seconds_end_the_sequence(autojump_clock, cloud):
    instance = await cloud.create("app", restart_policy="always")
    runtime = cloud.simulator.runtime
    for uptime in (1, 1, 11):
        await cloud.wait(instance["uuid"], "running", timeout_s=-1)
        await trio.sleep(uptime)
        runtime.end(instance["uuid"], Crashed(1))
        await trio.sleep(0.01)
    began = trio.current_time()
    await cloud.wait(instance["uuid"], "running")
    assert trio.current_time() - began < 1


@pytest.mark.parametrize(
    ("policy", "setting", "restarts"),
    [
        ("always", False, True),
        ("on-failure", False, False),
        ("on-failure", True, True),
        ("never", True, False),
    ],
)
async def test_policy_decides_about_exit_codes(autojump_clock, cloud_of, policy, setting, restarts):
    cloud = await cloud_of(settings=CloudSettings(nonzero_exit_is_failure=setting))
    instance = await cloud.create("app", restart_policy=policy)
    await cloud.wait(instance["uuid"], "running")
    cloud.simulator.runtime.end(instance["uuid"], Exited(1))
    await trio.sleep(1)
    expected = "running" if restarts else "stopped"
    assert (await cloud.read(instance["uuid"]))["state"] == expected


@pytest.mark.parametrize("policy", RESTARTS)
async def test_user_stop_is_never_restarted(autojump_clock, cloud, policy):
    instance = await cloud.create("stubborn", restart_policy=policy)
    await cloud.wait(instance["uuid"], "running")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    await trio.sleep(60)
    assert (await cloud.read(instance["uuid"]))["state"] == "stopped"


async def test_instance_with_delete_on_stop_goes_with_its_stop(autojump_clock, cloud):
    job = await cloud.create("job", features=["delete-on-stop"])
    await trio.sleep(10)
    assert (await cloud.item("GET", f"/instances/{job['uuid']}"))["error"] == 8


async def test_start_over_the_live_quota_fails_after_the_create(autojump_clock, cloud_of):
    quotas = attrs.evolve(EXAMPLE_HARD_QUOTAS, live_memory_mb=200)
    cloud = await cloud_of(quotas=quotas)
    first = await cloud.create()
    second = await cloud.create()
    assert second["state"] == "stopped"
    assert second["stop_reason"] == 4
    assert (await cloud.item("PUT", f"/instances/{second['uuid']}/start"))["error"] == 19
    await cloud.wait(first["uuid"], "running")
    await cloud.item("PUT", f"/instances/{first['uuid']}/stop", {"force": True})
    assert (await cloud.item("PUT", f"/instances/{second['uuid']}/start"))["status"] == "success"


async def test_end_of_the_simulator_is_prompt(autojump_clock, cloud):
    await cloud.create("stubborn")
    await cloud.create("slow")
    began = trio.current_time()
    await cloud.stop()
    assert trio.current_time() == began

"""Probes and hooks of whole Pods: what they make of status, restarts, Services and sleep."""

from __future__ import annotations

import pytest
import trio

from kraftlet_trio.simulators.cloud.scripted_ports import Health
from kraftlet_trio.simulators.cloud.scripted_sandbox import ScriptedCommand
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from tests.manifests import a_container, a_pod, a_service
from tests.world import a_world

SLEEPY = {
    "cloud.unikraft.v1.instances/scale_to_zero.policy": "on",
    "cloud.unikraft.v1.instances/scale_to_zero.cooldown_time_ms": "2000",
}


def http(path="/", **fields):
    return {"httpGet": {"path": path, "port": 8080}, "periodSeconds": 2, **fields}


def command(*argv, **fields):
    return {"exec": {"command": list(argv)}, "periodSeconds": 2, **fields}


def a_probed_pod(annotations=None, lifecycle=None, pod=None, **probes):
    """With its readiness, liveness and startup probe as given."""
    fields = {f"{kind}Probe": probe for kind, probe in probes.items()}
    if lifecycle is not None:
        fields["lifecycle"] = lifecycle
    container = a_container(image="api", ports=[8080], **fields)
    return a_pod("web", container, annotations=annotations or {}, **(pod or {}))


def instance(world):
    return world.instances()["web-app"]


def port(world, number=8080):
    return world.cloud.runtime.port(instance(world).uuid, number)


def messages(world, reason):
    return [event["message"] for event in world.events(reason)]


@pytest.fixture
def commands(world):
    """Exit codes by program; what was run."""
    exits, runs = {}, []

    def script(guest, argv):
        runs.append((guest.name, tuple(argv)))
        answer = exits.get(argv[0])
        return ScriptedCommand(exit_code=answer) if isinstance(answer, int) else answer

    world.cloud.runtime.commands = script
    script.exits, script.runs = exits, runs
    return script


async def test_readiness_gates_ready(autojump_clock, world):
    world.script("api", ports={8080: "http"}, listens_after_seconds=30)
    await world.start_daemon()
    world.apply(a_probed_pod(readiness=http()))
    await world.eventually(lambda: world.phase() == "Running")
    await trio.sleep(5)
    assert not world.is_ready()
    assert world.container()["started"]
    await world.eventually(world.is_ready, seconds=30)
    assert "connection refused" in messages(world, "Unhealthy")[0]
    port(world).health = Health.BAD
    await world.eventually(lambda: not world.is_ready(), seconds=30)
    assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in messages(
        world, "Unhealthy"
    )
    port(world).health = Health.GOOD
    await world.eventually(world.is_ready, seconds=30)
    assert world.container()["restartCount"] == 0


async def test_liveness_failure_restarts_the_container(autojump_clock, world):
    world.script("api", ports={8080: "http"}, stop_exit_code=143)
    await world.start_daemon()
    world.apply(a_probed_pod(liveness=http(), readiness=http()))
    await world.eventually(world.is_ready)
    port(world).health = Health.SILENT
    await world.eventually(lambda: world.container()["restartCount"] == 1)
    await world.eventually(world.is_ready)
    assert world.container()["lastState"]["terminated"]["exitCode"] == 143
    assert instance(world).start_count == 2
    assert "Container app failed liveness probe, will be restarted" in messages(world, "Killing")
    await trio.sleep(60)
    assert world.container()["restartCount"] == 1


async def test_container_that_is_never_well_falls_into_the_crash_back_off(autojump_clock, world):
    world.script("api", ports={})
    await world.start_daemon()
    world.apply(a_probed_pod(liveness=http(periodSeconds=1, failureThreshold=2)))
    await world.eventually(lambda: world.waits_for() == "CrashLoopBackOff", seconds=120)
    assert world.container()["restartCount"] >= 1


async def test_startup_probe_holds_back_liveness(autojump_clock, world):
    world.script("api", ports={8080: "grpc"}, listens_after_seconds=30)
    check = {"grpc": {"port": 8080}, "periodSeconds": 1}
    await world.start_daemon()
    world.apply(
        a_probed_pod(
            startup={**check, "failureThreshold": 60}, liveness={**check, "failureThreshold": 1}
        )
    )
    await world.eventually(lambda: world.phase() == "Running")
    await trio.sleep(20)
    assert world.container()["started"] is False
    assert not world.is_ready()
    await world.eventually(world.is_ready, seconds=40)
    assert world.container()["started"]
    assert world.container()["restartCount"] == 0


async def test_startup_that_takes_too_long_restarts(autojump_clock, world):
    world.script("api", ports={8080: "tcp"}, listens_after_seconds=600)
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 5}
    await world.start_daemon()
    world.apply(a_probed_pod(startup=probe))
    await world.eventually(lambda: world.container().get("restartCount") == 1)
    assert "Container app failed startup probe, will be restarted" in messages(world, "Killing")


async def test_sidecars_startup_holds_back_the_containers(autojump_clock, world):
    world.script("proxy", ports={8080: "http"}, listens_after_seconds=40)
    sidecar = a_container(
        "proxy", "proxy", restartPolicy="Always", startupProbe=http(failureThreshold=60)
    )
    await world.start_daemon()
    world.apply(a_pod("web", a_container(), init=(sidecar,)))
    await trio.sleep(15)
    assert "web-app" not in world.instances()
    await world.eventually(world.is_ready)


async def test_commands_run_through_the_sandbox(autojump_clock, world, commands):
    commands.exits["check"] = 1
    await world.start_daemon()
    world.apply(a_probed_pod(readiness=command("check", "$(LEVEL)")))
    await world.eventually(lambda: world.phase() == "Running")
    await trio.sleep(5)
    assert not world.is_ready()
    commands.exits["check"] = 0
    await world.eventually(world.is_ready)
    assert commands.runs[0] == ("web-app", ("check", "$(LEVEL)"))


async def test_restart_of_the_daemon_does_not_flip_ready(autojump_clock, world):
    world.script("api", ports={8080: "http"})
    await world.start_daemon()
    world.apply(
        a_probed_pod(readiness=http(periodSeconds=30), startup=http(), liveness=http()), a_service()
    )
    await world.eventually(world.is_ready)
    for _ in range(3):
        world.kill_daemon()
        writes = len(world.requests("PATCH", ".*/pods/web/status"))
        await world.start_daemon()
        for _ in range(70):
            await trio.sleep(0.5)
            assert world.is_ready()
        assert len(world.requests("PATCH", ".*/pods/web/status")) == writes
    assert world.container()["restartCount"] == 0


async def test_post_start_holds_back_ready_and_its_failure_restarts(
    autojump_clock, world, commands
):
    commands.exits["warm-up"] = ScriptedCommand(exit_code=0, seconds=30)
    lifecycle = {"postStart": {"exec": {"command": ["warm-up"]}}}
    await world.start_daemon()
    world.apply(a_probed_pod(lifecycle=lifecycle))
    await world.eventually(lambda: world.phase() == "Running")
    await trio.sleep(5)
    assert not world.is_ready()
    await world.eventually(world.is_ready, seconds=30)
    assert len(commands.runs) == 1
    commands.exits["warm-up"] = 1
    world.end("web-app")
    await world.eventually(lambda: world.container()["restartCount"] == 2, seconds=120)
    assert messages(world, "FailedPostStartHook")[0] == "PostStartHook failed"


async def test_pre_stop_runs_inside_the_grace(autojump_clock, world, commands):
    commands.exits["drain"] = ScriptedCommand(seconds=5)
    lifecycle = {"preStop": {"exec": {"command": ["drain"]}}}
    await world.start_daemon()
    pod = a_probed_pod(lifecycle=lifecycle)
    world.apply(pod)
    await world.eventually(world.is_ready)
    began = trio.current_time()
    world.delete(pod)
    await trio.sleep(4)
    assert instance(world).state == "running"
    await world.eventually(world.is_empty, every=0.05)
    assert 5 <= trio.current_time() - began < 7
    assert len(commands.runs) == 1


async def test_pre_stop_that_outlasts_the_grace_is_cut(autojump_clock, world, commands):
    commands.exits["drain"] = ScriptedCommand(seconds=500)
    lifecycle = {"preStop": {"exec": {"command": ["drain"]}}}
    await world.start_daemon()
    pod = a_probed_pod(lifecycle=lifecycle, pod={"terminationGracePeriodSeconds": 8})
    world.apply(pod)
    await world.eventually(world.is_ready)
    began = trio.current_time()
    world.delete(pod)
    await world.eventually(world.is_empty)
    assert 8 <= trio.current_time() - began < 12


async def test_liveness_does_not_go_on_while_the_pod_is_deleted(autojump_clock, world, commands):
    commands.exits["drain"] = ScriptedCommand(seconds=25)
    world.script("api", ports={8080: "http"})
    lifecycle = {"preStop": {"exec": {"command": ["drain"]}}}
    await world.start_daemon()
    pod = a_probed_pod(lifecycle=lifecycle, liveness=http(failureThreshold=1))
    world.apply(pod)
    await world.eventually(world.is_ready)
    world.delete(pod)
    port(world).health = Health.BAD
    await trio.sleep(20)
    assert world.phase() == "Running"
    assert not world.events("Unhealthy")
    await world.eventually(world.is_empty)


class TestSleep:
    @pytest.fixture
    async def world(self):
        settings = CloudSettings(idle_instances_go_to_standby=True)
        async with a_world(cloud_settings=settings) as world:
            yield world

    async def test_probes_neither_wake_nor_keep_awake(self, autojump_clock, world):
        world.script("api", ports={8080: "http"})
        await world.start_daemon()
        world.apply(
            a_probed_pod(SLEEPY, readiness=http(), liveness=http(periodSeconds=1)), a_service()
        )
        await world.eventually(world.is_ready)
        asleep = 0
        starts = instance(world).start_count
        for _ in range(120):
            await trio.sleep(1)
            asleep += instance(world).state == "standby"
        assert asleep > 100
        assert world.is_ready()
        assert not world.events("Unhealthy")
        assert instance(world).start_count == starts
        assert world.container()["restartCount"] == 0

    async def test_commands_neither_wake_nor_keep_awake(self, autojump_clock, world, commands):
        commands.exits["check"] = 0
        await world.start_daemon()
        world.apply(
            a_probed_pod(SLEEPY, readiness=command("check"), liveness=command("check")), a_service()
        )
        await world.eventually(world.is_ready)
        await world.eventually(lambda: instance(world).state == "standby")
        starts, runs = instance(world).start_count, len(commands.runs)
        await trio.sleep(300)
        assert (instance(world).start_count, len(commands.runs)) == (starts, runs)
        assert world.is_ready()

    async def test_one_that_falls_asleep_while_it_starts_is_ready_all_the_same(
        self, autojump_clock, world
    ):
        world.script("api", ports={8080: "http"}, listens_after_seconds=5)
        await world.start_daemon()
        world.apply(a_probed_pod(SLEEPY, readiness=http(periodSeconds=10)), a_service())
        await world.eventually(world.is_ready)
        assert instance(world).state == "standby"
        for _ in range(5):
            with pytest.raises(ConnectionRefusedError):  # which wakes it, but it is no faster
                await world.cloud.dial(instance(world).private_ip, 8080)
            await trio.sleep(20)
        assert world.is_ready()

    async def test_probes_go_on_after_a_wake_up(self, autojump_clock, world):
        world.script("api", ports={8080: "http"})
        await world.start_daemon()
        world.apply(a_probed_pod(SLEEPY, readiness=http(failureThreshold=1)), a_service())
        await world.eventually(world.is_ready)
        await world.eventually(lambda: instance(world).state == "standby")
        await trio.sleep(60)
        async with await world.cloud.dial(instance(world).private_ip, 8080):
            port(world).health = Health.BAD
            await world.eventually(lambda: not world.is_ready(), seconds=40)
        assert world.container()["restartCount"] == 0


class TestWithoutNetwork:
    @pytest.fixture
    async def world(self):
        async with a_world(probe_network="none") as world:
            yield world

    async def test_listening_counts_as_ready(self, autojump_clock, world):
        world.script("api", ports={})
        await world.start_daemon()
        world.apply(a_probed_pod(readiness=http(), liveness=http(failureThreshold=1)))
        await world.eventually(world.is_ready)
        await trio.sleep(60)
        assert world.container()["restartCount"] == 0
        [message] = messages(world, "ProbeWarning")
        assert "KRAFTLET_PROBE_NETWORK is none" in message


async def test_readiness_that_fails_while_a_pod_is_stopped_shows(autojump_clock, world, commands):
    commands.exits["drain"] = ScriptedCommand(seconds=25)
    world.script("api", ports={8080: "http"})
    lifecycle = {"preStop": {"exec": {"command": ["drain"]}}}
    await world.start_daemon()
    pod = a_probed_pod(lifecycle=lifecycle, readiness=http())
    world.apply(pod)
    await world.eventually(world.is_ready)
    world.delete(pod)
    port(world).health = Health.BAD
    await trio.sleep(20)
    assert world.pod()
    assert not world.is_ready()


async def test_pod_that_was_never_ready_is_not_ready_while_it_is_stopped(
    autojump_clock, world, commands
):
    commands.exits["drain"] = ScriptedCommand(seconds=25)
    world.script("api", ports={})
    lifecycle = {"preStop": {"exec": {"command": ["drain"]}}}
    await world.start_daemon()
    pod = a_probed_pod(lifecycle=lifecycle, readiness=http())
    world.apply(pod)
    await trio.sleep(10)
    assert not world.is_ready()
    world.delete(pod)
    for _ in range(100):
        await trio.sleep(0.1)
        assert not world.is_ready()


async def test_falling_asleep_leaves_a_pod_ready(autojump_clock, world):
    world.script("api", ports={8080: "http"})
    await world.start_daemon()
    world.apply(a_probed_pod(SLEEPY, readiness=http()), a_service())
    await world.eventually(world.is_ready)
    for _ in range(3000):
        await trio.sleep(0.01)
        assert world.is_ready()

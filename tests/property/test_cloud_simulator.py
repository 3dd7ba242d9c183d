"""Whatever is asked of the simulated cloud, whatever goes wrong: its account stays consistent."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import attrs
import trio.testing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kraftlet_trio.cloud.objects import QuotaUse
from kraftlet_trio.simulators.cloud.faults import (
    AnswerHtml,
    AnswerStatus,
    CommitThenDrop,
    Delay,
    DropBefore,
    Duplicate,
)
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.runtime import Crashed, Exited, Runtime
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.runtime_virtual import VirtualRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from tests.property.cloud_histories import TOKEN, History, Loop
from tests.thoroughness import examples

LIVE = {"starting", "running", "draining", "stopping"}
HARD = QuotaUse(
    instances=5,
    live_vcpus=3,
    live_memory_mb=448,
    service_groups=3,
    services=4,
    volumes=4,
    total_volume_mb=256,
)
SCRIPTS = """
images:
  app: {}
  job: {run_seconds: 1, exit_code: 1}
  crasher: {run_seconds: 1, crash_code: 818948}
  quick: {run_seconds: 0, boot_seconds: 0}
  slow: {boot_seconds: 7}
  stubborn: {ignores_stop: true}
  unpullable: {pull: fail}
"""
PROCESSES = """
images:
  app: {entrypoint: [sleep, "1000"]}
  job: {entrypoint: [sh, -c, "exit 3"]}
  crasher: {entrypoint: [sh, -c, "kill -SEGV $$"]}
  forker: {entrypoint: [sh, -c, "sleep 1000 & sleep 1000"]}
  writer: {entrypoint: [sh, -c, "for v in *; do date > $v/f; done; sleep 1000"]}
"""

NAMES = st.sampled_from(["a", "b", "c"])
VOLUMES = st.sampled_from(["v", "w"])
GROUPS = st.sampled_from(["g", "h"])
SERVICES = st.sampled_from(
    [
        [{"port": 443}],
        [{"port": 80}],
        [{"port": 443}, {"port": 80, "handlers": ["http", "redirect"]}],
    ]
)
AT_V = {"name": "v", "at": "/v"}
MOUNTS = st.lists(
    st.fixed_dictionaries(
        {"name": VOLUMES}, optional={"size_mb": st.just(64), "readonly": st.booleans()}
    ),
    max_size=2,
    unique_by=lambda mount: mount["name"],
).map(lambda mounts: [{**mount, "at": f"/{mount['name']}"} for mount in mounts])
EFFECTS = st.sampled_from(
    [
        AnswerStatus(503),
        AnswerHtml(),
        DropBefore(),
        CommitThenDrop(),
        Duplicate(),
        Delay(0.05),
    ]
)


class CloudHistory(RuleBasedStateMachine):
    """Requests, time and faults, in any order."""

    images = SCRIPTS
    longest_wait_s = 1
    seconds_to_clean_up = 10.0
    seconds = st.sampled_from([0.01, 0.06, 1, 5, 11, 100])
    cloud: History

    def new_runtime(self, _settings: CloudSettings) -> Runtime:
        raise NotImplementedError

    def new_clock(self) -> trio.abc.Clock | None:
        return None

    @initialize(
        falls_asleep=st.booleans(),
        groups_go=st.booleans(),
        busy_seconds=st.sampled_from([0, 0.1]),
        lag_seconds=st.sampled_from([0, 0.02]),
    )
    def begin(self, falls_asleep, groups_go, busy_seconds, lag_seconds) -> None:
        turned = CloudSettings(
            idle_instances_go_to_standby=falls_asleep,
            used_group_can_be_deleted=groups_go,
            busy_after_delete_seconds=busy_seconds,
            stop_reason_lag_seconds=lag_seconds,
            stop_grace_seconds=2,
        )
        simulator = CloudSimulator(
            token=TOKEN,
            quotas=HARD,
            images=ImageCatalogue.parse(self.images),
            runtime=self.new_runtime(turned),
            settings=turned,
        )
        self.cloud = History(simulator, Loop(simulator, self.new_clock()))
        self.counted: dict[str, tuple[int, int, int]] = {}
        self.cloud.request("POST", "/volumes", {"name": "v", "size_mb": 64})
        self.cloud.request("POST", "/services", {"name": "g", "services": [{"port": 443}]})

    # What is asked of instances.

    @rule(
        name=NAMES,
        image=st.sampled_from(["app", "app", "job", "crasher", "quick", "slow", "stubborn"]),
        members=st.fixed_dictionaries(
            {"autostart": st.booleans(), "volumes": st.one_of(st.just([AT_V]), MOUNTS)},
            optional={
                "memory_mb": st.sampled_from([64, 256]),
                "restart_policy": st.sampled_from(["always", "on-failure"]),
                "replicas": st.just(1),
                "tags": st.just(["k:v"]),
            },
        ),
        group=GROUPS.map(lambda name: {"name": name})
        | st.none()
        | SERVICES.map(lambda services: {"services": services}),
        stateful=st.sampled_from([None, True, False]),
    )
    def create(self, name, image, members, group, stateful) -> None:
        body = {"name": name, **self.image(image), **members}
        if group is not None:
            body["service_group"] = group
            if stateful is not None:
                body["scale_to_zero"] = {"policy": "on", "stateful": stateful}
        self.cloud.request("POST", "/instances", body)

    def image(self, name: str) -> dict[str, Any]:
        """Members of a create."""
        return {"image": name}

    @rule(names=st.lists(NAMES, min_size=1, max_size=3), verb=st.sampled_from(["start", "suspend"]))
    def start_or_suspend(self, names, verb) -> None:
        self.cloud.request("PUT", f"/instances/{verb}", [{"name": name} for name in names])

    @rule(
        name=NAMES,
        how=st.sampled_from(
            [{}, {"force": True}, {"drain_timeout_ms": 500}, {"ifstate": "running"}]
        ),
    )
    def stop(self, name, how) -> None:
        self.cloud.request("PUT", "/instances/stop", [{"name": name, **how}])

    @rule(names=st.lists(NAMES, min_size=1, max_size=3))
    def delete(self, names) -> None:
        self.cloud.request("DELETE", "/instances", [{"name": name} for name in names])

    @rule(
        name=NAMES,
        change=st.sampled_from(
            [
                {"prop": "memory_mb", "op": "set", "value": 256},
                {"prop": "memory_mb", "op": "set"},
                {"prop": "image", "op": "set", "value": "app"},
                {"prop": "tags", "op": "add", "value": ["x:1"]},
                {"prop": "env", "op": "set", "value": {"A": "1"}},
                {"prop": "delete_lock", "op": "set", "value": True},
                {"prop": "delete_lock", "op": "set"},
                {"prop": "scale_to_zero", "op": "set", "value": {"policy": "on"}},
            ]
        ),
    )
    def patch(self, name, change) -> None:
        self.cloud.request("PATCH", "/instances", [{"name": name, **change}])

    @rule(
        name=NAMES,
        state=st.sampled_from(["running", "stopped", "standby"]),
        timeout_s=st.sampled_from([0, 1]),
    )
    def wait(self, name, state, timeout_s) -> None:
        timeout_s = min(timeout_s, self.longest_wait_s)
        item = {"name": name, "state": state, "timeout_s": timeout_s}
        for answer in self.cloud.request("GET", "/instances/wait", [item]):
            if answer["status"] == "success":
                assert answer["state"] == state

    # Of volumes and groups.

    @rule(
        name=VOLUMES,
        size_mb=st.sampled_from([64, 128]),
        mode=st.sampled_from(["rwo", "rwo", "rox"]),
    )
    def create_volume(self, name, size_mb, mode) -> None:
        body = {"name": name, "size_mb": size_mb, "access_mode": mode}
        self.cloud.request("POST", "/volumes", body)

    @rule(volume=VOLUMES, name=NAMES, readonly=st.booleans())
    def attach(self, volume, name, readonly) -> None:
        item = {"name": volume, "attach_to": {"name": name}, "at": f"/{volume}"}
        self.cloud.request("PUT", "/volumes/attach", [{**item, "readonly": readonly}])

    @rule(volume=VOLUMES)
    def detach(self, volume) -> None:
        self.cloud.request("PUT", "/volumes/detach", [{"name": volume}])

    @rule(volume=VOLUMES)
    def grow_volume(self, volume) -> None:
        change = {"name": volume, "prop": "size_mb", "op": "set", "value": 200}
        self.cloud.request("PATCH", "/volumes", [change])

    @rule(names=st.lists(VOLUMES, min_size=1, max_size=2))
    def delete_volumes(self, names) -> None:
        self.cloud.request("DELETE", "/volumes", [{"name": name} for name in names])

    @rule(name=GROUPS, services=SERVICES)
    def create_group(self, name, services) -> None:
        self.cloud.request("POST", "/services", {"name": name, "services": services})

    @rule(name=GROUPS, services=SERVICES)
    def patch_group(self, name, services) -> None:
        change = {"name": name, "prop": "services", "op": "set", "value": services}
        self.cloud.request("PATCH", "/services", [change])

    @rule(name=GROUPS)
    def delete_group(self, name) -> None:
        self.cloud.request("DELETE", "/services", [{"name": name}])

    # What happens to it.

    @rule(data=st.data())
    def let_time_pass(self, data) -> None:
        self.cloud.sleep(data.draw(self.seconds))

    @rule(
        effect=EFFECTS,
        name=NAMES,
        verb=st.sampled_from(["POST", "start", "stop", "suspend", "DELETE"]),
    )
    def fail(self, effect, name, verb) -> None:
        self.cloud.simulator.faults.add(effect)
        match verb:
            case "POST":
                body = {"name": name, **self.image("app"), "autostart": True}
                self.cloud.request("POST", "/instances", body)
            case "DELETE":
                self.cloud.request("DELETE", "/instances", [{"name": name}])
            case _:
                self.cloud.request("PUT", f"/instances/{verb}", [{"name": name}])
        self.cloud.simulator.faults.clear()

    # What holds after each of these.

    @precondition(lambda self: hasattr(self, "cloud"))
    @invariant()
    def account_is_consistent(self) -> None:
        instances = self.cloud.list("instances")
        volumes = self.cloud.list("volumes")
        groups = self.cloud.list("services")
        for resources in (instances, volumes, groups):
            assert len({one["name"] for one in resources}) == len(resources)
            assert len({one["uuid"] for one in resources}) == len(resources)
        assert len({one["private_ip"] for one in instances}) == len(instances)
        self.check_quotas(instances, volumes, groups)
        check_volumes(instances, volumes)
        check_groups(instances, groups)
        for instance in instances:
            self.check_counters(instance)

    def check_quotas(self, instances: Any, volumes: Any, groups: Any) -> None:
        live = [one for one in instances if one["state"] in LIVE]
        used = QuotaUse(
            instances=len(instances),
            live_vcpus=sum(one["vcpus"] for one in live),
            live_memory_mb=sum(one["memory_mb"] for one in live),
            service_groups=len(groups),
            services=sum(len(one["services"]) for one in groups),
            volumes=len(volumes),
            total_volume_mb=sum(one["size_mb"] for one in volumes),
        )
        [told] = self.cloud.request("GET", "/users/quotas")
        for name, most in attrs.asdict(HARD).items():
            assert told["used"][name] == getattr(used, name), name
            assert getattr(used, name) <= most, name

    def check_counters(self, instance: dict[str, Any]) -> None:
        counts = (
            instance["start_count"],
            instance.get("restart_count", 0),
            instance["uptime_ms"],
        )
        before = self.counted.get(instance["uuid"], (0, 0, 0))
        assert all(now >= then for now, then in zip(counts, before, strict=True))
        self.counted[instance["uuid"]] = counts
        assert counts[1] <= counts[0]
        if instance["state"] == "running":
            assert counts[0] > 0
            assert "started_at" in instance
            assert "stopped_at" not in instance
        if "restart" in instance:
            assert instance["state"] == "stopped"
            assert instance["restart_policy"] != "never"

    def teardown(self) -> None:
        if not hasattr(self, "cloud"):
            return
        try:
            for instance in self.cloud.list("instances"):
                unlock = {"prop": "delete_lock", "op": "set"}
                self.cloud.request("PATCH", f"/instances/{instance['uuid']}", unlock)
                [gone] = self.cloud.request("DELETE", f"/instances/{instance['uuid']}")
                assert gone["status"] == "success"
            busy_seconds = self.cloud.simulator.settings.busy_after_delete_seconds
            self.cloud.sleep(busy_seconds + self.seconds_to_clean_up)
            assert all(one["persistent"] for one in self.cloud.list("volumes"))
            assert all(one["persistent"] for one in self.cloud.list("services"))
            self.check_nothing_runs()
            for kind in ("volumes", "services"):
                for one in self.cloud.list(kind):
                    [gone] = self.cloud.request("DELETE", f"/{kind}/{one['uuid']}")
                    assert gone["status"] == "success"
            self.check_nothing_is_left()
        finally:
            self.cloud.loop.end()

    def check_nothing_runs(self) -> None:
        raise NotImplementedError

    def check_nothing_is_left(self) -> None:
        """Nothing of volumes."""


def check_volumes(instances: Any, volumes: Any) -> None:
    attached = {(v["uuid"], one["uuid"]) for v in volumes for one in v["attached_to"]}
    assert attached == {
        (v["uuid"], one["uuid"]) for one in instances for v in one.get("volumes", ())
    }
    holds = {one["uuid"] for one in instances if one["state"] in LIVE | {"standby"}}
    for volume in volumes:
        mounted = volume["mounted_by"]
        assert {one["uuid"] for one in mounted} <= holds
        assert (volume["state"] == "mounted") is bool(mounted)
        assert (volume["state"] in ("mounted", "idle")) is bool(volume["attached_to"])
        if volume["access_mode"] == "rwo":
            assert len(mounted) <= 1
        elif volume["access_mode"] == "rox" and len(mounted) > 1:
            assert all(one["readonly"] for one in mounted)
        if not volume["persistent"]:
            assert volume["attached_to"]


def check_groups(instances: Any, groups: Any) -> None:
    members = {(g["uuid"], one["uuid"]) for g in groups for one in g["instances"]}
    assert members == {
        (one["service_group"]["uuid"], one["uuid"]) for one in instances if "service_group" in one
    }
    for group in groups:
        assert group["persistent"] or group["instances"]
    domains = [each["fqdn"] for group in groups for each in group["domains"]]
    assert len(set(domains)) == len(domains)


class VirtualHistory(CloudHistory):
    def new_runtime(self, turned: CloudSettings) -> VirtualRuntime:
        self.runtime = VirtualRuntime(turned)
        return self.runtime

    def new_clock(self) -> trio.testing.MockClock:
        return trio.testing.MockClock(autojump_threshold=0)

    @rule(name=NAMES, ending=st.sampled_from([Exited(0), Exited(3), Crashed(818948)]))
    def end_guest(self, name, ending) -> None:
        instance = self.cloud.find("instances", name)

        async def end() -> None:
            self.runtime.end(instance["uuid"], ending)

        if instance is not None and instance["uuid"] in self.runtime._running:
            self.cloud.loop.do(end)
            self.cloud.sleep(0)

    def check_nothing_runs(self) -> None:
        assert self.runtime._running == {}
        assert self.cloud.simulator._cloud.lifecycle._lives == {}
        assert self.cloud.simulator.account._addresses == set()


class ProcessHistory(CloudHistory):
    """On real processes and real time, so that only short times pass."""

    images = PROCESSES
    longest_wait_s = 0
    seconds = st.sampled_from([0.01, 0.06, 0.2])
    seconds_to_clean_up = 0.0

    def new_runtime(self, _turned: CloudSettings) -> ProcessRuntime:
        self.mark = str(uuid4())
        self.runtime = ProcessRuntime(volumes=Path(mkdtemp()))
        return self.runtime

    def image(self, name: str) -> dict[str, Any]:
        replaced = {"quick": "job", "slow": "forker", "stubborn": "writer"}
        return {"image": replaced.get(name, name), "env": {"HISTORY": self.mark}}

    def check_nothing_runs(self) -> None:
        deadline = 100
        while self.marked_processes() and deadline:
            self.cloud.sleep(0.05)
            deadline -= 1
        assert self.marked_processes() == []
        guests = list(self.runtime._directory.rglob(f"*{self.mark}*"))
        assert guests == []

    def marked_processes(self) -> list[int]:
        return [
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdigit() and self.mark.encode() in _environment(process)
        ]

    def check_nothing_is_left(self) -> None:
        assert list(self.runtime.volumes.iterdir()) == []

    def teardown(self) -> None:
        try:
            super().teardown()
            if hasattr(self, "cloud"):
                assert not self.runtime._directory.exists()
        finally:
            if hasattr(self, "runtime"):
                rmtree(self.runtime.volumes)


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


TestVirtual = VirtualHistory.TestCase
TestVirtual.settings = settings(
    max_examples=examples(200),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

TestProcesses = ProcessHistory.TestCase
TestProcesses.settings = settings(
    max_examples=examples(25),
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

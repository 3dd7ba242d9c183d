"""A model of all that surrounds a Pod's decisions: API server, cloud, and the daemon's hands.

Nothing of it waits. The decisions and the statuses are the daemon's own; the rest does as it is
told, and checks what it is told against what may never happen.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

import attrs

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.pod import Pod, PodStatus
from kraftlet_trio.mapping.container_state import (
    Ended,
    Running,
    container_run,
    is_alive,
    run_key,
)
from kraftlet_trio.mapping.container_status import (
    Trouble,
    container_status_of,
    last_end,
    runs_told,
)
from kraftlet_trio.mapping.instance_updates import SpecHash
from kraftlet_trio.mapping.pod_phase import FAILED, SUCCEEDED, is_sidecar, restartable
from kraftlet_trio.mapping.pod_status import pod_status
from kraftlet_trio.pods.back_off import bumped
from kraftlet_trio.pods.lifecycle import next_steps
from kraftlet_trio.pods.plan import (
    ClearAway,
    CreateInstance,
    DeleteInstance,
    Failure,
    LetGo,
    LookUpInstances,
    Memory,
    Observed,
    Plan,
    RecordOwnership,
    StartInstance,
    Step,
    StopInstance,
    UpdateInstance,
)
from kraftlet_trio.pods.probed_run import Doom, Verdict
from kraftlet_trio.pods.status import has_drifted, tells_the_same
from tests.property.cloud_model import Cloud

OK, FAILS, LOST = "ok", "fails", "lost"
"""How a call ends: well, with an error and no effect, or with an effect and an error."""

TERMINAL = (SUCCEEDED, FAILED)


class CallFailed(Exception):
    """An error that leaves open whether the call had an effect."""


class CallRefused(Exception):
    """An error that says that the call had none."""


@attrs.define
class PodModel:
    """One Pod's world, from its binding to its end."""

    pod: Pod
    autostart: bool
    groups: dict[str, str]
    """Of containers, once their Service is there."""
    cloud: Cloud = attrs.field(factory=Cloud)
    wanted_groups: dict[str, str] = attrs.field(factory=dict)
    owned: bool = False
    recorded_groups: frozenset[str] = frozenset()
    vanished: bool = False
    finished: bool = False
    witnessed: dict[str, set[tuple[str, int]]] = attrs.field(factory=lambda: defaultdict(set))
    """The runs that some status in the API server has told of, by container."""
    lost: dict[str, set[tuple[str, int]]] = attrs.field(factory=lambda: defaultdict(set))
    """Those that were over before any status could tell of them."""
    probed: frozenset[str] = frozenset()
    """Containers with probes."""
    verdicts: dict[str, Verdict] = attrs.field(factory=dict)
    """What the probes last said of each."""
    revision: int = 0
    """Of all containers' images."""
    # The daemon's:
    seen: dict[str, Instance] = attrs.field(factory=dict)
    memory: Memory = attrs.field(factory=Memory)
    plan: Plan = attrs.field(factory=Plan)
    status_retry_at: datetime | None = None
    wake_at: datetime | None = None
    """When the daemon looks again of its own accord."""

    @property
    def now(self) -> datetime:
        return self.cloud.now

    @property
    def deleting(self) -> bool:
        return self.vanished or self.pod.metadata.deletion_timestamp is not None

    # The world's doing

    def pass_time(self, seconds: float) -> None:
        self.cloud.now += timedelta(seconds=seconds)

    def happen(self, uuid: str, what: str) -> None:
        if what == "vanish":
            self._lose_sight_of(self.cloud.instances[uuid])
        if what in ("boot", "refuse") and uuid not in self.cloud.resuming:
            self._check_beginning(self.cloud.instances[uuid].name)
        self.cloud.happen(uuid, what)

    def probe(self, container: str, *, started: bool, ready: bool, doomed: bool) -> None:
        """The probes of *container* come to a verdict on its present run."""
        instance = next((one for one in self.seen.values() if one.name == container), None)
        if instance is not None and container in self.probed:
            doom = Doom("Liveness", "it hangs", None) if doomed else None
            self.verdicts[container] = Verdict(run_key(instance), started, ready, doom)

    def probe_well(self) -> bool:
        """All probes succeed; whether that is news."""
        before = dict(self.verdicts)
        for container in self.probed:
            self.probe(container, started=True, ready=True, doomed=False)
        return self.verdicts != before

    def change_images(self) -> None:
        self.revision += 1
        meta = attrs.evolve(self.pod.metadata, generation=self.pod.metadata.generation + 1)
        self.pod = attrs.evolve(self.pod, metadata=meta)

    def spec_of(self, _container: str) -> SpecHash:
        return SpecHash(image=str(self.revision), size="s", scale_to_zero="z")

    def _verdict(self, instance: Instance) -> Verdict:
        run = run_key(instance)
        told = self.verdicts.get(instance.name)
        return told if told and told.run == run else Verdict(run, started=False, ready=False)

    def _tags(self, container: str) -> tuple[str, ...]:
        return (f"kraftlet:spec={self.spec_of(container)}",)

    def show_services(self) -> None:
        self.wanted_groups = dict(self.groups)

    def tend_groups(self) -> bool:
        """As the actors of service groups do; whether something changed."""
        before = set(self.cloud.groups)
        if self.deleting:
            used = {one.service_group.name for one in self._members()}
            if not self.seen:
                self.cloud.groups &= used
        else:
            self.cloud.groups |= self.recorded_groups & set(self.wanted_groups.values())
        return self.cloud.groups != before

    def delete(self, grace_seconds: int) -> None:
        meta = self.pod.metadata
        if meta.deletion_grace_period_seconds is not None:
            grace_seconds = min(grace_seconds, meta.deletion_grace_period_seconds)
        began = self.now
        if meta.deletion_timestamp is not None:
            began = meta.deletion_timestamp - timedelta(seconds=meta.deletion_grace_period_seconds)
        if not self.owned and grace_seconds == 0:
            self.vanished = True
        self.pod = attrs.evolve(
            self.pod,
            metadata=attrs.evolve(
                meta,
                generation=meta.generation + 1,
                deletion_timestamp=began + timedelta(seconds=grace_seconds),
                deletion_grace_period_seconds=grace_seconds,
            ),
        )

    def happenings(self, uuid: str) -> list[str]:
        """What may happen to an instance next, by anybody's doing but the daemon's."""
        instance = self.cloud.instances[uuid]
        happenings = list(self.cloud.happenings(instance))
        if any(one.name == instance.name for one in self.pod.spec.init_containers):
            return [what for what in happenings if what != "sleep"]
        if not (self.autostart or self.deleting or instance.start_count):
            happenings.append("be started")
        return happenings

    def proceed(self) -> bool:
        """Everything in the cloud takes its ordinary course; whether it moved."""
        finite = {one.name for one in self.pod.spec.init_containers if not is_sidecar(one)}
        moved = False
        for instance in list(self.cloud.instances.values()):
            if what := self.cloud.course(instance, finite=instance.name in finite):
                self.happen(instance.uuid, what)
                moved = True
        return moved

    # The daemon's doing

    def poll(self) -> bool:
        """The feed catches up; whether there was news."""
        news = self.seen != self.cloud.instances
        self.seen = dict(self.cloud.instances)
        return news

    def restart_daemon(self) -> None:
        self.poll()
        self.memory = Memory()
        self.status_retry_at = None
        if self.owned:
            instances = self.observe().instances
            self.memory.uncertain = {one for one in self._containers() if one not in instances}

    def observe(self) -> Observed:
        wanted = {} if self.deleting else self.wanted_groups
        return Observed(
            pod=self.pod,
            vanished=self.vanished,
            owned=self.owned,
            autostart=self.autostart,
            recorded_groups=self.recorded_groups,
            wanted_groups=wanted,
            ready_groups=frozenset(self.cloud.groups & set(wanted.values())),
            groups_released=not self.recorded_groups & self.cloud.groups,
            specs={name: self.spec_of(name) for name in self._containers()},
            verdicts={
                one.name: self._verdict(one)
                for one in self.seen.values()
                if one.name in self.probed
                and isinstance(container_run(one, self.now, deleting=False), Running)
            },
            instances={one.name: one for one in self.seen.values()},
        )

    def round(self, outcomes: list[str], dies_after: int | None = None) -> bool:
        """One turn of a Pod's actor; whether it had anything to do.

        *outcomes* are those of its calls, one after another and then all well. It *dies_after* so
        many of them.
        """
        if self.finished:
            return False
        observed = self.observe()
        if self.deleting and self.memory.stopping_since is None:
            self.memory.stopping_since = self.now
        self.plan = next_steps(observed, self.memory, self.now)
        if self.plan.finished:
            self._check_nothing_is_left()
            self.finished = True
            return False
        self.wake_at = self.plan.wake_at
        status = self._due_status(observed)
        results = iter(outcomes)
        calls = 0
        for call in (*([] if status is None else [status]), *self.plan.steps):
            if calls == dies_after:
                break
            calls += 1
            result = next(results, OK)
            if isinstance(call, PodStatus):
                self._write(call, observed, result)
            else:
                self._perform(call, result)
        if calls == dies_after:
            self.restart_daemon()
        return calls > 0

    def _due_status(self, observed: Observed) -> PodStatus | None:
        if not self.plan.report:
            return None
        present = self.pod.status
        status = pod_status(
            self.pod,
            self.memory.reported or present,
            observed.instances,
            self.plan.held,
            host_ip="192.0.2.1",
            now=self.now,
            stopped_for_good=self.plan.stopped_for_good,
            failure=self.plan.failure,
        )
        reported = self.memory.reported
        no_news = tells_the_same(reported, status) if reported else not has_drifted(present, status)
        if no_news:
            self.memory.reported = status
        if status == self.memory.reported and not has_drifted(present, status):
            return None
        if self.status_retry_at is not None and self.now < self.status_retry_at:
            self.wake_at = min(self.wake_at or self.status_retry_at, self.status_retry_at)
            return None
        return status

    def _write(self, status: PodStatus, observed: Observed, result: str) -> None:
        if result != FAILS and not self.vanished:
            for name, instance in observed.instances.items():
                if _shows_a_run(instance, self.now):
                    self.witnessed[name].add(_run_of(instance))
            self.check_status(status)
            self.pod = attrs.evolve(self.pod, status=status)
        if result == OK:
            self.memory.reported = status
            self.status_retry_at = None
        else:
            self.memory.reported = None
            self.status_retry_at = self.now + timedelta(seconds=1)

    def _perform(self, step: Step, result: str) -> None:
        try:
            self._do(step, result)
        except (CallFailed, CallRefused):
            before = self.memory.failures.get(step.key)
            self.memory.failures[step.key] = Failure(
                trouble=Trouble("CreateContainerError", "it failed"),
                attempts=before.attempts + 1 if before else 1,
                retry_at=self.now + timedelta(seconds=1),
            )
        else:
            self.memory.failures.pop(step.key, None)

    def _do(self, step: Step, result: str) -> None:
        if result == FAILS:
            if isinstance(step, CreateInstance):
                self.memory.uncertain.add(step.container)
            raise CallFailed
        match step:
            case RecordOwnership(groups):
                assert not self.deleting
                self.owned, self.recorded_groups = True, self.recorded_groups | groups
                _answer(result)
            case CreateInstance(container):
                self._create(container, result)
            case StartInstance(container, uuid, restart):
                self._start(container, uuid, result, restart=restart)
            case UpdateInstance(container, uuid):
                assert not self.deleting
                if uuid in self.cloud.instances:
                    self.cloud.update(uuid, self._tags(container))
                    _answer(result)
                    self.memory.restarting.add(container)
                    self.seen[uuid] = self.cloud.instances[uuid]
                else:
                    self.seen.pop(uuid, None)
            case StopInstance(container, uuid, drain_seconds, _, force, again):
                assert drain_seconds > 0 or force
                self._check_stop(container)
                if again:
                    self.memory.restarting.add(container)
                self.memory.stop_begun.setdefault(uuid, self.now)
                if uuid in self.cloud.instances:
                    self.cloud.kill(uuid) if force else self.cloud.stop(uuid)
                    _answer(result)
                    self.memory.stop_asked.add(uuid)
                    if force:
                        self.memory.stop_forced.add(uuid)
                    if self.seen[uuid].state == cloud.STANDBY:
                        self.seen[uuid] = attrs.evolve(self.seen[uuid], state=cloud.STOPPING)
                else:
                    self.seen.pop(uuid, None)
            case DeleteInstance(_, uuid):
                self._delete(uuid, result)
            case ClearAway(_, uuid):
                assert self.pod.status.phase == SUCCEEDED, "cleared away before it was told"
                self._delete(uuid, result)
            case LookUpInstances(containers):
                for name in containers:
                    if instance := self.cloud.of(name):
                        self.seen[instance.uuid] = instance
                _answer(result)
                self.memory.uncertain -= containers
            case LetGo():
                self._check_nothing_is_left()
                assert self.pod.status.phase in TERMINAL
                self.vanished, self.owned = True, False
                _answer(result)
                self.memory.let_go = True

    def _create(self, container: str, result: str) -> None:
        assert self.owned, "made before it was owned"
        assert not self.deleting
        status = container_status_of(self.pod.status, container)
        assert status is None or not status.state.running, "the loss was not reported"
        group = self.wanted_groups.get(container)
        assert group is None or group in self.cloud.groups & self.recorded_groups
        if result == LOST and container in self.memory.failures:
            raise CallRefused
        init = any(one.name == container for one in self.pod.spec.init_containers)
        self.memory.uncertain.add(container)
        instance = self.cloud.create(
            container,
            autostart=self.autostart and not init,
            group=group,
            tags=self._tags(container),
        )
        _answer(result)
        self.memory.uncertain.discard(container)
        self.seen[instance.uuid] = instance

    def _start(self, container: str, uuid: str, result: str, *, restart: bool) -> None:
        assert self.owned
        assert not self.deleting
        instance = self.cloud.instances.get(uuid)
        if instance is None:
            self.seen.pop(uuid, None)
            return
        if not is_alive(instance):
            self._check_end_is_reported(instance)
            self._lose_sight_of(instance)
        before = self.seen[uuid]
        self.cloud.start(uuid)
        _answer(result)
        self.memory.forget_stop(uuid)
        if restart:
            reported = self.memory.reported or self.pod.status
            self.memory.restarted[container] = runs_told(container_status_of(reported, container))
            if container in self.memory.restarting:
                self.memory.restarting.discard(container)
            else:
                self.memory.back_offs[container] = bumped(
                    self.memory.back_offs.get(container), before.stopped_at, self.now
                )
        self.seen[uuid] = attrs.evolve(
            before, state=cloud.STARTING, stop_reason=None, exit_code=None
        )

    def _delete(self, uuid: str, result: str) -> None:
        instance = self.cloud.instances.get(uuid)
        if instance is not None:
            if not self.deleting and self.pod.status.phase not in TERMINAL:
                self._check_end_is_reported(instance)
            elif not is_alive(self.seen[uuid]) and not self.vanished:
                assert self.pod.status.phase in TERMINAL, "deleted before its end was reported"
            self._lose_sight_of(instance)
            self.cloud.delete(uuid)
        _answer(result)
        self.seen.pop(uuid, None)
        self.memory.forget_stop(uuid)

    # What may never happen

    def check_status(self, status: PodStatus) -> None:
        """Against the one in the API server, which it is to replace."""
        before = self.pod.status
        if before.phase in TERMINAL:
            assert status.phase == before.phase
            return  # each container has an end, if only one that was supposed
        for container in (*self.pod.spec.init_containers, *self.pod.spec.containers):
            old = container_status_of(before, container.name)
            new = container_status_of(status, container.name)
            assert sum(part is not None for part in attrs.astuple(new.state, recurse=False)) == 1
            assert new.restart_count == max(0, len(self.witnessed[container.name]) - 1)
            if old is not None and old.state.terminated and not new.state.terminated:
                assert restartable(self.pod, container, old.state.terminated.exit_code), (
                    "the API server would refuse it"
                )
        if status.phase in TERMINAL:
            assert not any(is_alive(instance) for instance in self.seen.values())
            every = (*status.init_container_statuses, *status.container_statuses)
            assert not any(one.state.running for one in every)
            if not status.init_container_statuses and self.plan.failure is None:
                assert all(one.state.terminated for one in every)
        conditions = {one.type: one.status == "True" for one in status.conditions}
        assert conditions["ContainersReady"] or not conditions["Ready"]
        assert conditions["Initialized"] or not conditions["ContainersReady"]

    def _check_beginning(self, name: str) -> None:
        """That the order of containers allows *name* to begin a run now."""
        status = self.pod.status
        init = [one for one in self.pod.spec.init_containers if not is_sidecar(one)]
        earlier = []
        for one in (*self.pod.spec.init_containers, *self.pod.spec.containers):
            if one.name == name or one in self.pod.spec.containers:
                break
            earlier.append(one.name)
        for one in init:
            succeeded = last_end(container_status_of(status, one.name))
            if one.name in earlier:
                assert succeeded is not None, f"{name} runs before {one.name}"
                assert succeeded.exit_code == 0
            elif one.name == name:
                assert succeeded is None or succeeded.exit_code, f"{name} runs although it is done"
                regular = {container.name for container in self.pod.spec.containers}
                others = [i for i in self.cloud.instances.values() if i.name in regular]
                assert not others, f"{name} runs beside the others"

    def _check_stop(self, name: str) -> None:
        """That nothing is stopped that others rely on, or that would not run again."""
        init = {one.name: one for one in self.pod.spec.init_containers}
        if self._is_to_restart(name):
            assert name not in init or is_sidecar(init[name]), "init containers are left alone"
        elif name in init and is_sidecar(init[name]):
            sidecars = {one.name for one in init.values() if is_sidecar(one)}
            served = [one for one in self.seen.values() if one.name not in sidecars]
            assert not any(map(is_alive, served)), "stopped before those that it serves"
        elif not self.deleting and self.plan.failure is None:
            [container] = [one for one in self.pod.spec.containers if one.name == name]
            assert restartable(self.pod, container, 143), "ended for another's sake"

    def _is_to_restart(self, name: str) -> bool:
        """Whether its probes say so, or it has been given something new."""
        instance = next((one for one in self.seen.values() if one.name == name), None)
        if instance is None or self.deleting:
            return False
        doomed = name in self.probed and self._verdict(instance).doom is not None
        renewed = bool(instance.updates) and self.pod.spec.restart_policy != "Never"
        return doomed or renewed

    def _check_end_is_reported(self, instance: Instance) -> None:
        """That whoever takes an ended run away, as the daemon sees it, has told of it."""
        before = self.seen[instance.uuid]
        if isinstance(container_run(before, self.now, deleting=False), Ended):
            told = last_end(container_status_of(self.pod.status, instance.name))
            assert told is not None
            assert told.container_id == f"unikraft://{instance.uuid}"
            assert told.finished_at == before.stopped_at.replace(microsecond=0)

    def check_counts(self) -> None:
        """That every run was told of, but those that could not be."""
        for name in self._containers():
            assert self.cloud.runs[name] == len(self.witnessed[name] | self.lost[name])

    def _check_nothing_is_left(self) -> None:
        assert not self.cloud.instances
        assert not self.cloud.groups

    def _containers(self) -> list[str]:
        spec = self.pod.spec
        return [one.name for one in (*spec.init_containers, *spec.containers)]

    def _members(self) -> list[Instance]:
        return [one for one in self.cloud.instances.values() if one.service_group]

    def _lose_sight_of(self, instance: Instance) -> None:
        if instance.start_count:
            self.lost[instance.name].add(_run_of(instance))


def _run_of(instance: Instance) -> tuple[str, int]:
    return instance.uuid, instance.start_count


def _answer(result: str) -> None:
    if result == LOST:
        raise CallFailed


def _shows_a_run(instance: Instance, now: datetime) -> bool:
    return isinstance(container_run(instance, now, deleting=True), Running | Ended)

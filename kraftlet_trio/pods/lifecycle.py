"""What to do next for a Pod: the whole life of one, decided purely.

``next_steps`` reads levels, not edges: it is right for a Pod at any point of its life, whoever
brought it there, so a daemon killed anywhere goes on from what it sees.

Two rules make that hold. A run's end is reported before the next run begins, so that the restart
count in the API server never misses one. And cloud resources are made only for a Pod that is
marked as owned, and the mark goes only after the last of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.objects import Container, ContainerStatus, PodStatus
from kraftlet_trio.mapping.container_state import (
    REASON_LAG,
    Ended,
    ImageUnavailable,
    NeverStarted,
    Running,
    Settling,
    Starting,
    container_run,
)
from kraftlet_trio.mapping.container_status import (
    Held,
    Trouble,
    container_id,
    container_status_of,
    last_end,
)
from kraftlet_trio.mapping.pod_status import FAILED, SUCCEEDED, is_sidecar, restartable
from kraftlet_trio.pods.back_off import due_after_end, due_after_failed_pull, init_retry_seconds
from kraftlet_trio.pods.plan import (
    CreateInstance,
    DeleteInstance,
    LetGo,
    LookUpInstances,
    Memory,
    Observed,
    Plan,
    RecordOwnership,
    StartInstance,
    Step,
    StopInstance,
)

_ALIVE = (cloud.STARTING, cloud.RUNNING, cloud.DRAINING, cloud.STOPPING, cloud.STANDBY)


def next_steps(observed: Observed, memory: Memory, now: datetime) -> Plan:
    """The steps that bring the cloud nearer to the Pod, and until when to rest after them."""
    pod = observed.pod
    if observed.vanished or pod.metadata.deletion_timestamp is not None:
        return _tear_down(observed, memory, now)
    reported = memory.reported or pod.status
    if reported.phase in (SUCCEEDED, FAILED):
        return Plan(report=False)  # a terminal status never changes again
    wanted = frozenset(observed.wanted_groups.values())
    if not observed.owned or not wanted <= observed.recorded_groups:
        draft = _Draft(observed, memory, reported, now)
        draft.step(RecordOwnership(wanted | observed.recorded_groups))
        return draft.plan()
    return _bring_up(_Draft(observed, memory, reported, now))


@attrs.define
class _Draft:
    """A plan in the making."""

    observed: Observed
    memory: Memory
    reported: PodStatus
    now: datetime
    steps: list[Step] = attrs.field(factory=list, init=False)
    held: dict[str, Held] = attrs.field(factory=dict, init=False)
    watch: set[str] = attrs.field(factory=set, init=False)
    wake_at: datetime | None = attrs.field(default=None, init=False)

    def step(self, step: Step) -> None:
        """Take the step, unless it failed lately and has to wait."""
        failure = self.memory.failures.get(step.key)
        if failure is not None and self.now < failure.retry_at:
            self.wake(failure.retry_at)
        else:
            self.steps.append(step)

    def wake(self, moment: datetime) -> None:
        self.wake_at = moment if self.wake_at is None else min(self.wake_at, moment)

    def plan(self, *, stopped_for_good: bool = False) -> Plan:
        for container in (
            *self.observed.pod.spec.init_containers,
            *self.observed.pod.spec.containers,
        ):
            held = self.held.get(container.name, Held())
            failure = self.memory.failures.get(f"run {container.name}")
            if failure is not None and held.trouble is None:
                held = attrs.evolve(held, trouble=failure.trouble)
            if container.name in self.memory.restarted:
                held = attrs.evolve(held, restarted=True)
            self.held[container.name] = held
        return Plan(
            steps=tuple(self.steps),
            held=self.held,
            report=not self.observed.vanished,
            stopped_for_good=stopped_for_good,
            watch=frozenset(self.watch),
            wake_at=self.wake_at,
        )


def _bring_up(draft: _Draft) -> Plan:
    pod = draft.observed.pod
    begun = any(
        container.name in draft.observed.instances
        or _has_run(container_status_of(draft.reported, container.name))
        for container in pod.spec.containers
    )
    for container in pod.spec.init_containers:
        if is_sidecar(container):
            if not _tend(draft, container) and not begun:
                return draft.plan()
        # A finished init container never runs again, and none does beside the main containers.
        elif not begun and not _tend(draft, container):
            return draft.plan()
    for container in pod.spec.containers:
        _tend(draft, container)
    return draft.plan()


def _has_run(status: ContainerStatus | None) -> bool:
    return status is not None and bool(status.state.running or last_end(status))


def _tend(draft: _Draft, container: Container) -> bool:
    """Plan for one container; whether it no longer holds back those that come after it."""
    instance = draft.observed.instances.get(container.name)
    if instance is None:
        return _tend_missing(draft, container)
    if _is_misplaced(draft, container, instance):
        return _replace(draft, container, instance)
    init = container in draft.observed.pod.spec.init_containers and not is_sidecar(container)
    match container_run(instance, draft.now, deleting=False):
        case NeverStarted():
            if init or draft.observed.autostart:
                draft.step(StartInstance(container.name, instance.uuid, restart=False))
        case Starting():
            draft.watch.add(instance.uuid)
        case Running():
            # A container that is meant to end is looked at often, so that its end shows at once.
            if (
                init
                or not instance.private_ip
                or draft.observed.pod.spec.restart_policy != "Always"
            ):
                draft.watch.add(instance.uuid)
            return not init
        case Settling():
            draft.watch.add(instance.uuid)
            draft.wake(draft.now + REASON_LAG)
        case ImageUnavailable():
            due, seconds = due_after_failed_pull(
                instance.stopped_at, draft.memory.back_offs.get(container.name), draft.now
            )
            _start_when_due(draft, container, instance, due, seconds)
        case Ended() as end:
            if init and end.exit_code == 0:
                return True
            _tend_ended(draft, container, instance, end, init=init)
    return False


def _tend_missing(draft: _Draft, container: Container) -> bool:
    status = container_status_of(draft.reported, container.name)
    if status is not None and status.state.running:
        return False  # the loss is reported first
    end = last_end(status)
    if status is not None and end is not None:
        init = container in draft.observed.pod.spec.init_containers
        if init and not is_sidecar(container) and end.exit_code == 0:
            return True
        if not restartable(draft.observed.pod, container, end.exit_code):
            return False
        due, _ = due_after_end(
            end.finished_at, status, draft.memory.back_offs.get(container.name), draft.now
        )
        if draft.now < due:
            draft.wake(due)
            return False
    if container.name in draft.observed.claim_troubles:
        message = draft.observed.claim_troubles[container.name]
        draft.held[container.name] = Held(trouble=Trouble("CreateContainerConfigError", message))
        return False
    group = draft.observed.wanted_groups.get(container.name)
    if group is not None and group not in draft.observed.ready_groups:
        if group in draft.observed.group_troubles:
            trouble = Trouble("CreateContainerError", draft.observed.group_troubles[group])
            draft.held[container.name] = Held(trouble=trouble)
        return False
    draft.step(CreateInstance(container.name))
    return False


def _is_misplaced(draft: _Draft, container: Container, instance: Instance) -> bool:
    """Whether a Service came that this instance cannot join: membership is fixed at creation."""
    wanted = draft.observed.wanted_groups.get(container.name)
    present = instance.service_group.name if instance.service_group else None
    return wanted is not None and wanted != present


def _replace(draft: _Draft, container: Container, instance: Instance) -> bool:
    status = container_status_of(draft.reported, container.name)
    if instance.state not in _ALIVE:
        if status is None or not status.state.running:
            draft.step(DeleteInstance(container.name, instance.uuid))
        return False
    if instance.uuid not in draft.memory.stop_asked:
        grace = draft.observed.pod.spec.termination_grace_period_seconds
        draft.step(StopInstance(container.name, instance.uuid, 30 if grace is None else grace))
    draft.watch.add(instance.uuid)
    return False


def _tend_ended(
    draft: _Draft, container: Container, instance: Instance, end: Ended, *, init: bool
) -> None:
    if not restartable(draft.observed.pod, container, end.exit_code):
        return
    status = container_status_of(draft.reported, container.name) or ContainerStatus(name="")
    if init:
        seconds = init_retry_seconds(status.restart_count)
        due = (instance.stopped_at or draft.now) + timedelta(seconds=seconds)
    else:
        due, seconds = due_after_end(
            instance.stopped_at, status, draft.memory.back_offs.get(container.name), draft.now
        )
    if _end_is_reported(draft, container, instance, status):
        _start_when_due(draft, container, instance, due, seconds)
    elif draft.now < due:
        draft.held[container.name] = Held(back_off_seconds=seconds)
        draft.wake(due)


def _end_is_reported(
    draft: _Draft, container: Container, instance: Instance, status: ContainerStatus
) -> bool:
    reported = last_end(status)
    if reported is None or container.name in draft.memory.restarted:
        return False
    if reported.container_id != container_id(instance):
        return False
    if instance.stopped_at is None or reported.finished_at is None:
        return True
    return instance.stopped_at.replace(microsecond=0) <= reported.finished_at


def _start_when_due(
    draft: _Draft, container: Container, instance: Instance, due: datetime, seconds: float
) -> None:
    if draft.now < due:
        draft.held[container.name] = Held(back_off_seconds=seconds)
        draft.wake(due)
    else:
        draft.step(StartInstance(container.name, instance.uuid, restart=True))


def _tear_down(observed: Observed, memory: Memory, now: datetime) -> Plan:
    pod = observed.pod
    draft = _Draft(observed, memory, memory.reported or pod.status, now)
    if memory.let_go:
        return Plan(report=False, finished=True)
    sidecars = {container.name for container in pod.spec.init_containers if is_sidecar(container)}
    every = [
        *observed.instances.items(),
        *((instance.name, instance) for instance in observed.surplus),
    ]
    alive = [(name, instance) for name, instance in every if instance.state in _ALIVE]
    if any(name not in sidecars for name, _ in alive):
        # Sidecars serve the others to the end.
        _stop(draft, [(name, one) for name, one in alive if name not in sidecars])
        return draft.plan()
    if alive:
        _stop(draft, alive)
        return draft.plan()
    if any(
        isinstance(container_run(instance, now, deleting=True), Settling) for _, instance in every
    ):
        draft.watch.update(instance.uuid for _, instance in every)
        draft.wake(now + REASON_LAG)
        return draft.plan()
    if not observed.vanished and draft.reported.phase not in (SUCCEEDED, FAILED):
        # The end is reported while the instances can still tell it.
        return draft.plan(stopped_for_good=True)
    if every:
        for name, instance in every:
            draft.step(DeleteInstance(name, instance.uuid))
    elif memory.uncertain:
        draft.step(LookUpInstances(frozenset(memory.uncertain)))
    elif observed.groups_released:
        confirmed = not observed.owned and pod.metadata.deletion_grace_period_seconds == 0
        if observed.vanished or confirmed:
            return Plan(report=False, finished=True)
        draft.step(LetGo())
    return attrs.evolve(draft.plan(stopped_for_good=True), report=False)


def _stop(draft: _Draft, alive: list[tuple[str, Instance]]) -> None:
    """Stop within the grace period that is left, then by force."""
    metadata = draft.observed.pod.metadata
    grace = 0 if draft.observed.vanished else metadata.deletion_grace_period_seconds or 0
    deadline = (draft.memory.stopping_since or draft.now) + timedelta(seconds=grace)
    for name, instance in alive:
        if draft.now >= deadline:
            draft.step(DeleteInstance(name, instance.uuid))
            continue
        if instance.uuid not in draft.memory.stop_asked:
            left = (deadline - draft.now).total_seconds()
            draft.step(StopInstance(name, instance.uuid, left))
        draft.watch.add(instance.uuid)
        draft.wake(deadline)

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

from kraftlet_trio.cloud.objects import STANDBY, Instance
from kraftlet_trio.kubernetes.pod import Container, ContainerStatus, PodStatus
from kraftlet_trio.mapping.container_state import (
    REASON_LAG,
    Ended,
    ImageUnavailable,
    NeverStarted,
    Running,
    Settling,
    Starting,
    container_run,
    is_alive,
)
from kraftlet_trio.mapping.container_status import (
    Held,
    Trouble,
    container_status_of,
    last_end,
    reported_end,
    runs_told,
)
from kraftlet_trio.mapping.pod_status import FAILED, SUCCEEDED, is_over, is_sidecar, restartable
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

_DEFAULT_GRACE_SECONDS = 30
"""What the API server fills in."""


def next_steps(observed: Observed, memory: Memory, now: datetime) -> Plan:
    """The steps that bring the cloud nearer to the Pod, and until when to rest after them."""
    pod = observed.pod
    if observed.vanished or pod.metadata.deletion_timestamp is not None:
        return _tear_down(observed, memory, now)
    reported = memory.reported or pod.status
    if reported.phase in (SUCCEEDED, FAILED):
        # A terminal status never changes again, but what was started meanwhile may still run.
        winding_down = _wind_down(_Draft(observed, memory, reported, now))
        return attrs.evolve(winding_down, report=False)
    if is_over(pod, reported):
        return _wind_down(_Draft(observed, memory, reported, now))
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
        match step:
            case CreateInstance(container) | StartInstance(container) if failure is not None:
                self.held[container] = Held(trouble=failure.trouble)
        if failure is not None and self.now < failure.retry_at:
            self.wake(failure.retry_at)
        else:
            self.steps.append(step)

    def wake(self, moment: datetime) -> None:
        self.wake_at = moment if self.wake_at is None else min(self.wake_at, moment)

    def has_restarted(self, container: Container) -> bool:
        """Whether it was started again, and that is not reported yet."""
        told = runs_told(container_status_of(self.reported, container.name))
        return self.memory.restarted.get(container.name) == told

    def plan(self, *, stopped_for_good: bool = False) -> Plan:
        for container in (
            *self.observed.pod.spec.init_containers,
            *self.observed.pod.spec.containers,
        ):
            held = self.held.get(container.name, Held())
            if self.has_restarted(container):
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
    pod = draft.observed.pod
    match container_run(instance, draft.now, deleting=False):
        case NeverStarted():
            if _is_misplaced(draft, container, instance):
                draft.step(DeleteInstance(container.name, instance.uuid))
            elif container in pod.spec.init_containers or draft.observed.autostart:
                draft.step(StartInstance(container.name, instance.uuid, restart=False))
        case Starting():
            draft.watch.add(instance.uuid)
        case Running():
            if _is_misplaced(draft, container, instance) and pod.spec.restart_policy != "Never":
                _stop(draft, container.name, instance, _grace_seconds(draft))
                return False
            once = _is_done_after_success(draft, container)
            # A container that is meant to end is looked at often, so that its end shows at once.
            if once or not instance.private_ip or pod.spec.restart_policy != "Always":
                draft.watch.add(instance.uuid)
            return not once
        case Settling():
            _await_reason(draft, instance)
        case ImageUnavailable():
            due, seconds = due_after_failed_pull(
                instance.stopped_at, draft.memory.back_offs.get(container.name), draft.now
            )
            _run_again_when_due(draft, container, instance, due, seconds)
        case Ended() as end:
            return _tend_ended(draft, container, instance, end)
    return False


def _is_done_after_success(draft: _Draft, container: Container) -> bool:
    return container in draft.observed.pod.spec.init_containers and not is_sidecar(container)


def _tend_missing(draft: _Draft, container: Container) -> bool:
    status = container_status_of(draft.reported, container.name)
    if status is not None and status.state.running:
        return False  # the loss is reported first
    end = last_end(status)
    if status is not None and end is not None:
        if not restartable(draft.observed.pod, container, end.exit_code):
            return end.exit_code == 0
        due, _ = _due(draft, container, status, end.finished_at)
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


def _tend_ended(draft: _Draft, container: Container, instance: Instance, end: Ended) -> bool:
    status = container_status_of(draft.reported, container.name) or ContainerStatus(name="")
    reported = reported_end(status, instance, restarted=draft.has_restarted(container))
    # What was reported stands, also where the platform has found a reason for the stop since.
    exit_code = reported.exit_code if reported else end.exit_code
    if not restartable(draft.observed.pod, container, exit_code):
        return reported is not None and exit_code == 0
    due, seconds = _due(draft, container, status, instance.stopped_at)
    if reported:
        _run_again_when_due(draft, container, instance, due, seconds)
    elif draft.now < due:
        draft.held[container.name] = Held(back_off_seconds=seconds)
        draft.wake(due)
    return False


def _due(
    draft: _Draft, container: Container, status: ContainerStatus, finished_at: datetime | None
) -> tuple[datetime, float]:
    """When the container may run again, and how long that back-off is in seconds."""
    if _is_done_after_success(draft, container):
        seconds = init_retry_seconds(status.restart_count)
        return (finished_at or draft.now) + timedelta(seconds=seconds), seconds
    return due_after_end(finished_at, status, draft.memory.back_offs.get(container.name), draft.now)


def _run_again_when_due(
    draft: _Draft, container: Container, instance: Instance, due: datetime, seconds: float
) -> None:
    if draft.now < due:
        draft.held[container.name] = Held(back_off_seconds=seconds)
        draft.wake(due)
    elif _is_misplaced(draft, container, instance):
        draft.step(DeleteInstance(container.name, instance.uuid))
    else:
        draft.step(StartInstance(container.name, instance.uuid, restart=True))


def _wind_down(draft: _Draft) -> Plan:
    """Stop the sidecars, which would go on for ever after all others are done."""
    for name, instance in _next_to_stop(draft.observed):
        _stop(draft, name, instance, _grace_seconds(draft))
    _await_reasons(draft)
    return draft.plan()


def _tear_down(observed: Observed, memory: Memory, now: datetime) -> Plan:
    pod = observed.pod
    draft = _Draft(observed, memory, memory.reported or pod.status, now)
    if memory.let_go:
        return Plan(report=False, finished=True)
    if memory.uncertain:
        draft.step(LookUpInstances(frozenset(memory.uncertain)))
    if alive := _next_to_stop(observed):
        _stop_within_grace(draft, alive)
        return draft.plan()
    if _await_reasons(draft) or memory.uncertain:
        return draft.plan()
    if not observed.vanished and draft.reported.phase not in (SUCCEEDED, FAILED):
        # The end is reported while the instances can still tell it.
        return draft.plan(stopped_for_good=True)
    if every := _instances(observed):
        for name, instance in every:
            draft.step(DeleteInstance(name, instance.uuid))
    elif observed.groups_released:
        confirmed = not observed.owned and pod.metadata.deletion_grace_period_seconds == 0
        if observed.vanished or confirmed:
            return Plan(report=False, finished=True)
        draft.step(LetGo())
    return attrs.evolve(draft.plan(stopped_for_good=True), report=False)


def _stop_within_grace(draft: _Draft, alive: list[tuple[str, Instance]]) -> None:
    """Stop within the grace period that is left, then by force."""
    metadata = draft.observed.pod.metadata
    grace = 0 if draft.observed.vanished else metadata.deletion_grace_period_seconds or 0
    deadline = (draft.memory.stopping_since or draft.now) + timedelta(seconds=grace)
    for name, instance in alive:
        if draft.now >= deadline:
            draft.step(DeleteInstance(name, instance.uuid))
        else:
            _stop(draft, name, instance, (deadline - draft.now).total_seconds())
            draft.wake(deadline)


def _stop(draft: _Draft, name: str, instance: Instance, seconds: float) -> None:
    if instance.uuid not in draft.memory.stop_asked:
        draft.step(StopInstance(name, instance.uuid, seconds))
    elif instance.state == STANDBY:
        # It was falling asleep and slept through the stop: nothing of it runs that could be asked.
        draft.step(DeleteInstance(name, instance.uuid))
    draft.watch.add(instance.uuid)


def _grace_seconds(draft: _Draft) -> float:
    grace = draft.observed.pod.spec.termination_grace_period_seconds
    return _DEFAULT_GRACE_SECONDS if grace is None else grace


def _instances(observed: Observed) -> list[tuple[str, Instance]]:
    """All of the Pod's, each with the name of its container, or its own where it has none."""
    surplus = ((instance.name, instance) for instance in observed.surplus)
    return [*observed.instances.items(), *surplus]


def _next_to_stop(observed: Observed) -> list[tuple[str, Instance]]:
    """Those alive, but sidecars, which serve the others to the end, only one by one at last."""
    alive = [(name, instance) for name, instance in _instances(observed) if is_alive(instance)]
    sidecars = [one.name for one in observed.pod.spec.init_containers if is_sidecar(one)]
    others = [(name, instance) for name, instance in alive if name not in sidecars]
    return others or sorted(alive, key=lambda one: sidecars.index(one[0]))[-1:]


def _await_reasons(draft: _Draft) -> bool:
    """Whether the platform has yet to say of an instance why it stopped."""
    settling = [
        instance
        for _, instance in _instances(draft.observed)
        if isinstance(container_run(instance, draft.now, deleting=True), Settling)
    ]
    for instance in settling:
        _await_reason(draft, instance)
    return bool(settling)


def _await_reason(draft: _Draft, instance: Instance) -> None:
    draft.watch.add(instance.uuid)
    draft.wake(draft.now + REASON_LAG)

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

from kraftlet_trio.kubernetes.pod import ContainerStatus
from kraftlet_trio.mapping.container_state import Settling, container_run
from kraftlet_trio.mapping.container_status import container_status_of, last_end
from kraftlet_trio.mapping.pod_phase import FAILED, SUCCEEDED, is_over, is_sidecar
from kraftlet_trio.mapping.pod_status import PodFailure
from kraftlet_trio.pods.draft import Draft
from kraftlet_trio.pods.plan import (
    Annotate,
    ClearAway,
    DeleteInstance,
    DeleteVolumes,
    LetGo,
    LookUpInstances,
    Memory,
    Observed,
    Plan,
    Reclaim,
    RecordOwnership,
)
from kraftlet_trio.pods.stopping import (
    instances_of,
    next_to_stop,
    stop_by_policy,
    stop_for_deletion,
)
from kraftlet_trio.pods.tending import await_reason, tend

QUOTA_EXCEEDED = "QuotaExceeded"


def next_steps(observed: Observed, memory: Memory, now: datetime) -> Plan:
    """The steps that bring the cloud nearer to the Pod, and until when to rest after them."""
    pod = observed.pod
    reported = memory.reported or pod.status
    draft = Draft(observed, memory, reported, now)
    if observed.vanished or pod.metadata.deletion_timestamp is not None:
        return _tear_down(draft)
    if observed.refusal is not None:
        return _turn_away(draft)
    if reported.phase in (SUCCEEDED, FAILED):
        # A terminal status never changes again, but what was started meanwhile may still run.
        return _clear_up(draft)
    if failure := _failure(draft):
        _wind_down(draft)
        return draft.plan(failure=failure)
    if is_over(pod, reported, ignored=observed.ignored):
        _wind_down(draft)
        return draft.plan()
    wanted = frozenset(observed.wanted_groups.values())
    if not observed.owned or not wanted <= observed.recorded_groups:
        draft.step(RecordOwnership(wanted | observed.recorded_groups))
        return draft.plan()
    if observed.annotations:
        draft.step(Annotate(observed.annotations))
    _bring_up(draft)
    return draft.plan()


def _turn_away(draft: Draft) -> Plan:
    refusal = draft.observed.refusal
    assert refusal is not None
    if refusal.action == "leave":
        return Plan(report=False)
    return draft.plan(
        report=draft.reported.phase not in (SUCCEEDED, FAILED),
        failure=PodFailure(refusal.reason, refusal.message, rejected=True),
    )


def _failure(draft: Draft) -> PodFailure | None:
    """Why the Pod as a whole has to end, if it has to."""
    for message in draft.memory.quota_refusals.values():
        return PodFailure(QUOTA_EXCEEDED, message)
    deadline_seconds = draft.pod.spec.active_deadline_seconds
    if deadline_seconds is not None and draft.reported.start_time is not None:
        deadline = draft.reported.start_time + timedelta(seconds=deadline_seconds)
        if draft.now >= deadline:
            return PodFailure(
                "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
            )
        draft.wake(deadline)
    return None


def _bring_up(draft: Draft) -> None:
    spec = draft.pod.spec
    begun = any(
        container.name in draft.observed.instances
        or _has_run(container_status_of(draft.reported, container.name))
        for container in spec.containers
    )
    for container in draft.containers():
        if container in spec.containers or is_sidecar(container):
            holds_back = not tend(draft, container)
            if holds_back and not begun and container in spec.init_containers:
                return
        # A finished init container never runs again, and none does beside the main containers.
        elif not begun and not tend(draft, container):
            return


def _has_run(status: ContainerStatus | None) -> bool:
    return status is not None and bool(status.state.running or last_end(status))


def _wind_down(draft: Draft) -> None:
    """Stop what still runs: all of a Pod that failed, the sidecars of one that is done."""
    for name, instance in next_to_stop(draft.observed):
        stop_by_policy(draft, name, instance)
    _await_reasons(draft)


def _clear_up(draft: Draft) -> Plan:
    """What is left to do for a Pod that is over, but for its deletion."""
    _wind_down(draft)
    observed, stored = draft.observed, draft.pod.status
    if draft.steps or draft.watch:
        return draft.plan(report=False)
    if stored.phase == SUCCEEDED:
        # What it wrote is kept; the quota of instances and volumes is others' from now on.
        for name, instance in instances_of(observed):
            draft.step(ClearAway(name, instance.uuid))
        if not observed.instances and observed.own_volumes and not draft.memory.volumes_deleted:
            draft.step(DeleteVolumes())
    elif stored.phase == FAILED and stored.reason == QUOTA_EXCEEDED and observed.reclaims:
        draft.step(Reclaim())
    return draft.plan(report=False)


def _tear_down(draft: Draft) -> Plan:
    observed, memory = draft.observed, draft.memory
    if memory.let_go:
        return Plan(report=False, finished=True)
    if memory.uncertain:
        draft.step(LookUpInstances(frozenset(memory.uncertain)))
    for name, verdict in observed.verdicts.items():
        draft.hold(name, started=verdict.started, ready=verdict.ready)
    if alive := next_to_stop(observed):
        stop_for_deletion(draft, alive)
        return draft.plan()
    if _await_reasons(draft) or memory.uncertain:
        return draft.plan()
    if not observed.vanished and draft.reported.phase not in (SUCCEEDED, FAILED):
        # The end is reported while the instances can still tell it.
        return draft.plan(stopped_for_good=True)
    if every := instances_of(observed):
        for name, instance in every:
            draft.step(DeleteInstance(name, instance.uuid))
    elif observed.own_volumes and observed.owned and not memory.volumes_deleted:
        draft.step(DeleteVolumes())
    elif observed.groups_released:
        metadata = observed.pod.metadata
        confirmed = not observed.owned and metadata.deletion_grace_period_seconds == 0
        if observed.vanished or confirmed:
            return Plan(report=False, finished=True)
        draft.step(LetGo())
    return attrs.evolve(draft.plan(stopped_for_good=True), report=False)


def _await_reasons(draft: Draft) -> bool:
    """Whether the platform has yet to say of an instance why it stopped."""
    settling = [
        instance
        for _, instance in instances_of(draft.observed)
        if isinstance(container_run(instance, draft.now, deleting=True), Settling)
    ]
    for instance in settling:
        await_reason(draft, instance)
    return bool(settling)

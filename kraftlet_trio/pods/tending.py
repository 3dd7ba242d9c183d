"""What to do next for one container of a Pod that is to run."""

from __future__ import annotations

from datetime import datetime, timedelta

from kraftlet_trio.cloud.objects import STANDBY, Instance
from kraftlet_trio.kubernetes.pod import Container, ContainerStatus
from kraftlet_trio.mapping.annotations import Refresh
from kraftlet_trio.mapping.container_state import (
    REASON_LAG,
    Ended,
    ImageUnavailable,
    NeverStarted,
    Running,
    Settling,
    Starting,
    container_run,
    run_key,
)
from kraftlet_trio.mapping.container_status import (
    Trouble,
    container_status_of,
    last_end,
    reported_end,
)
from kraftlet_trio.mapping.instance_updates import has_other_size, is_outdated, renewal_of
from kraftlet_trio.mapping.pod_phase import is_sidecar, restartable
from kraftlet_trio.pods.back_off import due_after_end, due_after_failed_pull, init_retry_seconds
from kraftlet_trio.pods.draft import Draft
from kraftlet_trio.pods.hooks import HookFailed, HookRunning
from kraftlet_trio.pods.plan import (
    CreateInstance,
    DeleteInstance,
    ReadLastWords,
    StartHook,
    StartInstance,
    UpdateInstance,
)
from kraftlet_trio.pods.stopping import deadline_of, stop_by_policy, stop_within

_NEEDS_A_RESTART = frozenset({"image", "memory_mb", "vcpus"})
_REFRESHED = frozenset({"args", "env", "plugins", "roms"})
"""Properties of instances that take effect with the next run, of the Pod's own and of others'."""
_NEVER_RESTARTED = Trouble(
    "Infeasible",
    "Unikraft Cloud gives an instance another image or size only with a restart, which the Pod's "
    "restartPolicy Never does not allow; make a new Pod",
)


def tend(draft: Draft, container: Container) -> bool:
    """Plan for one container; whether it no longer holds back those that come after it."""
    instance = draft.observed.instances.get(container.name)
    if draft.observed.blocked and instance is None:
        trouble = Trouble("CreateContainerConfigError", draft.observed.blocked)
        draft.hold(container.name, trouble=trouble)
        return False
    if instance is None:
        return _tend_missing(draft, container)
    match container_run(instance, draft.now, deleting=False):
        case NeverStarted():
            if _is_misplaced(draft, container, instance):
                draft.step(DeleteInstance(container.name, instance.uuid))
            elif container in draft.pod.spec.init_containers or draft.observed.autostart:
                draft.step(StartInstance(container.name, instance.uuid, restart=False))
        case Starting():
            draft.watch.add(instance.uuid)
        case Running():
            return _tend_running(draft, container, instance)
        case Settling():
            await_reason(draft, instance)
        case ImageUnavailable():
            _tend_unpullable(draft, container, instance)
        case Ended() as end:
            return _tend_ended(draft, container, instance, end)
    return False


def await_reason(draft: Draft, instance: Instance) -> None:
    """Look again soon: it stopped, and the platform has not said why yet."""
    draft.watch.add(instance.uuid)
    draft.wake(draft.now + REASON_LAG)


def is_done_after_success(draft: Draft, container: Container) -> bool:
    return container in draft.pod.spec.init_containers and not is_sidecar(container)


def _tend_missing(draft: Draft, container: Container) -> bool:
    observed = draft.observed
    status = container_status_of(draft.reported, container.name)
    if status is not None and status.state.running:
        return False  # the loss is reported first
    end = last_end(status)
    if status is not None and end is not None:
        if not restartable(draft.pod, container, end.exit_code):
            return end.exit_code == 0
        due, _ = _due(draft, container, status, end.finished_at)
        if draft.now < due:
            draft.wake(due)
            return False
    if container.name in observed.claim_troubles:
        message = observed.claim_troubles[container.name]
        draft.hold(container.name, trouble=Trouble("CreateContainerConfigError", message))
        return False
    group = observed.wanted_groups.get(container.name)
    if group is not None and group not in observed.ready_groups:
        if group in observed.group_troubles:
            trouble = Trouble("CreateContainerError", observed.group_troubles[group])
            draft.hold(container.name, trouble=trouble)
        return False
    draft.step(CreateInstance(container.name))
    return False


def _tend_running(draft: Draft, container: Container, instance: Instance) -> bool:
    name, policy = container.name, draft.pod.spec.restart_policy
    if _is_misplaced(draft, container, instance) and policy != "Never":
        stop_by_policy(draft, name, instance)
        return False
    started = _note_health(draft, container, instance)
    draft.hold(name, resizing=_is_resizing(draft, container, instance))
    once = is_done_after_success(draft, container)
    if not once:  # which takes something new over with its next run, if there is one
        if _is_ending(draft, container, instance):
            return False
        _update(draft, container, instance)
    # A container that is meant to end is looked at often, so that its end shows at once.
    if once or not instance.private_ip or policy != "Always":
        draft.watch.add(instance.uuid)
    return started and not once


def _note_health(draft: Draft, container: Container, instance: Instance) -> bool:
    """What probes and the ``postStart`` hook make of a run; whether it counts as started."""
    verdict = draft.observed.verdicts.get(container.name)
    started = verdict is None or verdict.started
    ready = verdict is None or verdict.ready
    if container.lifecycle is not None and container.lifecycle.post_start is not None:
        state = draft.observed.hooks.get(("postStart", container.name))
        if state is None and not _is_reported_started(draft, container, instance):
            draft.step(StartHook("postStart", container.name, instance.uuid))
            started = False
        elif isinstance(state, HookRunning | HookFailed):
            started = False
    draft.hold(container.name, started=started, ready=started and ready)
    return started


def _is_reported_started(draft: Draft, container: Container, instance: Instance) -> bool:
    """Whether an earlier daemon has seen this very run through its hook."""
    status = container_status_of(draft.reported, container.name)
    return (
        status is not None
        and status.state.running is not None
        and bool(status.started)
        and status.container_id.endswith(instance.uuid)
        and not draft.has_restarted(container)
    )


def _is_ending(draft: Draft, container: Container, instance: Instance) -> bool:
    """Whether this run has to make way for the next; plans its stop then."""
    name = container.name
    verdict = draft.observed.verdicts.get(name)
    if verdict is not None and verdict.doom is not None:
        doom = verdict.doom
        grace = draft.grace_seconds if doom.grace_seconds is None else doom.grace_seconds
        why = f"failed {doom.kind.lower()} probe, will be restarted"
        stop_within(draft, name, instance, deadline_of(draft, instance, grace), why)
        return True
    if isinstance(draft.observed.hooks.get(("postStart", name)), HookFailed):
        stop_by_policy(draft, name, instance, "failed its postStart hook")
        return True
    if _awaits_restart(draft, instance):
        stop_by_policy(draft, name, instance, "definition changed, will be restarted", again=True)
        return True
    return instance.uuid in draft.memory.stop_asked


def _is_resizing(draft: Draft, container: Container, instance: Instance) -> bool:
    """Whether it does not have the resources yet that its container asks for."""
    pending = {update.prop for update in instance.updates if update.status == "pending"}
    wanted = draft.observed.specs.get(container.name)
    return has_other_size(instance, wanted) or bool(pending & {"memory_mb", "vcpus"})


def _awaits_restart(draft: Draft, instance: Instance) -> bool:
    """Whether it has been given something new that only its next run will have."""
    if draft.pod.spec.restart_policy == "Never":
        return False  # the API server would not take a second run
    pending = {update.prop for update in instance.updates if update.status == "pending"}
    awaited = _NEEDS_A_RESTART
    if draft.observed.refresh == Refresh.RESTART:
        awaited |= _REFRESHED
    return bool(pending & awaited) and instance.state != STANDBY


def _is_outdated(draft: Draft, container: Container, instance: Instance) -> bool:
    return is_outdated(instance, draft.observed.specs.get(container.name))


def _update(draft: Draft, container: Container, instance: Instance) -> None:
    """Give the instance what its container asks for now, if that has changed."""
    name = container.name
    if _is_outdated(draft, container, instance):
        if draft.pod.spec.restart_policy == "Never":
            draft.hold(name, update_trouble=_NEVER_RESTARTED)
        else:
            draft.step(UpdateInstance(name, instance.uuid))
        return
    renewal = renewal_of(instance)
    if name in draft.memory.to_refresh or (renewal is not None and renewal <= draft.now):
        draft.step(UpdateInstance(name, instance.uuid))
    elif renewal is not None:
        draft.wake(renewal)


def _is_misplaced(draft: Draft, container: Container, instance: Instance) -> bool:
    """Whether a Service came that this instance cannot join: membership is fixed at creation."""
    wanted = draft.observed.wanted_groups.get(container.name)
    present = instance.service_group.name if instance.service_group else None
    return wanted is not None and wanted != present


def _tend_unpullable(draft: Draft, container: Container, instance: Instance) -> None:
    if _is_outdated(draft, container, instance):
        draft.step(UpdateInstance(container.name, instance.uuid))
        return
    due, seconds = due_after_failed_pull(
        instance.stopped_at, draft.memory.back_offs.get(container.name), draft.now
    )
    if container.name in draft.memory.restarting:
        due = draft.now
    _run_again_when_due(draft, container, instance, due, seconds)


def _tend_ended(draft: Draft, container: Container, instance: Instance, end: Ended) -> bool:
    status = container_status_of(draft.reported, container.name) or ContainerStatus(name="")
    reported = reported_end(status, instance, restarted=draft.has_restarted(container))
    # What was reported stands, also where the platform has found a reason for the stop since.
    exit_code = reported.exit_code if reported else end.exit_code
    if reported is None and _last_words_are_wanted(draft, container, instance, end):
        draft.step(ReadLastWords(container.name, instance.uuid))
        draft.unread = True
    if not restartable(draft.pod, container, exit_code):
        return reported is not None and exit_code == 0
    if _is_outdated(draft, container, instance):
        draft.step(UpdateInstance(container.name, instance.uuid))
        return False
    due, seconds = _due(draft, container, status, instance.stopped_at)
    if reported:
        _run_again_when_due(draft, container, instance, due, seconds)
    elif draft.now < due:
        draft.hold(container.name, back_off_seconds=seconds)
        draft.wake(due)
    return False


def _last_words_are_wanted(
    draft: Draft, container: Container, instance: Instance, end: Ended
) -> bool:
    key = run_key(instance)
    if key in draft.memory.last_words:
        draft.hold(container.name, last_words=draft.memory.last_words[key])
        return False
    return end.exit_code != 0 and container.termination_message_policy == "FallbackToLogsOnError"


def _due(
    draft: Draft, container: Container, status: ContainerStatus, finished_at: datetime | None
) -> tuple[datetime, float]:
    """When the container may run again, and how long that back-off is in seconds."""
    if container.name in draft.memory.restarting:
        return finished_at or draft.now, 0.0
    if is_done_after_success(draft, container):
        seconds = init_retry_seconds(status.restart_count)
        return (finished_at or draft.now) + timedelta(seconds=seconds), seconds
    return due_after_end(finished_at, status, draft.memory.back_offs.get(container.name), draft.now)


def _run_again_when_due(
    draft: Draft, container: Container, instance: Instance, due: datetime, seconds: float
) -> None:
    if draft.now < due:
        draft.hold(container.name, back_off_seconds=seconds)
        draft.wake(due)
    elif _is_misplaced(draft, container, instance):
        draft.step(DeleteInstance(container.name, instance.uuid))
    else:
        draft.step(StartInstance(container.name, instance.uuid, restart=True))

"""How instances are stopped: hook first, then asked within the grace, then by force; in order.

The ``preStop`` hook's time counts against the grace period. An instance in standby runs no hook,
for that would wake it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from kraftlet_trio.cloud.objects import RUNNING, STANDBY, Instance
from kraftlet_trio.mapping.container_state import is_alive
from kraftlet_trio.mapping.pod_phase import is_sidecar
from kraftlet_trio.pods.draft import Draft
from kraftlet_trio.pods.hooks import HookRunning
from kraftlet_trio.pods.plan import DeleteInstance, Observed, StartHook, StopInstance

_LEAST_SECONDS = 2.0
"""A process has this long after it was asked to stop, even if a hook took all the grace."""


def instances_of(observed: Observed) -> list[tuple[str, Instance]]:
    """All of the Pod's, each with the name of its container, or its own where it has none."""
    surplus = ((instance.name, instance) for instance in observed.surplus)
    return [*observed.instances.items(), *surplus]


def next_to_stop(observed: Observed) -> list[tuple[str, Instance]]:
    """Those alive, but sidecars, which serve the others to the end, only one by one at last."""
    alive = [(name, instance) for name, instance in instances_of(observed) if is_alive(instance)]
    sidecars = [one.name for one in observed.pod.spec.init_containers if is_sidecar(one)]
    others = [(name, instance) for name, instance in alive if name not in sidecars]
    return others or sorted(alive, key=lambda one: sidecars.index(one[0]))[-1:]


def stop_within(
    draft: Draft,
    name: str,
    instance: Instance,
    deadline: datetime,
    why: str = "",
    *,
    again: bool = False,
) -> None:
    """Bring an instance nearer to its end, while its Pod lives on or winds down.

    *again*: it is to run again with something new, without any back-off.
    """
    if _is_ready_to_stop(draft, name, instance, deadline):
        begun = draft.memory.stop_begun.get(instance.uuid, draft.now)
        if instance.uuid not in draft.memory.stop_asked:
            seconds = max((deadline - draft.now).total_seconds(), _LEAST_SECONDS)
            draft.step(StopInstance(name, instance.uuid, seconds, why, again=again))
        elif instance.uuid in draft.memory.stop_forced:
            pass  # there is nothing more that could be asked
        elif draft.now >= (forced := max(deadline, begun + timedelta(seconds=_LEAST_SECONDS))):
            draft.step(StopInstance(name, instance.uuid, 0, why, force=True, again=again))
        else:
            draft.wake(forced)
    draft.watch.add(instance.uuid)


def stop_by_policy(
    draft: Draft, name: str, instance: Instance, why: str = "", *, again: bool = False
) -> None:
    """As ``stop_within``, with the Pod's own grace period."""
    deadline = deadline_of(draft, instance, draft.grace_seconds)
    stop_within(draft, name, instance, deadline, why, again=again)


def deadline_of(draft: Draft, instance: Instance, grace_seconds: float) -> datetime:
    """When a stop that has begun, or begins now, is to be over."""
    begun = draft.memory.stop_begun.get(instance.uuid, draft.now)
    return begun + timedelta(seconds=grace_seconds)


def stop_for_deletion(draft: Draft, alive: list[tuple[str, Instance]]) -> None:
    """Stop within what is left of the deletion's grace period, then delete by force."""
    grace = 0 if draft.observed.vanished else draft.pod.metadata.deletion_grace_period_seconds or 0
    deadline = (draft.memory.stopping_since or draft.now) + timedelta(seconds=grace)
    for name, instance in alive:
        asked = instance.uuid in draft.memory.stop_asked
        if draft.now >= deadline:
            draft.step(DeleteInstance(name, instance.uuid))
        elif asked and instance.state == STANDBY:
            # It was falling asleep and slept through the stop: nothing of it runs that could be
            # asked.
            draft.step(DeleteInstance(name, instance.uuid))
        elif not asked and _is_ready_to_stop(draft, name, instance, deadline):
            draft.step(StopInstance(name, instance.uuid, (deadline - draft.now).total_seconds()))
        draft.watch.add(instance.uuid)
        if draft.now < deadline:
            draft.wake(deadline)


def _is_ready_to_stop(draft: Draft, name: str, instance: Instance, deadline: datetime) -> bool:
    """Whether its ``preStop`` hook is over, or may take no longer; begins the hook if need be."""
    container = draft.container(name)
    if (
        container is None
        or container.lifecycle is None
        or container.lifecycle.pre_stop is None
        or instance.uuid in draft.memory.stop_asked
        or instance.state != RUNNING
        or draft.now >= deadline
    ):
        return True
    state = draft.observed.hooks.get(("preStop", name))
    if state is None:
        seconds = (deadline - draft.now).total_seconds()
        draft.step(StartHook("preStop", name, instance.uuid, seconds))
        draft.wake(deadline)
        return False
    if isinstance(state, HookRunning):
        draft.wake(deadline)
        return False
    return True

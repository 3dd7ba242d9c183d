"""A Pod's status from its containers' statuses, by kubelet's rules of phase and conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.objects import Condition
from kraftlet_trio.kubernetes.pod import (
    IP,
    Container,
    ContainerState,
    ContainerStatus,
    Pod,
    PodStatus,
)
from kraftlet_trio.mapping.container_state import is_alive
from kraftlet_trio.mapping.container_status import (
    Held,
    container_status,
    container_status_of,
    last_end,
    unknown_end,
)

PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"


def is_sidecar(container: Container) -> bool:
    """An init container that runs beside the others instead of before them."""
    return container.restart_policy == "Always"


def restartable(pod: Pod, container: Container, exit_code: int) -> bool:
    """Whether the container runs again after this end (``spec.restartPolicy``)."""
    if is_sidecar(container):
        return True
    match pod.spec.restart_policy:
        case "Never":
            return False
        case "OnFailure":
            return exit_code != 0
        case _:
            # For an init container Always means OnFailure: one success is all it is for.
            return exit_code != 0 or container not in pod.spec.init_containers


def is_over(pod: Pod, status: PodStatus) -> bool:
    """Whether nothing of the Pod is to run again. Its sidecars may still be running."""

    def statuses_of(containers: Sequence[Container]) -> tuple[ContainerStatus, ...]:
        return tuple(
            container_status_of(status, one.name) or ContainerStatus(name=one.name)
            for one in containers
        )

    init, regular = statuses_of(pod.spec.init_containers), statuses_of(pod.spec.containers)
    return _phase(pod, init, regular, stopped_for_good=False) in (SUCCEEDED, FAILED)


def pod_status(
    pod: Pod,
    previous: PodStatus,
    instances: Mapping[str, Instance],
    held: Mapping[str, Held],
    *,
    host_ip: str,
    now: datetime,
    stopped_for_good: bool,
) -> PodStatus:
    """The status to report after *previous*.

    *instances* and *held* are by container name. *stopped_for_good* says that the Pod is being
    deleted and nothing of it runs any more: each container gets an end, the phase is terminal.
    """
    second = now.replace(microsecond=0)
    stopped_by_us = pod.metadata.deletion_timestamp is not None or is_over(pod, previous)
    creating = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"

    def status_of(container: Container, *, init: bool) -> ContainerStatus:
        """*init* says that the container is done once it has succeeded."""
        return container_status(
            container,
            container_status_of(previous, container.name),
            instances.get(container.name),
            held.get(container.name, Held()),
            init=init,
            creating=creating,
            deleting=stopped_by_us,
            now=now,
        )

    init = tuple(
        status_of(container, init=not is_sidecar(container))
        for container in pod.spec.init_containers
    )
    regular = tuple(
        sorted(
            (status_of(container, init=False) for container in pod.spec.containers),
            key=lambda status: status.name,
        )
    )
    if stopped_for_good:
        init, regular = _with_ends(pod, init, regular, now)
    phase = previous.phase
    if phase not in (SUCCEEDED, FAILED):
        phase = _phase(pod, init, regular, stopped_for_good=stopped_for_good)
        if phase in (SUCCEEDED, FAILED) and (
            any(map(is_alive, instances.values())) or any(one.state.running for one in init)
        ):
            # Whoever waits for a Pod to end relies on nothing of it running any more.
            phase = RUNNING if _have_run(regular) else PENDING
    pod_ip = _pod_ip(pod, instances) or previous.pod_ip
    status = PodStatus(
        phase=phase,
        reason=previous.reason,
        message=previous.message,
        observed_generation=pod.metadata.generation,
        container_statuses=regular,
        init_container_statuses=init,
        pod_ip=pod_ip,
        pod_ips=(IP(ip=pod_ip),) if pod_ip else (),
        host_ip=host_ip,
        host_ips=(IP(ip=host_ip),) if host_ip else (),
        start_time=previous.start_time or second,
        qos_class=previous.qos_class,
    )
    return attrs.evolve(status, conditions=_conditions(pod, status, previous, second))


def _pod_ip(pod: Pod, instances: Mapping[str, Instance]) -> str:
    """The first container's private address: a Pod has one, its instances one each."""
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        instance = instances.get(container.name)
        if instance is not None and instance.private_ip:
            return instance.private_ip
    return ""


def _with_ends(
    pod: Pod, init: Sequence[ContainerStatus], regular: Sequence[ContainerStatus], now: datetime
) -> tuple[tuple[ContainerStatus, ...], tuple[ContainerStatus, ...]]:
    """Give an end to each container that may have run and has none.

    In a Pod that never finished initialising only the init containers up to the last that ever
    started (at least the first) may have run.
    """

    def ended(status: ContainerStatus) -> ContainerStatus:
        if status.state.terminated:
            return status
        end = last_end(status) or unknown_end(
            status, "The container could not be located when the pod was deleted", now
        )
        return attrs.evolve(
            status, state=ContainerState(terminated=end), ready=False, started=False
        )

    if not init or _initialized(pod, init, regular):
        return tuple(map(ended, init)), tuple(map(ended, regular))
    latest = max(
        (
            index
            for index, status in enumerate(init)
            if status.state.waiting is None or last_end(status)
        ),
        default=0,
    )
    return (*map(ended, init[: latest + 1]), *init[latest + 1 :]), tuple(regular)


def _initialized(
    pod: Pod, init: Sequence[ContainerStatus], regular: Sequence[ContainerStatus]
) -> bool:
    return _have_run(regular) or not _incomplete(pod, init)


def _have_run(regular: Sequence[ContainerStatus]) -> bool:
    return any(status.state.running or last_end(status) for status in regular)


def _incomplete(pod: Pod, init: Sequence[ContainerStatus]) -> list[str]:
    """Names of the init containers that still hold the Pod back."""
    names = []
    for container, status in zip(pod.spec.init_containers, init, strict=True):
        if is_sidecar(container):
            done = bool(status.started)
        else:
            done = status.state.terminated is not None and status.state.terminated.exit_code == 0
        if not done:
            names.append(status.name)
    return names


def _phase(
    pod: Pod,
    init: Sequence[ContainerStatus],
    regular: Sequence[ContainerStatus],
    *,
    stopped_for_good: bool,
) -> str:
    pending = False
    for container, status in zip(pod.spec.init_containers, init, strict=True):
        end = last_end(status)
        if end is None:
            pending |= not (is_sidecar(container) and status.state.running)
        elif end.exit_code != 0 and not restartable(pod, container, end.exit_code):
            return FAILED
    containers = {container.name: container for container in pod.spec.containers}
    ends = [last_end(status) for status in regular]
    if stopped_for_good:
        succeeded = not pending and all(end and end.exit_code == 0 for end in ends)
        return SUCCEEDED if succeeded else FAILED
    never_ran = [
        status
        for status, end in zip(regular, ends, strict=True)
        if not status.state.running and end is None
    ]
    if pending or never_ran:
        return PENDING
    if any(status.state.running for status in regular):
        return RUNNING
    for status, end in zip(regular, ends, strict=True):
        if end is not None and restartable(pod, containers[status.name], end.exit_code):
            return RUNNING
    return SUCCEEDED if all(end and end.exit_code == 0 for end in ends) else FAILED


def _conditions(
    pod: Pod, status: PodStatus, previous: PodStatus, now: datetime
) -> tuple[Condition, ...]:
    init, regular = status.init_container_statuses, status.container_statuses
    sandboxed = bool(status.pod_ip)
    unready = [one.name for one in regular if not one.ready]
    unready += [
        one.name
        for container, one in zip(pod.spec.init_containers, init, strict=True)
        if is_sidecar(container) and not one.ready
    ]
    incomplete = [] if _initialized(pod, init, regular) else _incomplete(pod, init)
    if status.phase == SUCCEEDED:
        initialized = ("True", "PodCompleted", "")
        ready = ("False", "PodCompleted", "")
    else:
        initialized = ("True", "", "")
        if incomplete:
            initialized = (
                "False",
                "ContainersNotInitialized",
                f"containers with incomplete status: [{' '.join(incomplete)}]",
            )
        ready = ("True", "", "")
        if status.phase == FAILED:
            ready = ("False", "PodFailed", "")
        elif unready:
            ready = (
                "False",
                "ContainersNotReady",
                f"containers with unready status: [{' '.join(unready)}]",
            )
        elif incomplete:
            ready = ("False", "ContainersNotReady", initialized[2])
    verdicts = {
        "PodReadyToStartContainers": ("True" if sandboxed else "False", "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": ("True", "", ""),
    }
    before = {condition.type: condition for condition in previous.conditions}
    return tuple(
        Condition(
            type=kind,
            status=verdict,
            reason=reason,
            message=message,
            last_transition_time=(
                before[kind].last_transition_time
                if kind in before and before[kind].status == verdict
                else now
            ),
            observed_generation=pod.metadata.generation,
        )
        for kind, (verdict, reason, message) in verdicts.items()
    )

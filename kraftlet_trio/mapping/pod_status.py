"""A Pod's status from what is known of its containers, by kubelet's rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import attrs

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.pod import (
    IP,
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
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
from kraftlet_trio.mapping.pod_conditions import conditions
from kraftlet_trio.mapping.pod_phase import (
    FAILED,
    PENDING,
    RUNNING,
    SUCCEEDED,
    have_run,
    initialized,
    is_over,
    is_sidecar,
    phase,
    without,
)

_NO_EPHEMERAL_CONTAINERS = (
    "an instance of Unikraft Cloud is one application with nothing beside it, so no container can "
    "be added to it; use kubectl exec or logs, or copy the Pod (kubectl debug --copy-to)"
)


@attrs.frozen
class PodFailure:
    """Why a Pod as a whole has failed, or is about to."""

    reason: str
    message: str
    rejected: bool = False
    """The node never took it: none of its containers has a status."""


def pod_status(
    pod: Pod,
    previous: PodStatus,
    instances: Mapping[str, Instance],
    held: Mapping[str, Held],
    *,
    host_ip: str,
    now: datetime,
    stopped_for_good: bool,
    failure: PodFailure | None = None,
    ignored: Collection[str] = (),
) -> PodStatus:
    """The status to report after *previous*.

    *instances* and *held* are by container name. *stopped_for_good* says that the Pod is being
    deleted and nothing of it runs any more: each container gets an end, the phase is terminal.
    A *failure* makes the phase terminal as soon as nothing of the Pod runs. *ignored* containers
    are said to run, and the others decide what becomes of the Pod.
    """
    second = now.replace(microsecond=0)
    if failure is not None and failure.rejected:
        return _rejected(pod, previous, failure, host_ip=host_ip, now=second)
    tended = without(pod, ignored)
    init, regular = _container_statuses(
        tended,
        previous,
        instances,
        held,
        deleting=pod.metadata.deletion_timestamp is not None
        or failure is not None
        or is_over(pod, previous, ignored=ignored),
        ignored=ignored,
        now=now,
    )
    if stopped_for_good:
        init, regular = _with_ends(tended, init, regular, now)
    reached = previous.phase
    if reached not in (SUCCEEDED, FAILED):
        reached = phase(tended, init, regular, stopped_for_good=stopped_for_good)
        if failure is not None:
            reached = FAILED
        if reached in (SUCCEEDED, FAILED) and (
            any(map(is_alive, instances.values()))
            or any(one.state.running for one in (*init, *regular))
        ):
            # Whoever waits for a Pod to end relies on nothing of it running any more.
            reached = RUNNING if have_run(regular) else PENDING
    failed_now = failure if reached == FAILED and previous.phase != FAILED else None
    pod_ip = _pod_ip(pod, instances) or previous.pod_ip
    status = PodStatus(
        phase=reached,
        reason=failed_now.reason if failed_now else previous.reason,
        message=failed_now.message if failed_now else previous.message,
        observed_generation=pod.metadata.generation,
        container_statuses=regular,
        init_container_statuses=init,
        ephemeral_container_statuses=_ephemeral(pod, previous, second),
        pod_ip=pod_ip,
        pod_ips=(IP(ip=pod_ip),) if pod_ip else (),
        host_ip=host_ip,
        host_ips=(IP(ip=host_ip),) if host_ip else (),
        start_time=previous.start_time or second,
        qos_class=previous.qos_class,
    )
    status = attrs.evolve(status, conditions=conditions(tended, status, previous, held, second))
    return _with_ignored(pod, status, previous, ignored, second) if ignored else status


def _container_statuses(
    pod: Pod,
    previous: PodStatus,
    instances: Mapping[str, Instance],
    held: Mapping[str, Held],
    *,
    deleting: bool,
    ignored: Collection[str],
    now: datetime,
) -> tuple[tuple[ContainerStatus, ...], tuple[ContainerStatus, ...]]:
    """Of the init containers, in their order, and of the others, by name."""
    metadata = pod.metadata
    creating = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"

    def status_of(container: Container, *, init: bool) -> ContainerStatus:
        """*init* says that the container is done once it has succeeded."""
        before = container_status_of(previous, container.name)
        if container.name in ignored:
            return _ignored(container, before, now.replace(microsecond=0))
        return container_status(
            container,
            before,
            instances.get(container.name),
            held.get(container.name, Held()),
            init=init,
            creating=creating,
            deleting=deleting,
            pod=f"{metadata.name}_{metadata.namespace}({metadata.uid})",
            now=now,
        )

    init = tuple(
        status_of(container, init=not is_sidecar(container))
        for container in pod.spec.init_containers
    )
    regular = (status_of(container, init=False) for container in pod.spec.containers)
    return init, tuple(sorted(regular, key=lambda status: status.name))


def _rejected(
    pod: Pod, previous: PodStatus, failure: PodFailure, *, host_ip: str, now: datetime
) -> PodStatus:
    """That of a Pod which the node does not take, in kubelet's form."""
    return PodStatus(
        phase=FAILED,
        reason=failure.reason,
        message=failure.message,
        observed_generation=pod.metadata.generation,
        host_ip=host_ip,
        host_ips=(IP(ip=host_ip),) if host_ip else (),
        start_time=previous.start_time or now,
        qos_class=previous.qos_class,
    )


def _with_ignored(
    pod: Pod, status: PodStatus, previous: PodStatus, ignored: Collection[str], now: datetime
) -> PodStatus:
    """*status* with those containers that nobody runs, said to run as long as the Pod does."""

    def added(
        containers: Sequence[Container], statuses: Sequence[ContainerStatus]
    ) -> list[ContainerStatus]:
        known = {one.name: one for one in statuses}
        return [
            known.get(one.name)
            or _ignored(one, container_status_of(previous, one.name), now, phase=status.phase)
            for one in containers
            if one.name in known or one.name in ignored
        ]

    regular = added(pod.spec.containers, status.container_statuses)
    return attrs.evolve(
        status,
        init_container_statuses=tuple(
            added(pod.spec.init_containers, status.init_container_statuses)
        ),
        container_statuses=tuple(sorted(regular, key=lambda one: one.name)),
    )


def _ignored(
    container: Container, previous: ContainerStatus | None, now: datetime, phase: str = RUNNING
) -> ContainerStatus:
    started_at = now
    if previous is not None and previous.state.running is not None:
        started_at = previous.state.running.started_at or now
    if phase not in (SUCCEEDED, FAILED):
        state = ContainerState(running=ContainerStateRunning(started_at=started_at))
        return ContainerStatus(
            name=container.name, image=container.image, state=state, ready=True, started=True
        )
    if previous is not None and previous.state.terminated:
        return previous
    end = ContainerStateTerminated(
        exit_code=0, reason="Completed", started_at=started_at, finished_at=now
    )
    return ContainerStatus(
        name=container.name,
        image=container.image,
        state=ContainerState(terminated=end),
        started=False,
    )


def _ephemeral(pod: Pod, previous: PodStatus, now: datetime) -> tuple[ContainerStatus, ...]:
    """An end at once for each container added for debugging, so that nobody waits for it."""
    known = {one.name: one for one in previous.ephemeral_container_statuses}
    return tuple(
        known.get(container.name)
        or ContainerStatus(
            name=container.name,
            image=container.image,
            state=ContainerState(
                terminated=ContainerStateTerminated(
                    exit_code=128,
                    reason="StartError",
                    message=_NO_EPHEMERAL_CONTAINERS,
                    started_at=now,
                    finished_at=now,
                )
            ),
        )
        for container in pod.spec.ephemeral_containers
    )


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

    if not init or initialized(pod, init, regular):
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

"""A Pod's phase and its containers' restarts, by kubelet's rules (``getPhase``)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import attrs

from kraftlet_trio.kubernetes.pod import Container, ContainerStatus, Pod, PodStatus
from kraftlet_trio.mapping.container_status import container_status_of, last_end

PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"


def is_sidecar(container: Container) -> bool:
    """Of an init container: whether it runs beside the others instead of before them."""
    return container.restart_policy == "Always"


def sidecars(pod: Pod) -> list[str]:
    """Names of the restartable init containers, in the order in which they start."""
    return [one.name for one in pod.spec.init_containers if is_sidecar(one)]


def without(pod: Pod, ignored: Collection[str]) -> Pod:
    """*pod* with only those containers that its state depends on."""
    if not ignored:
        return pod

    def kept(containers: Iterable[Container]) -> tuple[Container, ...]:
        return tuple(one for one in containers if one.name not in ignored)

    spec = attrs.evolve(
        pod.spec,
        init_containers=kept(pod.spec.init_containers),
        containers=kept(pod.spec.containers) or pod.spec.containers,
    )
    return attrs.evolve(pod, spec=spec)


def restartable(pod: Pod, container: Container, exit_code: int) -> bool:
    """Whether the container runs again after this end.

    Its ``restartPolicyRules`` go before its own ``restartPolicy``, and that before the Pod's.
    """
    for rule in container.restart_policy_rules:
        codes = rule.exit_codes
        if codes is not None and (exit_code in codes.values) == (codes.operator == "In"):
            return True
    match container.restart_policy or pod.spec.restart_policy:
        case "Never":
            return False
        case "OnFailure":
            return exit_code != 0
        case _:
            # For an init container the Pod's Always means OnFailure: one success is all it is for.
            once = not container.restart_policy and container in pod.spec.init_containers
            return exit_code != 0 or not once


def is_over(pod: Pod, status: PodStatus, *, ignored: Collection[str] = ()) -> bool:
    """Whether nothing of the Pod is to run again. Its sidecars may still be running."""
    tended = without(pod, ignored)

    def statuses_of(containers: Sequence[Container]) -> tuple[ContainerStatus, ...]:
        return tuple(
            container_status_of(status, one.name) or ContainerStatus(name=one.name)
            for one in containers
        )

    init = statuses_of(tended.spec.init_containers)
    regular = statuses_of(tended.spec.containers)
    return phase(tended, init, regular, stopped_for_good=False) in (SUCCEEDED, FAILED)


def have_run(regular: Sequence[ContainerStatus]) -> bool:
    return any(status.state.running or last_end(status) for status in regular)


def initialized(
    pod: Pod, init: Sequence[ContainerStatus], regular: Sequence[ContainerStatus]
) -> bool:
    return have_run(regular) or not incomplete(pod, init)


def incomplete(pod: Pod, init: Sequence[ContainerStatus]) -> list[str]:
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


def phase(
    pod: Pod,
    init: Sequence[ContainerStatus],
    regular: Sequence[ContainerStatus],
    *,
    stopped_for_good: bool,
) -> str:
    """The phase that follows from the statuses of all containers, *init* in the spec's order.

    *stopped_for_good*: nothing of the Pod runs, nor will.
    """
    pending = False
    begun = have_run(regular)
    for container, status in zip(pod.spec.init_containers, init, strict=True):
        end = last_end(status)
        if is_sidecar(container):
            pending |= end is None and not (
                status.state.running and (status.started is not False or begun)
            )
        elif end is None:
            pending = True
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
    told = [status.state.terminated for status in regular]
    return SUCCEEDED if all(end and end.exit_code == 0 for end in told) else FAILED

"""A small model of what a kubelet says of a Pod, given the statuses of its containers.

Written from kubelet's source, not from ours: ``getPhase`` of kubelet_pods.go, ``TerminatePod`` of
status_manager.go, the ``Generate…Condition`` functions of status/generate.go, and
``ContainerShouldRestart`` of the API helpers.
"""

from __future__ import annotations

from kraftlet_trio.kubernetes.pod import Container, Pod, PodStatus

TERMINAL = ("Succeeded", "Failed")


def container_should_restart(pod: Pod, container: Container, exit_code: int, *, init: bool) -> bool:
    for rule in container.restart_policy_rules:
        matches = exit_code in rule.exit_codes.values
        if rule.exit_codes.operator == "NotIn":
            matches = not matches
        if matches:
            return True
    policy = container.restart_policy or pod.spec.restart_policy
    if policy == "Always" and init and not container.restart_policy:
        policy = "OnFailure"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def any_regular_container_started(status: PodStatus) -> bool:
    return any(
        one.state.running or one.state.terminated or one.last_state.terminated
        for one in status.container_statuses
    )


def phase(pod: Pod, status: PodStatus, *, stopped_for_good: bool) -> str:
    statuses = {one.name: one for one in status.container_statuses}
    init_statuses = {one.name: one for one in status.init_container_statuses}
    started = any_regular_container_started(status)
    fatal_init = pending_init = pending_sidecars = 0
    running = waiting = stopped = succeeded = restarting = unknown = 0

    for container in pod.spec.init_containers:
        one = init_statuses.get(container.name)
        if container.restart_policy == "Always":
            if one is None:
                unknown += 1
            elif one.state.running:
                running += 1
                pending_sidecars += not one.started
            elif one.state.waiting and not one.last_state.terminated:
                pending_sidecars += 1
                waiting += 1
            continue
        end = one and (one.state.terminated or (one.state.waiting and one.last_state.terminated))
        if not end:
            pending_init += 1
        elif end.exit_code and not container_should_restart(
            pod, container, end.exit_code, init=True
        ):
            fatal_init += 1

    for container in pod.spec.containers:
        one = statuses.get(container.name)
        if one is None:
            unknown += 1
        elif one.state.running:
            running += 1
        elif one.state.terminated:
            end = one.state.terminated
            stopped += 1
            succeeded += end.exit_code == 0
            restarting += container_should_restart(pod, container, end.exit_code, init=False)
        elif one.last_state.terminated:
            end = one.last_state.terminated
            stopped += 1
            restarting += container_should_restart(pod, container, end.exit_code, init=False)
        else:
            waiting += 1

    if fatal_init:
        return "Failed"
    if pending_init or (pending_sidecars and not started) or waiting:
        reached = "Pending"
    elif running and not unknown:
        reached = "Running"
    elif stopped and not unknown:
        ended = "Succeeded" if stopped == succeeded else "Failed"
        reached = "Running" if restarting and not stopped_for_good else ended
    else:
        reached = "Pending"
    return "Failed" if stopped_for_good and reached not in TERMINAL else reached


def conditions(pod: Pod, status: PodStatus) -> dict[str, tuple[str, str, str]]:
    """Status, reason and message of each condition, for a Pod all of whose containers have one."""
    contained = _containers_ready(pod, status)
    return {
        "Initialized": _initialized(pod, status),
        "ContainersReady": contained,
        "Ready": _ready(pod, contained),
        "PodScheduled": ("True", "", ""),
    }


def _initialized(pod: Pod, status: PodStatus) -> tuple[str, str, str]:
    statuses = {one.name: one for one in status.init_container_statuses}
    incomplete = [
        container.name
        for container in pod.spec.init_containers
        if not (
            statuses[container.name].started
            if container.restart_policy == "Always"
            else statuses[container.name].ready
        )
    ]
    if status.phase == "Succeeded":
        return "True", "PodCompleted", ""
    if any_regular_container_started(status) or not incomplete:
        return "True", "", ""
    names = " ".join(incomplete)
    return (
        "False",
        "ContainersNotInitialized",
        f"containers with incomplete status: [{names}]",
    )


def _containers_ready(pod: Pod, status: PodStatus) -> tuple[str, str, str]:
    statuses = {
        one.name: one for one in (*status.init_container_statuses, *status.container_statuses)
    }
    watched = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
    unready = [one.name for one in (*watched, *pod.spec.containers) if not statuses[one.name].ready]
    if status.phase == "Succeeded":
        return "False", "PodCompleted", ""
    if status.phase == "Failed":
        return "False", "PodFailed", ""
    if unready:
        names = " ".join(unready)
        return "False", "ContainersNotReady", f"containers with unready status: [{names}]"
    return "True", "", ""


def _ready(pod: Pod, contained: tuple[str, str, str]) -> tuple[str, str, str]:
    if contained[0] != "True":
        return contained
    foreign = {one.type: one.status for one in pod.status.conditions}
    unready = []
    for gate in pod.spec.readiness_gates:
        if gate.condition_type not in foreign:
            unready.append(
                f'corresponding condition of pod readiness gate "{gate.condition_type}" '
                "does not exist."
            )
        elif foreign[gate.condition_type] != "True":
            unready.append(
                f'the status of pod readiness gate "{gate.condition_type}" is not "True", '
                f"but {foreign[gate.condition_type]}"
            )
    if unready:
        return "False", "ReadinessGatesNotReady", ", ".join(unready)
    return "True", "", ""

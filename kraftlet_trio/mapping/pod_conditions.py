"""A Pod's conditions from its containers' statuses, by kubelet's rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from kraftlet_trio.kubernetes.objects import Condition
from kraftlet_trio.kubernetes.pod import Pod, PodStatus
from kraftlet_trio.mapping.container_status import Held
from kraftlet_trio.mapping.pod_phase import (
    FAILED,
    SUCCEEDED,
    incomplete,
    initialized,
    is_sidecar,
)

RESIZE_CONDITIONS = ("PodResizePending", "PodResizeInProgress")
"""Present only while a resize is under way."""


@attrs.frozen
class _Verdict:
    status: str
    reason: str = ""
    message: str = ""


def conditions(
    pod: Pod, status: PodStatus, previous: PodStatus, held: Mapping[str, Held], now: datetime
) -> tuple[Condition, ...]:
    """Those that a node writes, after *previous*. Foreign ones are not among them."""
    ready, contained = _ready(pod, status)
    sandboxed = bool(status.pod_ip) and status.phase not in (SUCCEEDED, FAILED)
    verdicts = {
        **_resize(held),
        "PodReadyToStartContainers": (
            _Verdict("True") if sandboxed else _Verdict("False", "PodSandboxNotReady")
        ),
        "Initialized": _initialized(pod, status),
        "Ready": ready,
        "ContainersReady": contained,
        "PodScheduled": _Verdict("True"),
    }
    before = {condition.type: condition for condition in previous.conditions}
    return tuple(
        Condition(
            type=kind,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message,
            last_transition_time=(
                before[kind].last_transition_time
                if kind in before and before[kind].status == verdict.status
                else now
            ),
            observed_generation=pod.metadata.generation,
        )
        for kind, verdict in verdicts.items()
    )


def _initialized(pod: Pod, status: PodStatus) -> _Verdict:
    if status.phase == SUCCEEDED:
        return _Verdict("True", "PodCompleted")
    init, regular = status.init_container_statuses, status.container_statuses
    if initialized(pod, init, regular):
        return _Verdict("True")
    names = " ".join(incomplete(pod, init))
    return _Verdict(
        "False", "ContainersNotInitialized", f"containers with incomplete status: [{names}]"
    )


def _ready(pod: Pod, status: PodStatus) -> tuple[_Verdict, _Verdict]:
    """Of the Pod, and of its containers alone."""
    contained = _containers_ready(pod, status)
    if contained.status != "True":
        return contained, contained
    present = {condition.type: condition.status for condition in pod.status.conditions}
    sentences = []
    for gate in pod.spec.readiness_gates:
        kind = gate.condition_type
        if kind not in present:
            sentences.append(
                f'corresponding condition of pod readiness gate "{kind}" does not exist.'
            )
        elif present[kind] != "True":
            sentences.append(
                f'the status of pod readiness gate "{kind}" is not "True", but {present[kind]}'
            )
    if sentences:
        return _Verdict("False", "ReadinessGatesNotReady", ", ".join(sentences)), contained
    return contained, contained


def _containers_ready(pod: Pod, status: PodStatus) -> _Verdict:
    match status.phase:
        case "Succeeded":
            return _Verdict("False", "PodCompleted")
        case "Failed":
            return _Verdict("False", "PodFailed")
    statuses = {
        one.name: one for one in (*status.init_container_statuses, *status.container_statuses)
    }
    watched = (*filter(is_sidecar, pod.spec.init_containers), *pod.spec.containers)
    unready = [one.name for one in watched if not statuses[one.name].ready]
    if unready:
        names = " ".join(unready)
        return _Verdict("False", "ContainersNotReady", f"containers with unready status: [{names}]")
    return _Verdict("True")


def _resize(held: Mapping[str, Held]) -> dict[str, _Verdict]:
    """Whether new resources are on their way to a container, or cannot be given."""
    resizing = [one for one in held.values() if one.resizing]
    for one in resizing:
        if one.update_trouble is not None:
            trouble = one.update_trouble
            return {"PodResizePending": _Verdict("True", trouble.reason, trouble.message)}
    return {"PodResizeInProgress": _Verdict("True")} if resizing else {}

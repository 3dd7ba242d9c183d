"""What ``kubectl get pods`` prints. Source: the printers of the API server (printPod)."""

from __future__ import annotations

from datetime import datetime

from kraftlet_trio.simulators.kubernetes.conditions import condition_of
from kraftlet_trio.simulators.kubernetes.durations import age
from kraftlet_trio.simulators.kubernetes.resources import Json
from kraftlet_trio.simulators.kubernetes.tables import NAME, Column, age_column

_NONE = "<none>"


def _sidecars(pod: Json) -> set[str]:
    return {
        container["name"]
        for container in pod["spec"].get("initContainers", ())
        if container.get("restartPolicy") == "Always"
    }


def _statuses(pod: Json, field: str) -> list[Json]:
    statuses: list[Json] = pod.get("status", {}).get(field) or []
    return statuses


def _lasting_statuses(pod: Json) -> list[Json]:
    """Of all that should be running while the Pod is: containers and sidecars."""
    sidecars = _sidecars(pod)
    started = [one for one in _statuses(pod, "initContainerStatuses") if one["name"] in sidecars]
    return started + _statuses(pod, "containerStatuses")


def _ready(pod: Json, _: datetime) -> str:
    total = len(pod["spec"]["containers"]) + len(_sidecars(pod))
    ready = sum(
        bool(status.get("ready")) and "running" in status.get("state", {})
        for status in _lasting_statuses(pod)
    )
    return f"{ready}/{total}"


def _restarts(pod: Json, now: datetime) -> str:
    statuses = _lasting_statuses(pod)
    if not _is_initialized(pod):
        statuses = _statuses(pod, "initContainerStatuses")
    count = sum(status.get("restartCount", 0) for status in statuses)
    ends = [
        status.get("lastState", {}).get("terminated", {}).get("finishedAt") for status in statuses
    ]
    latest = max(filter(None, ends), default=None)
    return f"{count} ({age(latest, now)} ago)" if count and latest else str(count)


def _is_initialized(pod: Json) -> bool:
    return condition_of(pod.get("status", {}), "Initialized").get("status") == "True" or not (
        pod["spec"].get("initContainers")
    )


def pod_status(pod: Json, _: datetime) -> str:
    """The STATUS column: of everything wrong, what shows first."""
    status = pod.get("status", {})
    reason: str = status.get("reason") or status.get("phase", "Unknown")
    if condition_of(status, "PodScheduled").get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    initializing = _initializing_reason(pod)
    if initializing:
        reason = initializing
    if not initializing or _is_initialized(pod):
        reason = _containers_reason(pod, reason)
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return reason


def _initializing_reason(pod: Json) -> str:
    sidecars, total = _sidecars(pod), len(pod["spec"].get("initContainers", ()))
    for index, status in enumerate(_statuses(pod, "initContainerStatuses")):
        state = status.get("state", {})
        terminated, waiting = state.get("terminated"), state.get("waiting", {})
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if status["name"] in sidecars and status.get("started"):
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}"
        if waiting.get("reason", "PodInitializing") != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return ""


def _ended(terminated: Json) -> str:
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _containers_reason(pod: Json, reason: str) -> str:
    running = False
    for status in reversed(_statuses(pod, "containerStatuses")):
        state = status.get("state", {})
        if waiting := state.get("waiting", {}).get("reason"):
            reason = waiting
        elif "terminated" in state:
            reason = _ended(state["terminated"])
        elif status.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        ready = condition_of(pod["status"], "Ready").get("status") == "True"
        reason = "Running" if ready else "NotReady"
    return reason


def _pod_ip(pod: Json, _: datetime) -> str:
    return pod.get("status", {}).get("podIP") or _NONE


def _node(pod: Json, _: datetime) -> str:
    return pod["spec"].get("nodeName") or _NONE


def _nominated_node(pod: Json, _: datetime) -> str:
    return pod.get("status", {}).get("nominatedNodeName") or _NONE


def _readiness_gates(pod: Json, _: datetime) -> str:
    gates = pod["spec"].get("readinessGates", [])
    if not gates:
        return _NONE
    status = pod.get("status", {})
    open_ = sum(
        condition_of(status, gate["conditionType"]).get("status") == "True" for gate in gates
    )
    return f"{open_}/{len(gates)}"


POD_COLUMNS = (
    NAME,
    Column("Ready", _ready),
    Column("Status", pod_status),
    Column("Restarts", _restarts),
    age_column(),
    Column("IP", _pod_ip, wide=True),
    Column("Node", _node, wide=True),
    Column("Nominated Node", _nominated_node, wide=True),
    Column("Readiness Gates", _readiness_gates, wide=True),
)

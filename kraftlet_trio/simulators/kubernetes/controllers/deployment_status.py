"""A Deployment's status: counts of its ReplicaSets, and the two conditions rollouts are told by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kraftlet_trio.clock import utc_now
from kraftlet_trio.kubernetes.serialization import timestamp
from kraftlet_trio.simulators.kubernetes.conditions import condition_of, set_condition
from kraftlet_trio.simulators.kubernetes.controllers.rollout import limits_of
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import DEPLOYMENTS, Json
from kraftlet_trio.simulators.kubernetes.storage import Stored

_COUNTS = ("updatedReplicas", "readyReplicas", "availableReplicas")


def write_status(
    registry: Registry,
    deployment: Stored,
    sets: Sequence[Stored],
    new: Stored | None,
    *,
    created: bool,
) -> float | None:
    """Seconds until the rollout is late, unless it is done. *created*: *new* is so just now."""
    now, old_status = utc_now(), deployment.value.get("status", {})
    # Only what the sets of now add up to; conditions are carried on.
    status: Json = _counts(deployment, sets, new)
    conditions = [dict(condition) for condition in old_status.get("conditions", ())]
    status["conditions"] = conditions
    set_condition(status, _availability(deployment, status, now), now)
    progress = _progress(deployment, old_status, status, new, created=created, now=now)
    if progress:
        set_condition(status, progress, now)
    registry.update(
        DEPLOYMENTS,
        *deployment.key,
        lambda value: {**value, "status": status},
        subresource="status",
    )
    return _seconds_until_late(deployment, condition_of(status, "Progressing"), now)


def _counts(deployment: Stored, sets: Sequence[Stored], new: Stored | None) -> Json:
    statuses = [one.value.get("status", {}) for one in sets]
    wanted = sum(one.value["spec"]["replicas"] for one in sets)
    counts = {
        "observedGeneration": deployment.value["metadata"]["generation"],
        "replicas": sum(status.get("replicas", 0) for status in statuses),
        "updatedReplicas": sum(
            status.get("replicas", 0)
            for one, status in zip(sets, statuses, strict=True)
            if new is not None and one.uid == new.uid
        ),
        "readyReplicas": sum(status.get("readyReplicas", 0) for status in statuses),
        "availableReplicas": sum(status.get("availableReplicas", 0) for status in statuses),
    }
    counts["unavailableReplicas"] = max(wanted - counts["availableReplicas"], 0)
    return {field: count for field, count in counts.items() if count}


def _availability(deployment: Stored, status: Json, now: datetime) -> Json:
    spec = deployment.value["spec"]
    least = spec["replicas"]
    if spec["strategy"]["type"] == "RollingUpdate":
        least -= limits_of(spec).unavailable
    enough = status.get("availableReplicas", 0) >= least
    condition = {
        "type": "Available",
        "status": "True" if enough else "False",
        "reason": f"MinimumReplicas{'Available' if enough else 'Unavailable'}",
        "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
    }
    return _dated(condition, condition_of(status, "Available"), now)


def _progress(
    deployment: Stored,
    old: Json,
    status: Json,
    new: Stored | None,
    *,
    created: bool,
    now: datetime,
) -> Json | None:
    """None where the condition stays as it is."""
    before = condition_of(old, "Progressing")
    subject = f'ReplicaSet "{new.name}"' if new else f'Deployment "{deployment.name}"'
    if _is_complete(deployment, status):
        reason, message = "NewReplicaSetAvailable", f"{subject} has successfully progressed."
    elif created and new is not None:
        reason, message = "NewReplicaSetCreated", f'Created new replica set "{new.name}"'
    elif not before or _has_progressed(old, status):
        reason, message = "ReplicaSetUpdated", f"{subject} is progressing."
        before = {}
    else:
        left = _seconds_until_late(deployment, before, now)
        # None: done already, and only degraded since; or known to be late.
        if left is None or left > 0:
            return None
        late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        return _dated({**late, "message": f"{subject} has timed out progressing."}, before, now)
    condition = {"type": "Progressing", "status": "True", "reason": reason, "message": message}
    return _dated(condition, before, now)


def _dated(condition: Json, before: Json, now: datetime) -> Json:
    """With the time of its last change of status or reason."""
    same = all(before.get(field) == condition[field] for field in ("status", "reason"))
    updated = before.get("lastUpdateTime") if same else None
    return {**condition, "lastUpdateTime": updated or timestamp(now)}


def _is_complete(deployment: Stored, status: Json) -> bool:
    replicas = deployment.value["spec"]["replicas"]
    return all(
        status.get(field, 0) == replicas
        for field in ("updatedReplicas", "replicas", "availableReplicas")
    )


def _has_progressed(old: Json, status: Json) -> bool:
    def stale(counts: Json) -> int:
        left: int = counts.get("replicas", 0) - counts.get("updatedReplicas", 0)
        return left

    return stale(status) < stale(old) or any(
        status.get(field, 0) > old.get(field, 0) for field in _COUNTS
    )


def _seconds_until_late(deployment: Stored, progressing: Json, now: datetime) -> float | None:
    """None when the rollout is over, one way or the other."""
    done = progressing.get("reason") == "NewReplicaSetAvailable"
    if not progressing or done or progressing["status"] != "True":
        return None
    since = datetime.fromisoformat(progressing["lastUpdateTime"])
    deadline: int = deployment.value["spec"]["progressDeadlineSeconds"]
    return deadline - (now - since).total_seconds()

"""When a claim asks for more than its volume has, and how its status tells of the way there.

The conditions are those of Kubernetes' external resizer and kubelet: ``Resizing`` while the
volume is being enlarged, ``FileSystemResizePending`` while an instance that uses it has yet to
start again, for a guest learns a volume's size, and grows the file system, when it mounts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.objects import Condition, PersistentVolume, PersistentVolumeClaim
from kraftlet_trio.kubernetes.serialization import timestamp
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.mapping.quantities import QuantityError, quantity, volume_mib

RESIZING = "Resizing"
FILE_SYSTEM_RESIZE_PENDING = "FileSystemResizePending"


def asks_for_more(claim: PersistentVolumeClaim) -> bool:
    """Whether a bound claim asks for more than it is known to have.

    The API server lets a claim grow only where its StorageClass allows it.
    """
    return claim.status.phase == "Bound" and _is_more(
        claim.spec.resources.requests, claim.status.capacity
    )


def is_behind(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the PersistentVolume tells of less than the claim asks for."""
    return _is_more(claim.spec.resources.requests, volume.spec.capacity)


def wanted_mb(claim: PersistentVolumeClaim) -> int:
    """MiB that *claim* asks for. Raises ``ConfigurationProblem``."""
    try:
        return volume_mib(claim.spec.resources.requests.get("storage", ""))
    except QuantityError as error:
        raise ConfigurationProblem("VolumeResizeFailed", str(error)) from error


def condition_of(claim: PersistentVolumeClaim, kind: str) -> Condition | None:
    return next(
        (one for one in claim.status.conditions if one.type == kind and one.status == "True"), None
    )


def have_started_since(instances: Iterable[Instance], moment: datetime | None) -> bool:
    """Whether each of the instances mounted its volumes after *moment*."""
    if moment is None:
        return False
    after = moment + timedelta(seconds=1)  # Kubernetes' times are rounded down
    return all(
        instance.started_at is not None and instance.started_at >= after for instance in instances
    )


def resizing_status(now: datetime) -> dict[str, Any]:
    """Strategic merge patch of a claim's status: the volume is being enlarged."""
    return {"conditions": [_condition(RESIZING, now, "")]}


def pending_status(now: datetime) -> dict[str, Any]:
    """Strategic merge patch of a claim's status: the file system has yet to follow."""
    message = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
    return {
        "conditions": [
            {"type": RESIZING, "$patch": "delete"},
            _condition(FILE_SYSTEM_RESIZE_PENDING, now, message),
        ]
    }


def resized_status(claim: PersistentVolumeClaim) -> dict[str, Any]:
    """Strategic merge patch of a claim's status: it has what it asks for."""
    return {
        "capacity": {"storage": claim.spec.resources.requests["storage"]},
        "conditions": [
            {"type": RESIZING, "$patch": "delete"},
            {"type": FILE_SYSTEM_RESIZE_PENDING, "$patch": "delete"},
        ],
    }


def _condition(kind: str, now: datetime, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True",
        "lastTransitionTime": timestamp(now),
        "message": message,
    }


def _is_more(asked: Mapping[str, str], given: Mapping[str, str]) -> bool:
    try:
        return quantity(asked["storage"]) > quantity(given["storage"])
    except (KeyError, QuantityError):
        return False  # nothing is known yet, or no API server would let it through

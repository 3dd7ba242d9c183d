"""What a DELETE makes of an object: marked, shortened, kept for finalizers, or gone.

Pure. Follows the order of apiserver's generic registry (``BeforeDelete`` and the store's
``Delete``) with the Pod's own rule of grace.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import attrs

from kraftlet_trio.kubernetes.serialization import timestamp
from kraftlet_trio.simulators.kubernetes.resources import NAMESPACES, PODS, Json, Resource

Propagation = Literal["Background", "Foreground", "Orphan"]

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_PROPAGATION_FINALIZERS: dict[str, str] = {"Orphan": ORPHAN, "Foreground": FOREGROUND}


@attrs.frozen(kw_only=True)
class DeleteOptions:
    grace_seconds: int | None = None
    """As asked for; a negative one counts as 1."""
    uid: str | None = None
    resource_version: str | None = None
    propagation: Propagation | None = None


@attrs.frozen
class Outcome:
    """First the ``marked`` object is stored, if any; then it goes, if it is ``gone``."""

    marked: Json | None
    gone: bool


def decide_deletion(
    resource: Resource, value: Json, options: DeleteOptions, now: datetime
) -> Outcome:
    """*value* is a copy that may be changed, and is the one handed back."""
    metadata = value["metadata"]
    grace = options.grace_seconds
    if grace is not None and grace < 0:
        grace = 1
    if resource is PODS and "deletionTimestamp" in metadata:
        left: int = metadata.get("deletionGracePeriodSeconds", 0)
        if left:
            if grace is None or grace >= left:
                return Outcome(None, gone=False)
            # The grace period always counts from the first request.
            asked_at = datetime.fromisoformat(metadata["deletionTimestamp"]) - timedelta(
                seconds=left
            )
            metadata["deletionTimestamp"] = timestamp(asked_at + timedelta(seconds=grace))
            metadata["deletionGracePeriodSeconds"] = grace
            return _kept_or_gone(value, options, grace)
    elif resource is PODS:
        grace = _pod_grace(value, grace)
        metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        _count_generation(metadata)
        return _kept_or_gone(value, options, grace)
    _set_propagation(metadata, options)
    if not metadata.get("finalizers") and not _namespace_in_use(resource, value):
        return Outcome(None, gone=True)
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = timestamp(now)
        _count_generation(metadata)
    if resource is NAMESPACES:
        value["status"] = {**value.get("status", {}), "phase": "Terminating"}
    else:
        metadata["deletionGracePeriodSeconds"] = 0
    return Outcome(value, gone=False)


def is_due(resource: Resource, value: Json) -> bool:
    """Whether an update has removed the last thing that kept a deleted object."""
    metadata = value["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not _namespace_in_use(resource, value)
    )


def _pod_grace(pod: Json, asked: int | None) -> int:
    if not pod["spec"].get("nodeName"):
        return 0
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    grace: int = pod["spec"].get("terminationGracePeriodSeconds", 0) if asked is None else asked
    return 1 if grace < 0 else grace


def _kept_or_gone(value: Json, options: DeleteOptions, grace: int) -> Outcome:
    _set_propagation(value["metadata"], options)
    return Outcome(value, gone=grace == 0 and not value["metadata"].get("finalizers"))


def _set_propagation(metadata: Json, options: DeleteOptions) -> None:
    """The policy is remembered as a finalizer, which the garbage collector works off."""
    if options.propagation is None:
        return
    finalizers = [
        finalizer
        for finalizer in metadata.get("finalizers", ())
        if finalizer not in (ORPHAN, FOREGROUND)
    ]
    if wanted := _PROPAGATION_FINALIZERS.get(options.propagation):
        finalizers.append(wanted)
    metadata.pop("finalizers", None)
    if finalizers:
        metadata["finalizers"] = finalizers


def _namespace_in_use(resource: Resource, value: Json) -> bool:
    return resource is NAMESPACES and bool(value.get("spec", {}).get("finalizers"))


def _count_generation(metadata: Json) -> None:
    if metadata.get("generation"):
        metadata["generation"] += 1

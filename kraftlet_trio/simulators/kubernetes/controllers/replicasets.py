"""ReplicaSets keep as many Pods as they ask for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import attrs

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.kubernetes.conditions import condition_of, is_true
from kraftlet_trio.simulators.kubernetes.controllers.loop import Controller
from kraftlet_trio.simulators.kubernetes.events import emit
from kraftlet_trio.simulators.kubernetes.owners import controller_of, controller_reference
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import PODS, REPLICA_SETS, Json
from kraftlet_trio.simulators.kubernetes.storage import Change, Key, Stored

_COMPONENT = "replicaset-controller"
_BURST = 500
"""Pods made or deleted at once. Source: the replica set controller's BurstReplicas."""
_GATHER_SECONDS = 0.02


def replica_set_controller(registry: Registry) -> Controller[Key]:
    sets = _ReplicaSets(registry)
    return Controller(
        name="replicasets",
        triggers={REPLICA_SETS: lambda change: [change.current.key], PODS: sets.owner},
        reconcile=sets.reconcile,
        # A set of a thousand Pods that start together is counted some times, not a thousand.
        gather_seconds=_GATHER_SECONDS,
    )


def is_active(pod: Stored) -> bool:
    """Whether the Pod counts as a replica: neither ended nor about to."""
    return not pod.deleting and pod.value["status"].get("phase") not in ("Succeeded", "Failed")


@attrs.frozen
class _ReplicaSets:
    registry: Registry

    def owner(self, change: Change) -> Iterator[Key]:
        if change.deleted or _counts_otherwise(change):
            owner = controller_of(change.current, REPLICA_SETS, self.registry.storage)
            if owner is not None:
                yield owner.key

    def reconcile(self, key: Key) -> float | None:
        """One step: Pods made or deleted are changes, and lead back here to be counted."""
        owner = self.registry.storage.get(REPLICA_SETS, *key)
        if owner is None:
            return None
        pods = self.registry.storage.dependents(owner.uid)
        active = [pod for pod in pods if pod.resource is PODS and is_active(pod)]
        missing = owner.value["spec"]["replicas"] - len(active)
        if owner.deleting or not missing:
            return self._write_status(owner, active)
        if missing > 0:
            self._create_pods(owner, min(missing, _BURST))
        else:
            self._delete_pods(owner, sorted(active, key=_worth)[: min(-missing, _BURST)])
        return None

    def _create_pods(self, owner: Stored, count: int) -> None:
        template = owner.value["spec"]["template"]
        metadata = template.get("metadata", {})
        for _ in range(count):
            pod: Json = {
                "metadata": {
                    "generateName": f"{owner.name}-",
                    "labels": metadata.get("labels", {}),
                    "annotations": metadata.get("annotations", {}),
                    "ownerReferences": [controller_reference(owner)],
                },
                "spec": template["spec"],
            }
            created = self.registry.create(PODS, pod, namespace=owner.namespace)
            message = f"Created pod: {created.name}"
            emit(self.registry, owner, _COMPONENT, "SuccessfulCreate", message)

    def _delete_pods(self, owner: Stored, pods: list[Stored]) -> None:
        for pod in pods:
            self.registry.delete(PODS, pod.namespace, pod.name)
            message = f"Deleted pod: {pod.name}"
            emit(self.registry, owner, _COMPONENT, "SuccessfulDelete", message)

    def _write_status(self, owner: Stored, active: list[Stored]) -> float | None:
        """Seconds until another Pod has been ready for long enough, if one is on the way."""
        spec, labels, now = owner.value["spec"], _template_labels(owner), utc_now()
        ready = [pod for pod in active if is_true(pod.value["status"], "Ready")]
        waits = [_seconds_until_available(pod, spec, now) for pod in ready]
        status = {
            "replicas": len(active),
            "fullyLabeledReplicas": sum(
                labels.items() <= pod.value["metadata"].get("labels", {}).items() for pod in active
            ),
            "readyReplicas": len(ready),
            "availableReplicas": sum(wait <= 0 for wait in waits),
            "observedGeneration": owner.value["metadata"]["generation"],
        }
        counted = {field: count for field, count in status.items() if count or field == "replicas"}
        self.registry.update(
            REPLICA_SETS,
            owner.namespace,
            owner.name,
            lambda value: {**value, "status": counted},
            subresource="status",
        )
        return min((wait for wait in waits if wait > 0), default=None)


def _counts_otherwise(change: Change) -> bool:
    """Whether it matters to a ReplicaSet; a Pod's assignment to a node, for one, does not."""
    if change.previous is None:
        return True
    before, after = change.previous, change.current
    return (
        is_active(before) != is_active(after)
        or condition_of(before.value["status"], "Ready")
        != condition_of(after.value["status"], "Ready")
        or before.value["metadata"].get("labels") != after.value["metadata"].get("labels")
    )


def _template_labels(owner: Stored) -> Json:
    labels: Json = owner.value["spec"]["template"].get("metadata", {}).get("labels", {})
    return labels


def _seconds_until_available(pod: Stored, spec: Json, now: datetime) -> float:
    needed: float = spec.get("minReadySeconds", 0)
    since = condition_of(pod.value["status"], "Ready").get("lastTransitionTime")
    if not needed or not since:
        return needed
    return needed - (now - datetime.fromisoformat(since)).total_seconds()


def _worth(pod: Stored) -> tuple[bool, bool, bool, float]:
    """Sorts what is missed least first: unassigned, not running, not ready, then the youngest."""
    status = pod.value["status"]
    created = datetime.fromisoformat(pod.value["metadata"]["creationTimestamp"])
    return (
        bool(pod.value["spec"].get("nodeName")),
        status.get("phase") == "Running",
        is_true(status, "Ready"),
        -created.timestamp(),
    )

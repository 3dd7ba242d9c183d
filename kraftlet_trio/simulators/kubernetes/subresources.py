"""``scale``, ``eviction`` and ``binding``: requests about an object that are no writes of it."""

from __future__ import annotations

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.kubernetes.conditions import set_condition
from kraftlet_trio.simulators.kubernetes.deletion import DeleteOptions
from kraftlet_trio.simulators.kubernetes.errors import bad_request, conflict
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import PODS, Json
from kraftlet_trio.simulators.kubernetes.selectors import selector_text
from kraftlet_trio.simulators.kubernetes.storage import Stored


def scale_of(workload: Json) -> Json:
    """The ``autoscaling/v1`` Scale of a Deployment or ReplicaSet."""
    metadata, spec = workload["metadata"], workload["spec"]
    fields = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in fields},
        "spec": {"replicas": spec["replicas"]},
        "status": {
            "replicas": workload.get("status", {}).get("replicas", 0),
            "selector": selector_text(spec["selector"]),
        },
    }


def scaled(workload: Json, scale: Json) -> Json:
    """*workload* as *scale* asks for; its preconditions are handed on. Raises ``ApiError``."""
    replicas = scale.get("spec", {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request("Scale: spec.replicas must be a number, at least 0")
    workload["spec"]["replicas"] = replicas
    for field in ("uid", "resourceVersion"):
        if wanted := scale.get("metadata", {}).get(field):
            workload["metadata"][field] = wanted
    return workload


def bind(registry: Registry, namespace: str, name: str, node_name: str) -> Stored:
    """Assign a Pod to a node, once. Raises ``ApiError`` (409)."""

    def assign(pod: Json) -> Json:
        if assigned := pod["spec"].get("nodeName"):
            raise conflict(PODS, name, f'pod {name} is already assigned to node "{assigned}"')
        if "deletionTimestamp" in pod["metadata"]:
            why = f"pod {name} is being deleted, cannot be assigned to a host"
            raise conflict(PODS, name, why)
        pod["spec"]["nodeName"] = node_name
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
        set_condition(pod["status"], scheduled, utc_now())
        return pod

    return registry.update(PODS, namespace, name, assign, subresource="binding")


def evict(registry: Registry, namespace: str, name: str, options: DeleteOptions) -> None:
    """Delete a Pod in the name of the Eviction API; there are no disruption budgets here."""

    def mark(pod: Json) -> Json:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
        set_condition(pod["status"], condition, utc_now())
        return pod

    pod = registry.get(PODS, namespace, name)
    if pod.value["status"].get("phase") not in ("Succeeded", "Failed"):
        registry.update(PODS, namespace, name, mark, subresource="status")
    registry.delete(PODS, namespace, name, options)

"""Events that the cluster's own components leave on objects."""

from __future__ import annotations

from kraftlet_trio.clock import utc_now
from kraftlet_trio.kubernetes.serialization import timestamp
from kraftlet_trio.simulators.kubernetes.metadata import random_suffix
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import EVENTS, NAMESPACES
from kraftlet_trio.simulators.kubernetes.storage import Stored


def emit(
    registry: Registry,
    about: Stored,
    component: str,
    reason: str,
    message: str,
    *,
    warning: bool = False,
) -> None:
    """Record an Event; quietly none in a namespace that is going."""
    namespace = about.namespace or "default"
    home = registry.storage.get(NAMESPACES, "", namespace)
    if home is None or home.deleting:
        return
    now = timestamp(utc_now())
    reference = {
        "kind": about.resource.kind,
        "namespace": about.namespace,
        "name": about.name,
        "uid": about.uid,
        "apiVersion": about.resource.api_version,
        "resourceVersion": str(about.version),
    }
    registry.create(
        EVENTS,
        {
            "metadata": {"name": f"{about.name}.{random_suffix()}{random_suffix()}"},
            "involvedObject": reference,
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "source": {"component": component},
            "reportingComponent": component,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        },
        namespace=namespace,
    )

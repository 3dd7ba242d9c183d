"""What may change of a Pod that runs, by way of its subresources."""

from __future__ import annotations

from collections.abc import Iterable

from kraftlet_trio.simulators.kubernetes.errors import Cause, invalid
from kraftlet_trio.simulators.kubernetes.kinds.pod_defaults import default_pod_spec
from kraftlet_trio.simulators.kubernetes.kinds.pods import qos_class
from kraftlet_trio.simulators.kubernetes.kinds.rules import fixed
from kraftlet_trio.simulators.kubernetes.resources import PODS, Json

_RESIZABLE = ("cpu", "memory")


def update_resources(old: Json, new: Json) -> None:
    """``resize``: CPU and memory of containers, the QoS class kept. Raises ``ApiError``."""
    default_pod_spec(new["spec"])
    faults: list[Cause] = []
    if _without(old["spec"], "resources") != _without(new["spec"], "resources"):
        faults.append(fixed("spec", "only cpu and memory resources are mutable"))
    if qos_class(old["spec"]) != qos_class(new["spec"]):
        faults.append(fixed("spec", "Pod QOS Class may not change as a result of resizing"))
    statuses = {one["name"]: one for one in old["status"].get("containerStatuses", ())}
    for index, container in enumerate(new["spec"]["containers"]):
        field = f"spec.containers[{index}].resources"
        status = statuses.get(container["name"], {})
        if "running" in status.get("state", {}) and "resources" not in status:
            faults.append(fixed(field, "Pod running on node without support for resize"))
        for side in container.get("resources", {}).values():
            faults += [fixed(field, f"{name} is not mutable") for name in _foreign(side)]
    if faults:
        raise invalid(PODS, old["metadata"]["name"], *faults)


def add_ephemeral_containers(old: Json, new: Json) -> None:
    """``ephemeralcontainers``: containers for debugging are added, never changed or removed."""
    before = old["spec"].get("ephemeralContainers", [])
    after = new["spec"].get("ephemeralContainers", [])
    if [one for one in after if one in before] != before:
        why = "existing ephemeral containers may not be removed or changed"
        raise invalid(PODS, old["metadata"]["name"], fixed("spec.ephemeralContainers", why))
    for container in after:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", "IfNotPresent")
    new["spec"] = {**old["spec"], "ephemeralContainers": after}


def _without(spec: Json, field: str) -> Json:
    return {
        **spec,
        "containers": [
            {key: value for key, value in container.items() if key != field}
            for container in spec["containers"]
        ],
    }


def _foreign(resources: Iterable[str]) -> list[str]:
    return [name for name in resources if name not in _RESIZABLE]

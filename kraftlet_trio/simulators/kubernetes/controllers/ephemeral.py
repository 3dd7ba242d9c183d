"""Makes the claims of generic ephemeral volumes, which go with their Pods."""

from __future__ import annotations

from kraftlet_trio.simulators.kubernetes.controllers.loop import Controller
from kraftlet_trio.simulators.kubernetes.events import emit
from kraftlet_trio.simulators.kubernetes.owners import controller_of, controller_reference
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import PERSISTENT_VOLUME_CLAIMS, PODS, Json
from kraftlet_trio.simulators.kubernetes.storage import Key, Stored

_COMPONENT = "ephemeral_volume"


def ephemeral_controller(registry: Registry) -> Controller[Key]:
    def reconcile(key: Key) -> None:
        pod = registry.storage.get(PODS, *key)
        if pod is not None and not pod.deleting:
            for name, template in _templates(pod).items():
                _tend(registry, pod, name, template)

    return Controller(
        name="ephemeral volumes",
        triggers={PODS: lambda change: [] if change.deleted else [change.current.key]},
        reconcile=reconcile,
    )


def claims_of(pod: Stored) -> set[str]:
    """Names of the claims that *pod* refers to, those of its ephemeral volumes included."""
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod.value["spec"].get("volumes", ())
        if "persistentVolumeClaim" in volume
    } | _templates(pod).keys()


def _templates(pod: Stored) -> dict[str, Json]:
    """By the name of the claim."""
    return {
        f"{pod.name}-{volume['name']}": volume["ephemeral"]["volumeClaimTemplate"]
        for volume in pod.value["spec"].get("volumes", ())
        if "ephemeral" in volume
    }


def _tend(registry: Registry, pod: Stored, name: str, template: Json) -> None:
    present = registry.storage.get(PERSISTENT_VOLUME_CLAIMS, pod.namespace, name)
    if present is None:
        metadata = template.get("metadata", {})
        claim: Json = {
            "metadata": {
                "name": name,
                "labels": metadata.get("labels", {}),
                "annotations": metadata.get("annotations", {}),
                "ownerReferences": [controller_reference(pod)],
            },
            "spec": template["spec"],
        }
        registry.create(PERSISTENT_VOLUME_CLAIMS, claim, namespace=pod.namespace)
    elif controller_of(present, PODS, registry.storage) is not pod:
        message = f"PVC {pod.namespace}/{name} was not created for pod {pod.namespace}/{pod.name}"
        emit(registry, pod, _COMPONENT, "FailedMount", message, warning=True)

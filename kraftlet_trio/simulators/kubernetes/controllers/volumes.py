"""Claims and volumes find each other; both stay while they are in use."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import attrs

from kraftlet_trio.simulators.kubernetes.controllers.ephemeral import claims_of
from kraftlet_trio.simulators.kubernetes.controllers.loop import Controller
from kraftlet_trio.simulators.kubernetes.controllers.scheduling import SELECTED_NODE
from kraftlet_trio.simulators.kubernetes.kinds.volumes import CLAIM_PROTECTION, VOLUME_PROTECTION
from kraftlet_trio.simulators.kubernetes.quantities import amount
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    Json,
)
from kraftlet_trio.simulators.kubernetes.storage import Change, Key, Stored

VolumeKey = tuple[Literal["claim", "volume"], Key]

_BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
_BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
_PROVISIONERS = (
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
)


def volume_controller(registry: Registry) -> Controller[VolumeKey]:
    volumes = _Volumes(registry)
    return Controller(
        name="volumes",
        triggers={
            PERSISTENT_VOLUME_CLAIMS: volumes.of_claim,
            PERSISTENT_VOLUMES: volumes.of_volume,
            PODS: volumes.of_pod,
        },
        reconcile=volumes.reconcile,
    )


@attrs.frozen
class _Volumes:
    registry: Registry

    def of_claim(self, change: Change) -> Iterator[VolumeKey]:
        yield "claim", change.current.key
        for volume in self.registry.storage.objects(PERSISTENT_VOLUMES):
            if _claim_key(volume) == change.current.key:
                yield "volume", volume.key

    def of_volume(self, change: Change) -> Iterator[VolumeKey]:
        yield "volume", change.current.key
        if key := _claim_key(change.current):
            yield "claim", key
        elif change.previous is None:
            for claim in self.registry.storage.objects(PERSISTENT_VOLUME_CLAIMS):
                yield "claim", claim.key

    def of_pod(self, change: Change) -> Iterator[VolumeKey]:
        if change.deleted:
            for name in claims_of(change.current):
                yield "claim", (change.current.namespace, name)

    def reconcile(self, key: VolumeKey) -> float | None:
        match key:
            case "claim", place:
                claim = self.registry.storage.get(PERSISTENT_VOLUME_CLAIMS, *place)
                if claim is not None:
                    self._tend_claim(claim)
            case _, place:
                volume = self.registry.storage.get(PERSISTENT_VOLUMES, *place)
                if volume is not None:
                    self._tend_volume(volume)
        return None

    def _tend_claim(self, claim: Stored) -> None:
        if claim.deleting:
            if not self._in_use(claim):
                self._drop_finalizer(claim, CLAIM_PROTECTION)
            return
        name = claim.value["spec"].get("volumeName", "")
        volume = self.registry.storage.get(PERSISTENT_VOLUMES, "", name) if name else None
        bound = claim.value["status"].get("phase") == "Bound"
        if bound:
            if volume is None:
                self._set_phase(claim, "Lost")
            return
        volume = volume or self._volume_meant_for(claim)
        if volume is not None and not volume.deleting and _may_bind(volume, claim):
            self._bind(claim, volume)
        elif not name:
            self._ask_provisioner(claim)

    def _volume_meant_for(self, claim: Stored) -> Stored | None:
        """The one that is reserved for it, else the smallest that is free and will do."""
        volumes = self.registry.storage.objects(PERSISTENT_VOLUMES)
        may_be = [volume for volume in volumes if _may_bind(volume, claim)]
        for volume in may_be:
            if _claim_key(volume) == claim.key:
                return volume
        fitting = [volume for volume in may_be if not volume.deleting and _fits(volume, claim)]
        return min(fitting, key=lambda volume: _capacity(volume), default=None)

    def _bind(self, claim: Stored, volume: Stored) -> None:
        reference = {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "namespace": claim.namespace,
            "name": claim.name,
            "uid": claim.uid,
            "resourceVersion": str(claim.version),
        }
        if volume.value["spec"].get("claimRef", {}).get("uid") != claim.uid:

            def referring(value: Json) -> Json:
                value["spec"]["claimRef"] = reference
                return value

            self.registry.update(PERSISTENT_VOLUMES, *volume.key, referring)
        self._set_phase(volume, "Bound")
        spec = volume.value["spec"]

        def named(value: Json) -> Json:
            annotations = value["metadata"].setdefault("annotations", {})
            annotations[_BIND_COMPLETED] = "yes"
            if not value["spec"].get("volumeName"):
                annotations[_BOUND_BY_CONTROLLER] = "yes"
            value["spec"]["volumeName"] = volume.name
            return value

        def bound(value: Json) -> Json:
            value["status"] = {
                "phase": "Bound",
                "accessModes": spec["accessModes"],
                "capacity": spec["capacity"],
            }
            return value

        self.registry.update(PERSISTENT_VOLUME_CLAIMS, *claim.key, named)
        self.registry.update(PERSISTENT_VOLUME_CLAIMS, *claim.key, bound, subresource="status")

    def _ask_provisioner(self, claim: Stored) -> None:
        """The annotation by which external provisioners know that it is their turn."""
        name = claim.value["spec"].get("storageClassName", "")
        storage_class = self.registry.storage.get(STORAGE_CLASSES, "", name)
        if storage_class is None:
            return
        annotations = claim.value["metadata"].get("annotations", {})
        waits = storage_class.value["volumeBindingMode"] == "WaitForFirstConsumer"
        if waits and SELECTED_NODE not in annotations:
            return

        def asking(value: Json) -> Json:
            for key in _PROVISIONERS:
                provisioner = storage_class.value["provisioner"]
                value["metadata"].setdefault("annotations", {})[key] = provisioner
            return value

        self.registry.update(PERSISTENT_VOLUME_CLAIMS, *claim.key, asking)

    def _tend_volume(self, volume: Stored) -> None:
        reference = volume.value["spec"].get("claimRef")
        claim = None
        if reference:
            claim = self.registry.storage.get(
                PERSISTENT_VOLUME_CLAIMS, reference.get("namespace", ""), reference["name"]
            )
        if claim is not None and _may_bind(volume, claim):
            self._tend_claim(claim)
        elif reference and reference.get("uid"):
            self._set_phase(volume, "Released")
        else:
            self._set_phase(volume, "Available")
        volume = self.registry.get(PERSISTENT_VOLUMES, *volume.key)
        if volume.deleting and volume.value["status"].get("phase") != "Bound":
            self._drop_finalizer(volume, VOLUME_PROTECTION)

    def _in_use(self, claim: Stored) -> bool:
        """By a Pod that a node has seen, even one that has ended: it may still be mounted."""
        return any(
            claim.name in claims_of(pod)
            for pod in self.registry.storage.objects(PODS, claim.namespace)
            if pod.value["spec"].get("nodeName")
        )

    def _set_phase(self, stored: Stored, phase: str) -> None:
        self.registry.update(
            stored.resource,
            *stored.key,
            lambda value: {**value, "status": {**value.get("status", {}), "phase": phase}},
            subresource="status",
        )

    def _drop_finalizer(self, stored: Stored, finalizer: str) -> None:
        def freed(value: Json) -> Json:
            finalizers = value["metadata"].get("finalizers", [])
            value["metadata"]["finalizers"] = [one for one in finalizers if one != finalizer]
            return value

        self.registry.update(stored.resource, *stored.key, freed)


def _claim_key(volume: Stored) -> Key | None:
    reference = volume.value["spec"].get("claimRef")
    return (reference.get("namespace", ""), reference["name"]) if reference else None


def _capacity(volume: Stored) -> Fraction:
    return amount(volume.value["spec"]["capacity"]["storage"])


def _fits(volume: Stored, claim: Stored) -> bool:
    has, asks = volume.value["spec"], claim.value["spec"]
    return (
        _capacity(volume) >= amount(asks["resources"]["requests"]["storage"])
        and set(asks["accessModes"]) <= set(has["accessModes"])
        and asks["volumeMode"] == has["volumeMode"]
        and "selector" not in asks
    )


def _may_bind(volume: Stored, claim: Stored) -> bool:
    """Free, or reserved for this very claim, and of its class."""
    spec = volume.value["spec"]
    reference = spec.get("claimRef")
    reserved = reference is None or (
        _claim_key(volume) == claim.key and reference.get("uid", claim.uid) == claim.uid
    )
    return bool(
        reserved
        and spec.get("storageClassName", "") == claim.value["spec"].get("storageClassName", "")
        and claim.value["spec"].get("volumeName", volume.name) == volume.name
    )

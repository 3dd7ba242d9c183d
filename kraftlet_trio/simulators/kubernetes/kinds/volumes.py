"""Claims, volumes and storage classes: defaults, protection, what is immutable."""

from __future__ import annotations

from kraftlet_trio.simulators.kubernetes.errors import forbidden, invalid
from kraftlet_trio.simulators.kubernetes.kinds.pod_defaults import canonical_quantities
from kraftlet_trio.simulators.kubernetes.kinds.rules import KindRules, fixed, required
from kraftlet_trio.simulators.kubernetes.quantities import amount
from kraftlet_trio.simulators.kubernetes.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    Json,
)
from kraftlet_trio.simulators.kubernetes.storage import Storage

CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_FREE_VOLUME_FIELDS = (
    "capacity",
    "accessModes",
    "persistentVolumeReclaimPolicy",
    "claimRef",
    "mountOptions",
    "storageClassName",
    "nodeAffinity",
    "volumeMode",
)


def _protect(value: Json, finalizer: str) -> None:
    finalizers = value["metadata"].setdefault("finalizers", [])
    if finalizer not in finalizers:
        finalizers.append(finalizer)


def _create_claim(claim: Json, storage: Storage) -> None:
    spec = claim.setdefault("spec", {})
    faults = []
    if not spec.get("accessModes"):
        faults.append(required("spec.accessModes", "at least 1 access mode is required"))
    requests = spec.setdefault("resources", {}).get("requests", {})
    if "storage" not in requests:
        faults.append(required("spec.resources[storage]"))
    if faults:
        raise invalid(PERSISTENT_VOLUME_CLAIMS, claim["metadata"]["name"], *faults)
    canonical_quantities(requests)
    spec.setdefault("volumeMode", "Filesystem")
    if "storageClassName" not in spec and (default := _default_class(storage)):
        spec["storageClassName"] = default
    _protect(claim, CLAIM_PROTECTION)
    claim["status"] = {"phase": "Pending"}


def _default_class(storage: Storage) -> str:
    return next(
        (
            stored.name
            for stored in storage.objects(STORAGE_CLASSES)
            if stored.value["metadata"].get("annotations", {}).get(_DEFAULT_CLASS) == "true"
        ),
        "",
    )


def _update_claim(old: Json, new: Json) -> None:
    was, spec = old["spec"], new.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    canonical_quantities(spec.get("resources", {}).get("requests", {}))
    free = {"resources"} if was.get("volumeName") else {"volumeName"}
    if _without(was, free) != _without(spec, free):
        why = (
            "spec is immutable after creation except resources.requests and "
            "volumeAttributesClassName for bound claims"
        )
        raise invalid(PERSISTENT_VOLUME_CLAIMS, new["metadata"]["name"], fixed("spec", why))


def _admit_claim(old: Json, new: Json, storage: Storage) -> None:
    """Source: the validation of claims, and the admission plugin PersistentVolumeClaimResize."""
    name = new["metadata"]["name"]
    was, asked = _storage(old["spec"]), _storage(new["spec"])
    if amount(asked) < amount(was):
        has = old["status"].get("capacity", {}).get("storage", "0")
        if amount(asked) <= amount(has):
            why = "field can not be less than status.capacity"
            raise invalid(
                PERSISTENT_VOLUME_CLAIMS, name, fixed("spec.resources.requests.storage", why)
            )
    if amount(asked) > amount(was):
        storage_class = storage.get(STORAGE_CLASSES, "", new["spec"].get("storageClassName", ""))
        if storage_class is None or not storage_class.value.get("allowVolumeExpansion"):
            raise forbidden(
                PERSISTENT_VOLUME_CLAIMS,
                name,
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize",
            )


def _storage(spec: Json) -> str:
    return str(spec.get("resources", {}).get("requests", {}).get("storage", "0"))


def _without(spec: Json, fields: set[str]) -> Json:
    return {key: value for key, value in spec.items() if key not in fields}


def _create_volume(volume: Json, storage: Storage) -> None:
    spec = volume.setdefault("spec", {})
    faults = []
    if not spec.get("accessModes"):
        faults.append(required("spec.accessModes"))
    if "storage" not in spec.get("capacity", {}):
        faults.append(required("spec.capacity"))
    if not _without(spec, set(_FREE_VOLUME_FIELDS)):
        faults.append(required("spec", "must specify a volume type"))
    if faults:
        raise invalid(PERSISTENT_VOLUMES, volume["metadata"]["name"], *faults)
    canonical_quantities(spec["capacity"])
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    _protect(volume, VOLUME_PROTECTION)
    volume["status"] = {"phase": "Pending"}


def _update_volume(old: Json, new: Json) -> None:
    free = set(_FREE_VOLUME_FIELDS)
    if _without(old["spec"], free) != _without(new.get("spec", {}), free):
        why = "spec.persistentvolumesource is immutable after creation"
        raise invalid(PERSISTENT_VOLUMES, new["metadata"]["name"], fixed("spec", why))


def _create_class(storage_class: Json, storage: Storage) -> None:
    if not storage_class.get("provisioner"):
        raise invalid(STORAGE_CLASSES, storage_class["metadata"]["name"], required("provisioner"))
    storage_class.setdefault("reclaimPolicy", "Delete")
    storage_class.setdefault("volumeBindingMode", "Immediate")


CLAIM_RULES = KindRules(create=_create_claim, update=_update_claim, admit_update=_admit_claim)
VOLUME_RULES = KindRules(create=_create_volume, update=_update_volume)
STORAGE_CLASS_RULES = KindRules(create=_create_class)

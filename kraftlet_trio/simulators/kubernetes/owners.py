"""Owner references, as controllers write and read them."""

from __future__ import annotations

from kraftlet_trio.simulators.kubernetes.resources import Json, Resource
from kraftlet_trio.simulators.kubernetes.storage import Storage, Stored


def controller_reference(owner: Stored) -> Json:
    return {
        "apiVersion": owner.resource.api_version,
        "kind": owner.resource.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(stored: Stored, resource: Resource, storage: Storage) -> Stored | None:
    """The *resource* object that manages *stored*, if it still exists."""
    for reference in stored.value["metadata"].get("ownerReferences", ()):
        if reference.get("controller"):
            owner = storage.with_uid(reference["uid"])
            return owner if owner is not None and owner.resource is resource else None
    return None


def controlled_by(owner: Stored, resource: Resource, storage: Storage) -> list[Stored]:
    """What *owner* manages, the oldest first."""
    owned = [
        stored
        for stored in storage.dependents(owner.uid)
        if stored.resource is resource and controller_of(stored, owner.resource, storage) is owner
    ]
    return sorted(
        owned, key=lambda stored: (stored.value["metadata"]["creationTimestamp"], stored.name)
    )

"""What is to be done for claims and their PersistentVolumes, by what both are now (pure)."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kraftlet_trio.kubernetes.objects import (
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.claims import FINALIZER, is_provisioned_here, is_provisioned_volume
from kraftlet_trio.mapping.expansion import asks_for_more
from kraftlet_trio.mapping.names import persistent_volume_name


@attrs.frozen
class Provision:
    """Make the claim's cloud volume and PersistentVolume."""

    claim: PersistentVolumeClaim
    storage_class: StorageClass | None
    """None for a class that is nothing but a name."""


@attrs.frozen
class Release:
    """The claim's PersistentVolume keeps the cloud volume now: take our finalizer off the claim."""

    claim: PersistentVolumeClaim


@attrs.frozen
class Abandon:
    """The claim goes before it had a PersistentVolume: undo what there may be, and let it go."""

    claim: PersistentVolumeClaim


@attrs.frozen
class Grow:
    """The claim asks for more than it has: enlarge the cloud volume, and tell of it."""

    claim: PersistentVolumeClaim
    volume: PersistentVolume


@attrs.frozen
class Remove:
    """The PersistentVolume seems to have lost its claim: remove it, and the cloud volume."""

    volume: PersistentVolume


@attrs.frozen
class Forget:
    """The PersistentVolume goes, and its cloud volume is to be kept."""

    volume: PersistentVolume


Step = Provision | Release | Abandon | Grow | Remove | Forget


def next_steps(
    claims: Store[PersistentVolumeClaim],
    volumes: Store[PersistentVolume],
    classes: Store[StorageClass],
) -> Iterator[tuple[str, Step]]:
    """At most one step for an object, with its uid."""
    reserved = {
        (volume.spec.claim_ref.namespace, volume.spec.claim_ref.name)
        for volume in volumes.values()
        if volume.spec.claim_ref is not None and not volume.spec.claim_ref.uid
    }
    for claim in claims.values():
        metadata, bound_to = claim.metadata, claim.spec.volume_name
        storage_class = classes.by_name("", claim.spec.storage_class_name or "")
        made = volumes.by_name("", persistent_volume_name(metadata.uid))
        if step := _step_for_claim(claim, storage_class, provisioned=made is not None):
            # An administrator may keep a volume of old for the claim: it is bound to that.
            if isinstance(step, Provision) and (metadata.namespace, metadata.name) in reserved:
                continue
            yield metadata.uid, step
        elif step := _growth(claim, volumes.by_name("", bound_to) if bound_to else None):
            yield metadata.uid, step
    for volume in volumes.values():
        if is_provisioned_volume(volume) and (gone := _step_for_volume(volume, claims)):
            yield volume.metadata.uid, gone


def _step_for_claim(
    claim: PersistentVolumeClaim, storage_class: StorageClass | None, *, provisioned: bool
) -> Step | None:
    deleting = claim.metadata.deletion_timestamp is not None
    if FINALIZER in claim.metadata.finalizers:
        if provisioned:
            return Release(claim)
        if deleting:
            return Abandon(claim)
    # A claim that names a volume already is bound to it, or waits for it, or has lost it.
    wanted = is_provisioned_here(claim, storage_class) and not claim.spec.volume_name
    if wanted and not provisioned and not deleting:
        return Provision(claim, storage_class)
    return None


def _growth(claim: PersistentVolumeClaim, volume: PersistentVolume | None) -> Grow | None:
    if volume is None or not is_provisioned_volume(volume):
        return None
    deleting = claim.metadata.deletion_timestamp is not None
    return Grow(claim, volume) if asks_for_more(claim) and not deleting else None


def _step_for_volume(volume: PersistentVolume, claims: Store[PersistentVolumeClaim]) -> Step | None:
    reference = volume.spec.claim_ref
    deleting = volume.metadata.deletion_timestamp is not None
    if deleting and FINALIZER not in volume.metadata.finalizers:
        return None  # the control plane's turn
    if volume.spec.persistent_volume_reclaim_policy == "Retain":
        return Forget(volume) if deleting else None
    # Without a uid nobody has had it, or an administrator made it available again.
    if reference is None or not reference.uid or is_used(volume, claims.get(reference.uid)):
        return None
    return Remove(volume)


def is_used(volume: PersistentVolume, claim: PersistentVolumeClaim | None) -> bool:
    """Whether *claim*, which the PersistentVolume names, has it or may yet be bound to it."""
    return claim is not None and claim.spec.volume_name in ("", volume.metadata.name)

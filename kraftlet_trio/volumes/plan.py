"""What is to be done for claims and their PersistentVolumes, by what both are now (pure)."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kraftlet_trio.kubernetes.objects import PersistentVolume, PersistentVolumeClaim
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.claims import FINALIZER, is_provisioned_here, is_provisioned_volume
from kraftlet_trio.mapping.names import persistent_volume_name


@attrs.frozen
class Provision:
    """Make the claim's cloud volume and PersistentVolume."""

    claim: PersistentVolumeClaim


@attrs.frozen
class Release:
    """The claim's PersistentVolume keeps the cloud volume now: take our finalizer off the claim."""

    claim: PersistentVolumeClaim


@attrs.frozen
class Abandon:
    """The claim goes before it had a PersistentVolume: undo what there may be, and let it go."""

    claim: PersistentVolumeClaim


@attrs.frozen
class Remove:
    """The PersistentVolume seems to have lost its claim: remove it, and the cloud volume."""

    volume: PersistentVolume


@attrs.frozen
class Forget:
    """The PersistentVolume goes, and its cloud volume is to be kept."""

    volume: PersistentVolume


Step = Provision | Release | Abandon | Remove | Forget


def next_steps(
    claims: Store[PersistentVolumeClaim], volumes: Store[PersistentVolume]
) -> Iterator[tuple[str, Step]]:
    """At most one step for an object, with its uid."""
    for claim in claims.values():
        volume = volumes.by_name("", persistent_volume_name(claim.metadata.uid))
        if step := _step_for_claim(claim, provisioned=volume is not None):
            yield claim.metadata.uid, step
    for volume in volumes.values():
        if is_provisioned_volume(volume) and (step := _step_for_volume(volume, claims)):
            yield volume.metadata.uid, step


def _step_for_claim(claim: PersistentVolumeClaim, *, provisioned: bool) -> Step | None:
    deleting = claim.metadata.deletion_timestamp is not None
    if FINALIZER in claim.metadata.finalizers:
        if provisioned:
            return Release(claim)
        if deleting:
            return Abandon(claim)
    # A claim that names a volume already is bound to it, or waits for it, or has lost it.
    wanted = is_provisioned_here(claim) and not claim.spec.volume_name
    return Provision(claim) if wanted and not provisioned and not deleting else None


def _step_for_volume(volume: PersistentVolume, claims: Store[PersistentVolumeClaim]) -> Step | None:
    reference = volume.spec.claim_ref
    deleting = volume.metadata.deletion_timestamp is not None
    if deleting and FINALIZER not in volume.metadata.finalizers:
        return None  # the control plane's turn
    if volume.spec.persistent_volume_reclaim_policy == "Retain":
        return Forget(volume) if deleting else None
    # Without a uid nobody has had it, or an administrator made it available again.
    if reference is None or not reference.uid or claims.get(reference.uid) is not None:
        return None
    return Remove(volume)

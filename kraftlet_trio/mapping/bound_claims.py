"""The cloud volume behind a claim that a Pod mounts, by the rules of a kubelet.

It is found by the uuid in the PersistentVolume, not by a name, so that volumes which somebody made
by hand, or this driver under other names, can be mounted as well.
"""

from __future__ import annotations

import attrs

from kraftlet_trio.kubernetes.objects import PersistentVolume, PersistentVolumeClaim
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.pod_volumes import Volume
from kraftlet_trio.mapping.claims import READ_ONLY_MANY, STORAGE_CLASS, is_provisioned_volume
from kraftlet_trio.mapping.problems import ConfigurationProblem, shown


@attrs.frozen
class ClaimVolume:
    """The cloud volume behind a claim."""

    uuid: str
    read_only: bool = False
    """It is for reading only, whatever a mount says."""


def claim_name(pod: Pod, volume: Volume) -> str | None:
    """Name of the claim behind a volume: the Pod's own one for a generic ephemeral volume."""
    if volume.persistent_volume_claim is not None:
        return volume.persistent_volume_claim.claim_name
    return f"{pod.metadata.name}-{volume.name}" if volume.ephemeral is not None else None


def bound_volume(pod: Pod, volume: Volume, claim: PersistentVolumeClaim | None) -> str:
    """Name of the PersistentVolume behind *claim*, which *volume* of *pod* refers to.

    Raises:
        ConfigurationProblem: there is no such claim, it is not bound, or it is not the Pod's own
            one though it has to be.
    """
    name = claim_name(pod, volume) or ""
    if claim is None:
        cure = "wait for the control plane to make it" if volume.ephemeral else "create it"
        raise _problem(name, f"not found; {cure}")
    owned = any(
        owner.controller and owner.uid == pod.metadata.uid
        for owner in claim.metadata.owner_references
    )
    if volume.ephemeral is not None and not owned:
        raise _problem(
            name,
            f"was not made for this Pod, whose ephemeral volume {shown(volume.name)} needs the "
            "name; delete the claim, or give the Pod another name",
        )
    if claim.status.phase != "Bound" or not claim.spec.volume_name:
        raise _problem(name, "is not bound; see its events for the reason")
    return claim.spec.volume_name


def cloud_volume(claim: PersistentVolumeClaim, volume: PersistentVolume | None) -> ClaimVolume:
    """The cloud volume behind *claim*, which is bound to *volume*.

    Raises:
        ConfigurationProblem: there is none.
    """
    name = claim.metadata.name
    if volume is None:
        raise _problem(
            name,
            f"has lost its persistentvolume {claim.spec.volume_name}; delete the claim and "
            "create it again",
        )
    reference, source = volume.spec.claim_ref, volume.spec.csi
    if source is None or not is_provisioned_volume(volume):
        raise _problem(
            name,
            f"is bound to a volume outside of Unikraft Cloud; use a claim of class {STORAGE_CLASS}",
        )
    if reference is not None and reference.uid not in ("", claim.metadata.uid):
        raise _problem(
            name,
            f"is bound to the persistentvolume {volume.metadata.name}, which is another claim's; "
            "delete the claim and create it again",
        )
    if volume.spec.volume_mode == "Block":
        raise _problem(name, 'is of volume mode "Block", which cannot be mounted; use "Filesystem"')
    modes = claim.spec.access_modes or volume.spec.access_modes
    read_only = source.read_only or set(modes) == {READ_ONLY_MANY}
    return ClaimVolume(source.volume_handle, read_only)


def _problem(claim: str, why: str) -> ConfigurationProblem:
    return ConfigurationProblem("FailedMount", f"persistentvolumeclaim {shown(claim)} {why}")

"""Claims of class ``ukc-volume`` as cloud volumes, and the PersistentVolumes that stand for these.

The protocol is that of Kubernetes' external provisioners: the PersistentVolume names its claim,
and the control plane binds the two.
"""

from __future__ import annotations

from typing import Any

from kraftlet_trio.cloud.objects import Volume, VolumeRequest
from kraftlet_trio.kubernetes.objects import PersistentVolume, PersistentVolumeClaim
from kraftlet_trio.mapping.names import (
    Naming,
    NodeIdentity,
    persistent_volume_name,
    pod_uid_of,
    volume_tags,
)
from kraftlet_trio.mapping.problems import ConfigurationProblem, shown
from kraftlet_trio.mapping.quantities import QuantityError, volume_mib

STORAGE_CLASS = "ukc-volume"
DRIVER = "volumes.unikraft.cloud"
"""The provisioner that the StorageClass names, and the CSI driver that PersistentVolumes name."""

FINALIZER = "cloud.unikraft.v1/volume"
"""Keeps a PersistentVolume until its cloud volume is gone, and a claim as long as one may be made
for it that no PersistentVolume stands for yet."""

_PROVISIONER_ANNOTATIONS = (
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
)
"""The control plane writes them on claims whose StorageClass names an external provisioner."""

READ_ONLY_MANY = "ReadOnlyMany"

_ACCESS_MODES = ("ReadWriteOnce", "ReadWriteOncePod")


def is_provisioned_here(claim: PersistentVolumeClaim) -> bool:
    """Whether the claim asks for a cloud volume: by its class's name, or by a class of ours."""
    annotations = claim.metadata.annotations
    return claim.spec.storage_class_name == STORAGE_CLASS or any(
        annotations.get(key) == DRIVER for key in _PROVISIONER_ANNOTATIONS
    )


def volume_request(
    claim: PersistentVolumeClaim, *, owner: NodeIdentity, naming: Naming, min_mb: int
) -> VolumeRequest:
    """The cloud volume for *claim*, at least *min_mb* MiB large.

    Raises:
        ConfigurationProblem: it asks for what a cloud volume cannot be.
    """
    metadata, spec = claim.metadata, claim.spec
    unsupported = [mode for mode in spec.access_modes if mode not in _ACCESS_MODES]
    if unsupported:
        raise ConfigurationProblem(
            "ProvisioningFailed",
            f"access mode {shown(unsupported[0])} is not to be had from Unikraft Cloud; "
            f"ask for {' or '.join(_ACCESS_MODES)}",
        )
    if spec.volume_mode == "Block":
        raise ConfigurationProblem(
            "ProvisioningFailed",
            'volume mode "Block" is not to be had from Unikraft Cloud; ask for "Filesystem"',
        )
    if spec.data_source or spec.data_source_ref:
        # An empty volume in place of a copy would look like lost data.
        raise ConfigurationProblem(
            "ProvisioningFailed",
            "a dataSource cannot be copied into a volume of Unikraft Cloud; leave it out",
        )
    if spec.selector:
        raise ConfigurationProblem(
            "ProvisioningFailed",
            "a selector cannot choose among volumes of Unikraft Cloud; leave it out",
        )
    try:
        size_mb = volume_mib(spec.resources.requests.get("storage", ""))
    except QuantityError as error:
        raise ConfigurationProblem("ProvisioningFailed", str(error)) from error
    return VolumeRequest(
        name=naming.volume(metadata.namespace, metadata.name),
        size_mb=max(size_mb, min_mb),
        access_mode="rwo",
        tags=volume_tags(owner, metadata.namespace, metadata.name, metadata.uid),
    )


def persistent_volume(claim: PersistentVolumeClaim, volume: Volume) -> dict[str, Any]:
    """The PersistentVolume that makes the control plane bind *claim* to *volume*."""
    metadata, spec = claim.metadata, claim.spec
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": persistent_volume_name(metadata.uid),
            "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "storageClassName": spec.storage_class_name or "",
            "capacity": {"storage": spec.resources.requests["storage"]},
            "accessModes": list(spec.access_modes),
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata.namespace,
                "name": metadata.name,
                "uid": metadata.uid,
            },
            "csi": {"driver": DRIVER, "volumeHandle": volume.uuid, "fsType": "ext4"},
        },
    }


def is_volume_of(claim: PersistentVolumeClaim, volume: Volume) -> bool:
    """Whether the cloud volume was made for this very claim, not for a namesake."""
    return pod_uid_of(volume.tags) == claim.metadata.uid


def is_provisioned_volume(volume: PersistentVolume) -> bool:
    """Whether a PersistentVolume stands for a cloud volume of this driver."""
    return volume.spec.csi is not None and volume.spec.csi.driver == DRIVER

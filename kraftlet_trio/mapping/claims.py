"""Claims of class ``ukc-volume`` as cloud volumes, and the PersistentVolumes that stand for these.

The protocol is that of Kubernetes' external provisioners: the PersistentVolume names its claim,
and the control plane binds the two.
"""

from __future__ import annotations

from typing import Any

import attrs

from kraftlet_trio.cloud.objects import Volume, VolumeRequest
from kraftlet_trio.kubernetes.objects import (
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
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
_READ_WRITE_MANY = "ReadWriteMany"
_ONE_NODE_MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


@attrs.frozen(kw_only=True)
class VolumeParameters:
    """What the ``parameters`` of a StorageClass say of its volumes."""

    filesystem: str = "ext4"
    quota_policy: str | None = None


_PARAMETERS = {
    "filesystem": ("ext4", "virtiofs"),
    "quotaPolicy": ("static", "dynamic"),
}


def is_provisioned_here(claim: PersistentVolumeClaim, storage_class: StorageClass | None) -> bool:
    """Whether the claim asks for a new cloud volume.

    That is for the control plane to say, which looks first for a volume that is there already; but
    where nobody made a StorageClass of our name, the name alone is enough.
    """
    annotations = claim.metadata.annotations
    if any(annotations.get(key) == DRIVER for key in _PROVISIONER_ANNOTATIONS):
        return True
    return storage_class is None and claim.spec.storage_class_name == STORAGE_CLASS


def volume_request(
    claim: PersistentVolumeClaim,
    storage_class: StorageClass | None,
    *,
    owner: NodeIdentity,
    naming: Naming,
    min_mb: int,
) -> VolumeRequest:
    """The cloud volume for *claim*, at least *min_mb* MiB large.

    Raises:
        ConfigurationProblem: it asks for what a cloud volume cannot be.
    """
    metadata, spec = claim.metadata, claim.spec
    parameters = volume_parameters(storage_class)
    access_mode = _access_mode(claim, parameters)
    if spec.volume_mode == "Block":
        raise _problem(
            'volume mode "Block" is not to be had from Unikraft Cloud; ask for "Filesystem"'
        )
    if spec.data_source or spec.data_source_ref:
        # An empty volume in place of a copy would look like lost data.
        raise _problem(
            "a dataSource cannot be copied into a volume of Unikraft Cloud; leave it out"
        )
    if spec.selector:
        raise _problem("a selector cannot choose among volumes of Unikraft Cloud; leave it out")
    try:
        size_mb = volume_mib(spec.resources.requests.get("storage", ""))
    except QuantityError as error:
        raise _problem(str(error)) from error
    return VolumeRequest(
        name=naming.volume(metadata.namespace, metadata.name),
        size_mb=max(size_mb, min_mb),
        filesystem=None if parameters.filesystem == "ext4" else parameters.filesystem,
        access_mode=access_mode,
        quota_policy=parameters.quota_policy,
        tags=volume_tags(owner, metadata.namespace, metadata.name, metadata.uid),
    )


def volume_parameters(storage_class: StorageClass | None) -> VolumeParameters:
    """Raises ``ConfigurationProblem`` for a parameter that nobody knows, as drivers do."""
    given = dict(storage_class.parameters) if storage_class is not None else {}
    for key, value in given.items():
        if key not in _PARAMETERS:
            raise _problem(
                f"the storage class has the parameter {shown(key)}, which nobody knows; "
                f"leave it out, or write one of {', '.join(_PARAMETERS)}"
            )
        if value not in _PARAMETERS[key]:
            raise _problem(
                f"the storage class has the parameter {key}: {shown(value)}; "
                f"write {' or '.join(_PARAMETERS[key])}"
            )
    return VolumeParameters(
        filesystem=given.get("filesystem", "ext4"), quota_policy=given.get("quotaPolicy")
    )


def _access_mode(claim: PersistentVolumeClaim, parameters: VolumeParameters) -> str:
    """The platform's mode that covers all that the claim asks for."""
    modes = set(claim.spec.access_modes)
    unknown = modes - _ONE_NODE_MODES - {READ_ONLY_MANY, _READ_WRITE_MANY}
    if unknown:
        raise _problem(
            f"access mode {shown(min(unknown))} is not to be had from Unikraft Cloud; "
            f"ask for {' or '.join(sorted(_ONE_NODE_MODES))}"
        )
    if modes == {READ_ONLY_MANY}:
        return "rox"
    if parameters.filesystem == "virtiofs":
        # To a cluster, all instances of a node are on one node, and may share what it mounts.
        return "rwx"
    if modes <= _ONE_NODE_MODES:
        return "rwo"
    many = _READ_WRITE_MANY if _READ_WRITE_MANY in modes else READ_ONLY_MANY
    raise _problem(
        f"access mode {shown(many)} takes a volume on virtiofs; ask for ReadWriteOnce, or for a "
        'storage class whose parameters have "filesystem: virtiofs"'
    )


def _problem(message: str) -> ConfigurationProblem:
    return ConfigurationProblem("ProvisioningFailed", message)


def persistent_volume(
    claim: PersistentVolumeClaim, storage_class: StorageClass | None, volume: Volume
) -> dict[str, Any]:
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
            "persistentVolumeReclaimPolicy": (
                storage_class.reclaim_policy if storage_class is not None else ""
            )
            or "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata.namespace,
                "name": metadata.name,
                "uid": metadata.uid,
            },
            "csi": {
                "driver": DRIVER,
                "volumeHandle": volume.uuid,
                "fsType": volume_parameters(storage_class).filesystem,
            },
        },
    }


def is_volume_of(claim: PersistentVolumeClaim, volume: Volume) -> bool:
    """Whether the cloud volume was made for this very claim, not for a namesake."""
    return pod_uid_of(volume.tags) == claim.metadata.uid


def is_provisioned_volume(volume: PersistentVolume) -> bool:
    """Whether a PersistentVolume stands for a cloud volume of this driver."""
    return volume.spec.csi is not None and volume.spec.csi.driver == DRIVER

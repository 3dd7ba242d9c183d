"""What events about claims and PersistentVolumes refer to."""

from __future__ import annotations

from kraftlet_trio.kubernetes.objects import (
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
)


def about_claim(claim: PersistentVolumeClaim) -> ObjectReference:
    metadata = claim.metadata
    return ObjectReference(
        api_version="v1",
        kind="PersistentVolumeClaim",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
    )


def about_volume(volume: PersistentVolume) -> ObjectReference:
    metadata = volume.metadata
    return ObjectReference(
        api_version="v1", kind="PersistentVolume", name=metadata.name, uid=metadata.uid
    )

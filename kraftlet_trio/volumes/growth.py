"""Enlarges the volume of a claim that asks for more, as Kubernetes' external resizer does."""

from __future__ import annotations

from typing import Any

import attrs
import structlog

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.objects import Volume
from kraftlet_trio.kubernetes.client import KubernetesClient, PatchKind
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.objects import PersistentVolume, PersistentVolumeClaim
from kraftlet_trio.kubernetes.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kraftlet_trio.mapping.expansion import (
    FILE_SYSTEM_RESIZE_PENDING,
    RESIZING,
    condition_of,
    have_started_since,
    is_behind,
    pending_status,
    resized_status,
    resizing_status,
    wanted_mb,
)
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.volumes.references import about_claim

log = structlog.get_logger()


@attrs.frozen
class Growth:
    """One claim's way to a larger volume. Each part holds when it is done twice."""

    kubernetes: KubernetesClient
    cloud: CloudClient
    events: EventRecorder
    claim: PersistentVolumeClaim
    volume: PersistentVolume

    async def go_on(self) -> bool:
        """Whether the claim has now what it asks for.

        Otherwise the volume is large enough, but instances use it that have to start again first.

        Raises:
            ConfigurationProblem: there is no such volume any more.
            CloudError: the platform does not enlarge it, or not now.
        """
        source = self.volume.spec.csi
        assert source is not None, "only volumes of this driver are enlarged"
        present = await self.cloud.read_volume(source.volume_handle)
        if present is None:
            raise ConfigurationProblem(
                "VolumeResizeFailed",
                f"volume {source.volume_handle} is not to be found on Unikraft Cloud",
            )
        if present.size_mb < wanted_mb(self.claim):
            await self._enlarge(present)
        if is_behind(self.volume, self.claim):
            capacity = {"storage": self.claim.spec.resources.requests["storage"]}
            await self.kubernetes.patch(
                PERSISTENT_VOLUMES,
                self.volume.metadata.name,
                {"metadata": {"uid": self.volume.metadata.uid}, "spec": {"capacity": capacity}},
            )
        pending = condition_of(self.claim, FILE_SYSTEM_RESIZE_PENDING)
        users = [reference.uuid for reference in present.mounted_by]
        if users and pending is None:
            await self._patch_status(pending_status(utc_now()))
            self._tell(
                "FileSystemResizeRequired",
                "Require file system resize of volume on node: restart the instances that use it",
            )
            return False
        if users and pending is not None:
            instances = await self.cloud.get_instances(uuids=users)
            if not have_started_since(instances, pending.last_transition_time):
                return False
        await self._patch_status(resized_status(self.claim))
        self._tell("VolumeResizeSuccessful", "Resize volume succeeded")
        return True

    async def _enlarge(self, present: Volume) -> None:
        if condition_of(self.claim, RESIZING) is None:
            await self._patch_status(resizing_status(utc_now()))
            name = self.volume.metadata.name
            self._tell("Resizing", f"External resizer is resizing volume {name}")
        await self.cloud.grow_volume(present.uuid, wanted_mb(self.claim))
        log.info("volume enlarged", claim=self.claim.metadata.name, volume=present.uuid)

    async def _patch_status(self, status: dict[str, Any]) -> None:
        metadata = self.claim.metadata
        await self.kubernetes.patch(
            PERSISTENT_VOLUME_CLAIMS,
            metadata.name,
            {"metadata": {"uid": metadata.uid}, "status": status},
            namespace=metadata.namespace,
            kind=PatchKind.STRATEGIC,
            subresource="status",
        )

    def _tell(self, reason: str, message: str) -> None:
        self.events.record(about_claim(self.claim), "Normal", reason, message)

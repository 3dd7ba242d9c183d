"""Performs what was planned for claims and PersistentVolumes, so that it can be done again."""

from __future__ import annotations

from contextlib import suppress

import attrs
import structlog

from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError, CloudRefused, NameTaken
from kraftlet_trio.cloud.objects import Volume, VolumeRequest
from kraftlet_trio.kubernetes.client import KubernetesClient, PatchKind
from kraftlet_trio.kubernetes.errors import AlreadyExists, KubernetesError, NotFound
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.objects import (
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from kraftlet_trio.kubernetes.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kraftlet_trio.mapping.claims import FINALIZER, is_volume_of, persistent_volume, volume_request
from kraftlet_trio.mapping.names import NodeIdentity, persistent_volume_name
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.volumes.growth import Growth
from kraftlet_trio.volumes.plan import (
    Abandon,
    Forget,
    Grow,
    Provision,
    Release,
    Remove,
    Step,
    is_used,
)
from kraftlet_trio.volumes.references import about_claim, about_volume
from kraftlet_trio.volumes.settings import ClaimSettings

log = structlog.get_logger()

SETTLE_SECONDS = 2.0
"""How long a step that was done is not done again: the informers show its effect meanwhile."""
PENDING_SECONDS = 30.0
"""How long one that waits for instances to start again is not looked at again."""


@attrs.define
class Steps:
    """Each step holds when it is done twice, and finds what an interrupted one left."""

    _kubernetes: KubernetesClient
    _cloud: CloudClient
    _events: EventRecorder
    _settings: ClaimSettings
    _owner: NodeIdentity
    _min_mb: int | None = attrs.field(default=None, init=False)
    """The account's smallest volume, once it was asked for."""

    async def perform(self, step: Step) -> float:
        """For how many seconds the step need not be done again, be it wanted still.

        Raises ``CloudError``, ``KubernetesError``, ``ConfigurationProblem``, after an event.
        """
        try:
            match step:
                case Provision(claim, storage_class):
                    await self._provision(claim, storage_class)
                case Release(claim):
                    await self._release(claim)
                case Abandon(claim):
                    await self._abandon(claim)
                case Grow(claim, volume):
                    growth = Growth(self._kubernetes, self._cloud, self._events, claim, volume)
                    if not await growth.go_on():
                        return PENDING_SECONDS
                case Remove(volume):
                    await self._remove(volume)
                case Forget(volume):
                    await self._forget(volume)
        except (CloudError, KubernetesError, ConfigurationProblem) as error:
            self._tell(step, error)
            raise
        return SETTLE_SECONDS

    async def _provision(
        self, claim: PersistentVolumeClaim, storage_class: StorageClass | None
    ) -> None:
        request = volume_request(
            claim,
            storage_class,
            owner=self._owner,
            naming=self._settings.naming,
            min_mb=await self._smallest_volume_mb(),
        )
        try:
            # From here on the claim cannot go before we have looked after its volume.
            await self._patch_finalizer(claim, {"finalizers": [FINALIZER]})
        except NotFound:
            return  # gone already, with nothing made
        volume = await self._volume(claim, request)
        with suppress(AlreadyExists):  # by an earlier term
            await self._kubernetes.create(
                PERSISTENT_VOLUMES, persistent_volume(claim, storage_class, volume)
            )
        name = persistent_volume_name(claim.metadata.uid)
        log.info("claim provisioned", claim=claim.metadata.name, volume=volume.uuid)
        self._events.record(
            about_claim(claim),
            "Normal",
            "ProvisioningSucceeded",
            f"Successfully provisioned volume {name}",
        )
        await self._release(claim)

    async def _smallest_volume_mb(self) -> int:
        if self._min_mb is None:
            try:
                self._min_mb = (await self._cloud.quotas()).limits.min_volume_mb
            except CloudRefused:
                self._min_mb = 0  # the platform itself will say what is too small
        return self._min_mb

    async def _volume(self, claim: PersistentVolumeClaim, request: VolumeRequest) -> Volume:
        """The claim's cloud volume, made now or by an earlier attempt."""
        try:
            return await self._cloud.create_volume(request)
        except NameTaken:
            present = await self._cloud.get_volume(request.name)
        if present is None or not is_volume_of(claim, present):
            raise ConfigurationProblem(
                "ProvisioningFailed",
                f"Unikraft Cloud has a volume named {request.name} that is not this claim's; "
                "delete it, or give the claim another name",
            )
        return present

    async def _release(self, claim: PersistentVolumeClaim) -> None:
        with suppress(NotFound):
            await self._patch_finalizer(claim, {"$deleteFromPrimitiveList/finalizers": [FINALIZER]})

    async def _abandon(self, claim: PersistentVolumeClaim) -> None:
        if not await self._has_persistent_volume(claim):
            metadata = claim.metadata
            name = self._settings.naming.volume(metadata.namespace, metadata.name)
            volume = await self._cloud.get_volume(name)
            if volume is not None and is_volume_of(claim, volume):
                await self._cloud.delete_volume(volume.uuid)
                log.info("volume deleted", volume=volume.uuid, claim=metadata.name)
        await self._release(claim)

    async def _has_persistent_volume(self, claim: PersistentVolumeClaim) -> bool:
        """Asked of the API server, for the informer may not show yet what was just made."""
        try:
            await self._kubernetes.get(
                PERSISTENT_VOLUMES, persistent_volume_name(claim.metadata.uid)
            )
        except NotFound:
            return False
        return True

    async def _remove(self, volume: PersistentVolume) -> None:
        reference, source = volume.spec.claim_ref, volume.spec.csi
        assert reference is not None, "only volumes with a claim are left by one"
        assert source is not None, "only volumes of this driver are removed"
        if is_used(volume, await self._claim(reference)):
            return  # our view of the claims was behind
        await self._cloud.delete_volume(source.volume_handle)
        log.info("volume deleted", volume=source.volume_handle, claim=reference.name)
        with suppress(NotFound):
            await self._kubernetes.delete(
                PERSISTENT_VOLUMES, volume.metadata.name, uid=volume.metadata.uid
            )
            await self._let_go(volume)

    async def _claim(self, reference: ObjectReference) -> PersistentVolumeClaim | None:
        try:
            claim = await self._kubernetes.get(
                PERSISTENT_VOLUME_CLAIMS, reference.name, namespace=reference.namespace
            )
        except NotFound:
            return None
        return claim if claim.metadata.uid == reference.uid else None

    async def _forget(self, volume: PersistentVolume) -> None:
        source = volume.spec.csi
        assert source is not None, "only volumes of this driver are let go"
        self._events.record(
            about_volume(volume),
            "Normal",
            "VolumeRetained",
            f"Volume {source.volume_handle} is kept on Unikraft Cloud, by the reclaim policy "
            "Retain; delete it there when it is no longer needed",
        )
        await self._let_go(volume)

    async def _let_go(self, volume: PersistentVolume) -> None:
        with suppress(NotFound):
            await self._kubernetes.patch(
                PERSISTENT_VOLUMES,
                volume.metadata.name,
                {
                    "metadata": {
                        "uid": volume.metadata.uid,
                        "$deleteFromPrimitiveList/finalizers": [FINALIZER],
                    }
                },
                kind=PatchKind.STRATEGIC,
            )

    async def _patch_finalizer(
        self, claim: PersistentVolumeClaim, change: dict[str, list[str]]
    ) -> None:
        metadata = claim.metadata
        await self._kubernetes.patch(
            PERSISTENT_VOLUME_CLAIMS,
            metadata.name,
            {"metadata": {"uid": metadata.uid, **change}},
            namespace=metadata.namespace,
            kind=PatchKind.STRATEGIC,
        )

    def _tell(self, step: Step, error: Exception) -> None:
        match step:
            case Provision(claim, _) | Release(claim):
                self._events.record(about_claim(claim), "Warning", "ProvisioningFailed", str(error))
            case Abandon(claim):
                self._events.record(about_claim(claim), "Warning", "VolumeFailedDelete", str(error))
            case Grow(claim, _):
                self._events.record(about_claim(claim), "Warning", "VolumeResizeFailed", str(error))
            case Remove(volume) | Forget(volume):
                self._events.record(
                    about_volume(volume), "Warning", "VolumeFailedDelete", str(error)
                )

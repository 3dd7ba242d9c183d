"""Provisions claims of class ``ukc-volume``, in one daemon of the cluster at a time.

A pass over all claims and PersistentVolumes finds what is to be done, by level: a claim without
its PersistentVolume gets a cloud volume and one; a PersistentVolume whose claim is gone loses its
cloud volume and goes. A daemon killed between two requests leaves nothing that the next pass does
not find.

Volumes are never swept by their tags alone: an account may serve several clusters.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import attrs
import structlog
import trio

from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError, NameTaken
from kraftlet_trio.cloud.objects import Volume, VolumeRequest
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubernetes.client import KubernetesClient, PatchKind
from kraftlet_trio.kubernetes.errors import AlreadyExists, KubernetesError, NotFound
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.informer import run_informer
from kraftlet_trio.kubernetes.leases import run_while_leader
from kraftlet_trio.kubernetes.objects import (
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
)
from kraftlet_trio.kubernetes.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.claims import (
    FINALIZER,
    is_provisioned_here,
    is_provisioned_volume,
    persistent_volume,
    volume_request,
)
from kraftlet_trio.mapping.names import persistent_volume_name, pod_uid_of
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.volumes.settings import ClaimSettings

log = structlog.get_logger()

LEASE_NAME = "kraftlet-trio-claims"

_CONCURRENT = 8
_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 30.0


async def run_claim_provisioner(
    kubernetes: KubernetesClient,
    cloud: CloudClient,
    claims: Store[PersistentVolumeClaim],
    claims_changed: Doorbell,
    events: EventRecorder,
    settings: ClaimSettings,
) -> None:
    """Contend for the lease, and provision while holding it. Runs until cancelled."""
    await run_while_leader(
        kubernetes,
        namespace=settings.namespace,
        name=LEASE_NAME,
        identity=f"{settings.node_name}-{secrets.token_hex(4)}",
        lead=lambda: Provisioner(kubernetes, cloud, claims, claims_changed, events, settings).run(),
    )


@attrs.frozen
class _Retry:
    attempts: int
    at: float
    """Trio's time."""


@attrs.define
class Provisioner:
    """One term of leadership."""

    _kubernetes: KubernetesClient
    _cloud: CloudClient
    _claims: Store[PersistentVolumeClaim]
    _bell: Doorbell
    _events: EventRecorder
    _settings: ClaimSettings
    _volumes: Store[PersistentVolume] = attrs.field(factory=Store, init=False)
    _made: set[str] = attrs.field(factory=set, init=False)
    """Uids of claims whose PersistentVolume was made, also while the store does not show it yet."""
    _retries: dict[str, _Retry] = attrs.field(factory=dict, init=False)
    """By uid of the claim or PersistentVolume."""

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                run_informer,
                self._kubernetes,
                PERSISTENT_VOLUMES,
                self._volumes,
                lambda _: self._bell.ring(),
            )
            while True:
                await self._pass()
                with trio.move_on_at(self._next_retry()):
                    await self._bell.wait()

    def _next_retry(self) -> float:
        return min((retry.at for retry in self._retries.values()), default=float("inf"))

    async def _pass(self) -> None:
        limiter = trio.CapacityLimiter(_CONCURRENT)
        work: dict[str, Callable[[], Awaitable[None]]] = {}
        for claim in self._claims.values():
            if is_provisioned_here(claim) and not self._has_volume(claim):
                work[claim.metadata.uid] = partial(self._provision, claim)
        for volume in self._volumes.values():
            if is_provisioned_volume(volume) and self._is_left(volume):
                work[volume.metadata.uid] = partial(self._remove, volume)
        self._retries = {uid: retry for uid, retry in self._retries.items() if uid in work}
        async with trio.open_nursery() as nursery:
            for uid, perform in work.items():
                retry = self._retries.get(uid)
                if retry is None or trio.current_time() >= retry.at:
                    nursery.start_soon(self._try, uid, perform, limiter)

    def _has_volume(self, claim: PersistentVolumeClaim) -> bool:
        name = persistent_volume_name(claim.metadata.uid)
        return claim.metadata.uid in self._made or self._volumes.by_name("", name) is not None

    def _is_left(self, volume: PersistentVolume) -> bool:
        """Whether its claim seems to be gone, and it is not to outlive it."""
        reference = volume.spec.claim_ref
        if reference is None or self._claims.get(reference.uid) is not None:
            return False
        if volume.spec.persistent_volume_reclaim_policy == "Retain":
            return (
                volume.metadata.deletion_timestamp is not None
                and FINALIZER in volume.metadata.finalizers
            )
        return volume.metadata.deletion_timestamp is None or FINALIZER in volume.metadata.finalizers

    async def _try(
        self, uid: str, perform: Callable[[], Awaitable[None]], limiter: trio.CapacityLimiter
    ) -> None:
        async with limiter:
            try:
                await perform()
            except (CloudError, KubernetesError, ConfigurationProblem) as error:
                self._fail(uid, error)
            else:
                self._retries.pop(uid, None)

    def _fail(self, uid: str, error: Exception) -> None:
        before = self._retries.get(uid)
        attempts = before.attempts + 1 if before else 1
        seconds = min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 10))
        seconds *= random.uniform(0.8, 1.0)
        self._retries[uid] = _Retry(attempts, trio.current_time() + seconds)
        log.warning("claim not as wanted", uid=uid, attempt=attempts, error=str(error))
        claim = self._claims.get(uid)
        if claim is not None:
            self._events.record(_about(claim), "Warning", "ProvisioningFailed", str(error))

    async def _provision(self, claim: PersistentVolumeClaim) -> None:
        quotas = await self._cloud.quotas()
        request = volume_request(
            claim,
            node_name=self._settings.node_name,
            naming=self._settings.naming,
            min_mb=quotas.limits.min_volume_mb,
        )
        volume = await self._volume(claim, request)
        with suppress(AlreadyExists):  # made by an earlier term
            await self._kubernetes.create(PERSISTENT_VOLUMES, persistent_volume(claim, volume))
        self._made.add(claim.metadata.uid)
        name = persistent_volume_name(claim.metadata.uid)
        log.info("claim provisioned", claim=claim.metadata.name, volume=volume.uuid)
        self._events.record(
            _about(claim),
            "Normal",
            "ProvisioningSucceeded",
            f"Successfully provisioned volume {name}",
        )

    async def _volume(self, claim: PersistentVolumeClaim, request: VolumeRequest) -> Volume:
        try:
            return await self._cloud.create_volume(request)
        except NameTaken:
            present = await self._cloud.get_volume(request.name)
        if present is None or pod_uid_of(present.tags) != claim.metadata.uid:
            raise ConfigurationProblem(
                "ProvisioningFailed",
                f"Unikraft Cloud has a volume named {request.name} that is not this claim's; "
                "delete it, or give the claim another name",
            )
        return present

    async def _remove(self, volume: PersistentVolume) -> None:
        reference, source = volume.spec.claim_ref, volume.spec.csi
        assert reference is not None, "only volumes with a claim are left by one"
        assert source is not None, "only volumes of this driver are removed"
        if await self._claim_exists(reference):
            return  # this daemon's view of the claims was behind
        if volume.spec.persistent_volume_reclaim_policy != "Retain":
            await self._cloud.delete_volume(source.volume_handle)
            log.info("volume deleted", volume=source.volume_handle, claim=reference.name)
        name, uid = volume.metadata.name, volume.metadata.uid
        try:
            await self._kubernetes.delete(PERSISTENT_VOLUMES, name, uid=uid)
            await self._kubernetes.patch(
                PERSISTENT_VOLUMES,
                name,
                {"metadata": {"uid": uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}},
                kind=PatchKind.STRATEGIC,
            )
        except NotFound:
            pass  # gone already
        self._made.discard(reference.uid)

    async def _claim_exists(self, reference: ObjectReference) -> bool:
        try:
            claim = await self._kubernetes.get(
                PERSISTENT_VOLUME_CLAIMS, reference.name, namespace=reference.namespace
            )
        except NotFound:
            return False
        return claim.metadata.uid == reference.uid


def _about(claim: PersistentVolumeClaim) -> ObjectReference:
    metadata = claim.metadata
    return ObjectReference(
        api_version="v1",
        kind="PersistentVolumeClaim",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
    )

"""How full the volumes of Pods are, as far as the platform tells: asked once a minute at most.

That is as often as the kubelet looks at its disks (volumeStatsAggPeriod). Known by their tags are
the volumes that were made for a claim, whichever daemon of the cluster made them, or for a Pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import attrs
import structlog
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import Volume
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.bound_claims import claim_name
from kraftlet_trio.mapping.container_state import is_alive
from kraftlet_trio.mapping.names import claim_of, pod_volume_of
from kraftlet_trio.mapping.quantities import MIB
from kraftlet_trio.metrics.exposition import Family, Sample

log = structlog.get_logger()

FRESH_SECONDS = 60.0
READ_SECONDS = 5.0


@attrs.frozen(kw_only=True)
class VolumeUsage:
    """A volume that a Pod has mounted."""

    at: datetime
    namespace: str
    pod_uid: str
    name: str
    """In the Pod."""
    claim: str
    """Empty for a volume of the Pod's own."""
    capacity_bytes: int
    available_bytes: int

    @property
    def used_bytes(self) -> int:
        return self.capacity_bytes - self.available_bytes


@attrs.define
class VolumeSource:
    _cloud: CloudClient
    _cluster_tag: str
    """On all that was made for this cluster."""
    _pods: Store[Pod]
    _feed: InstanceFeed
    _volumes: Mapping[str, Volume] = attrs.field(factory=dict, init=False)
    """By uuid, as last told."""
    _at: datetime = attrs.field(factory=utc_now, init=False)
    _asked_at: float = attrs.field(default=float("-inf"), init=False)
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def read(self) -> tuple[VolumeUsage, ...]:
        """Of all that Pods of the node have mounted; none where the platform does not answer."""
        if not any(instance.volumes for instance in self._feed.instances.values()):
            return ()
        async with self._turn:
            if trio.current_time() - self._asked_at >= FRESH_SECONDS:
                await self._ask()
        return tuple(mounted_volumes(self._pods, self._feed, self._volumes, self._at))

    async def _ask(self) -> None:
        self._asked_at = trio.current_time()
        self._volumes = {}
        try:
            with trio.fail_after(READ_SECONDS):
                volumes = await self._cloud.list_volumes(tags=[self._cluster_tag])
        except trio.TooSlowError:
            log.debug("volumes not read", error=f"no answer within {READ_SECONDS:.0f} s")
        except CloudError as error:
            log.debug("volumes not read", error=str(error))
        else:
            self._volumes = {volume.uuid: volume for volume in volumes}
            self._at = utc_now()


def mounted_volumes(
    pods: Store[Pod], feed: InstanceFeed, volumes: Mapping[str, Volume], at: datetime
) -> Iterator[VolumeUsage]:
    for pod in pods.values():
        uuids = {
            mount.uuid: None  # in order, and once
            for instance in feed.of_pod(pod.metadata.uid).values()
            if is_alive(instance)
            for mount in instance.volumes
        }
        names = {claim_name(pod, volume): volume.name for volume in pod.spec.volumes}
        for volume in filter(None, map(volumes.get, uuids)):
            claim = claim_of(volume.tags) or ""
            name = names.get(claim) if claim else pod_volume_of(volume.tags)
            if name and volume.free_mb is not None:
                yield VolumeUsage(
                    at=at,
                    namespace=pod.metadata.namespace,
                    pod_uid=pod.metadata.uid,
                    name=name,
                    claim=claim,
                    capacity_bytes=volume.size_mb * MIB,
                    available_bytes=min(volume.free_mb, volume.size_mb) * MIB,
                )


def volume_metrics(volumes: Iterable[VolumeUsage]) -> Iterator[Family]:
    """The kubelet's names (pkg/volume/metrics). A claim that several Pods mount is told of once."""
    of_claims = {(one.namespace, one.claim): one for one in volumes if one.claim}

    def family(name: str, text: str, values: Iterable[int]) -> Family:
        samples = (
            Sample(value, (("namespace", namespace), ("persistentvolumeclaim", claim)))
            for (namespace, claim), value in zip(of_claims, values, strict=True)
        )
        return Family(f"kubelet_volume_stats_{name}_bytes", "gauge", text, tuple(samples))

    found = of_claims.values()
    yield family("capacity", "Size of the volume", (one.capacity_bytes for one in found))
    yield family("available", "What is free of it", (one.available_bytes for one in found))
    yield family("used", "What is taken of it", (one.used_bytes for one in found))

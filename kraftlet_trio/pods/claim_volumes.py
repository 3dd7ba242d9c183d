"""The claims that a Pod's containers mount, and the cloud volumes behind them."""

from __future__ import annotations

from collections.abc import Iterator

from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import NotFound
from kraftlet_trio.kubernetes.objects import PersistentVolume, PersistentVolumeClaim
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.kubernetes.pod_volumes import Volume
from kraftlet_trio.kubernetes.resources import PERSISTENT_VOLUMES
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.bound_claims import ClaimVolume, bound_volume, claim_name, cloud_volume
from kraftlet_trio.mapping.problems import ConfigurationProblem


def claim_troubles(pod: Pod, claims: Store[PersistentVolumeClaim]) -> dict[str, str]:
    """What is wrong with a claim that a container mounts, by the container's name."""
    troubles = {}
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        try:
            for volume, name in _mounted_claims(pod, container):
                bound_volume(pod, volume, claims.by_name(pod.metadata.namespace, name))
        except ConfigurationProblem as problem:
            troubles[container.name] = problem.message
    return troubles


async def claim_volumes(
    kubernetes: KubernetesClient,
    claims: Store[PersistentVolumeClaim],
    pod: Pod,
    container: Container,
) -> dict[str, ClaimVolume]:
    """The cloud volume of each claim that *container* mounts, by the claim's name.

    PersistentVolumes are read one by one: a node mounts few of the many that a cluster may have.

    Raises:
        ConfigurationProblem: a claim has no cloud volume.
        KubernetesError: the API server does not tell.
    """
    found = {}
    for volume, name in _mounted_claims(pod, container):
        claim = claims.by_name(pod.metadata.namespace, name)
        bound = bound_volume(pod, volume, claim)
        assert claim is not None, "only a claim that exists is bound"
        found[name] = cloud_volume(claim, await _persistent_volume(kubernetes, bound))
    return found


async def _persistent_volume(kubernetes: KubernetesClient, name: str) -> PersistentVolume | None:
    try:
        return await kubernetes.get(PERSISTENT_VOLUMES, name)
    except NotFound:
        return None


def _mounted_claims(pod: Pod, container: Container) -> Iterator[tuple[Volume, str]]:
    mounted = {mount.name for mount in container.volume_mounts}
    for volume in pod.spec.volumes:
        name = claim_name(pod, volume)
        if name is not None and volume.name in mounted:
            yield volume, name

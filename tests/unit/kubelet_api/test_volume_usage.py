from __future__ import annotations

import attrs

from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import InstanceVolume, Volume
from kraftlet_trio.kubelet_api.volume_usage import VolumeUsage, mounted_volumes, volume_metrics
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.pod_volumes import PersistentVolumeClaimVolumeSource
from kraftlet_trio.kubernetes.pod_volumes import Volume as PodVolume
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.names import NodeIdentity, pod_volume_tags, volume_tags
from kraftlet_trio.metrics.exposition import render
from tests.builders import NOW, a_pod, a_stopped_instance, an_instance

OWNER = NodeIdentity("cluster", "kraftlet")
ANOTHER_NODE = NodeIdentity("cluster", "another")
CLAIM = PersistentVolumeClaimVolumeSource(claim_name="data")


def of_claim(owner: NodeIdentity = OWNER, **fields) -> Volume:
    tags = volume_tags(owner, "default", "data", "uid-of-data")
    return Volume(**{"uuid": "v", "size_mb": 10, "free_mb": 4, "tags": tags} | fields)


def mounted(volume: Volume, *, make=an_instance) -> list[VolumeUsage]:
    """By a Pod with the claim ``data`` as its volume ``files``."""
    pod = a_pod()
    volumes = (PodVolume(name="files", persistent_volume_claim=CLAIM),)
    pods: Store[Pod] = Store()
    pods.replace([attrs.evolve(pod, spec=attrs.evolve(pod.spec, volumes=volumes))])
    feed = InstanceFeed(None, tags=(), interval=5)  # type: ignore[arg-type] # it asks nobody here
    mounts = (InstanceVolume(uuid="v", at="/data"),)
    tags = ("k8s.io:uid=uid-of-web", "k8s.io:container=app")
    feed.put(make("app", tags=tags, volumes=mounts))
    return list(mounted_volumes(pods, feed, {volume.uuid: volume}, NOW))


async def test_a_claims_volume_is_told_in_bytes():
    [usage] = mounted(of_claim())
    assert (usage.name, usage.claim) == ("files", "data")
    assert usage.capacity_bytes == 10 * 2**20
    assert usage.used_bytes == 6 * 2**20


async def test_another_nodes_daemon_may_have_provisioned_it():
    assert len(mounted(of_claim(ANOTHER_NODE))) == 1


async def test_what_the_platform_does_not_tell_is_left_out():
    assert mounted(of_claim(free_mb=None)) == []


async def test_what_nobody_has_mounted_is_left_out():
    assert mounted(of_claim(uuid="somebody-elses")) == []
    assert mounted(of_claim(), make=a_stopped_instance) == []


async def test_a_volume_is_never_emptier_than_empty():
    [usage] = mounted(of_claim(free_mb=11))
    assert usage.used_bytes == 0


async def test_a_pods_own_volume_has_no_claim():
    tags = pod_volume_tags(OWNER, "default", "web", "uid-of-web", "scratch")
    [usage] = mounted(of_claim(tags=tags))
    assert (usage.name, usage.claim) == ("scratch", "")
    assert b"kubelet_volume_stats_used_bytes{" not in render(volume_metrics([usage]))


async def test_a_claim_that_two_pods_mount_is_told_of_once():
    [usage] = mounted(of_claim())
    text = render(volume_metrics([usage, usage])).decode()
    assert text.count('persistentvolumeclaim="data"') == 3

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.kubernetes.serialization import timestamp
from kraftlet_trio.simulators.kubernetes.deletion import DeleteOptions
from kraftlet_trio.simulators.kubernetes.errors import ApiError
from kraftlet_trio.simulators.kubernetes.resources import DEPLOYMENTS, PODS
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.unit.simulators.kubernetes.builders import (
    Json,
    a_claim,
    a_deployment,
    a_node,
    a_pod,
    a_volume,
    run_pods_forever,
    set_ready,
)


@pytest.fixture
async def cluster(nursery: trio.Nursery) -> KubernetesSimulator:
    cluster = KubernetesSimulator()
    await nursery.start(cluster.run)
    return cluster


async def settle(seconds: float = 60.0) -> None:
    await trio.sleep(seconds)


def with_image(image: str) -> Callable[[Json], Json]:
    def change(deployment: Json) -> Json:
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
        return deployment

    return change


def names(cluster: KubernetesSimulator, plural: str) -> list[str]:
    return [value["metadata"]["name"] for value in cluster.objects(plural)]


def event_reasons(cluster: KubernetesSimulator) -> set[str]:
    return {event["reason"] for event in cluster.objects("events")}


def condition(value: Json, kind: str) -> Json:
    return next(one for one in value["status"]["conditions"] if one["type"] == kind)


async def test_a_deployment_becomes_available(cluster, autojump_clock, nursery):
    nursery.start_soon(run_pods_forever, cluster)
    cluster.create(a_node())
    cluster.create(a_deployment(replicas=3))
    await settle()
    deployment = cluster.get("deployments", "web")
    assert deployment["status"] | {"conditions": None} == {
        "observedGeneration": 1,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "conditions": None,
    }
    assert condition(deployment, "Available")["reason"] == "MinimumReplicasAvailable"
    assert condition(deployment, "Progressing")["reason"] == "NewReplicaSetAvailable"
    assert deployment["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}
    assert event_reasons(cluster) == {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled"}


async def test_a_rollout_keeps_to_its_limits(cluster, autojump_clock, nursery):
    nursery.start_soon(run_pods_forever, cluster)
    cluster.create(a_node())
    cluster.create(a_deployment(replicas=8))
    await settle()
    cluster.change("deployments", "web", with_image("nginx:2"))
    for _ in range(600):
        await trio.sleep(0.1)
        pods = [
            pod for pod in cluster.objects("pods") if "deletionTimestamp" not in pod["metadata"]
        ]
        ready = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        assert len(pods) <= 10
        assert len(ready) >= 6
    images = {pod["spec"]["containers"][0]["image"] for pod in cluster.objects("pods")}
    assert images == {"nginx:2"}
    assert sorted(one["spec"]["replicas"] for one in cluster.objects("replicasets")) == [0, 8]
    deployment = cluster.get("deployments", "web")
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


async def test_a_rollback_reuses_the_old_replica_set_under_a_new_revision(
    cluster, autojump_clock, nursery
):
    nursery.start_soon(run_pods_forever, cluster)
    cluster.create(a_node())
    cluster.create(a_deployment())
    await settle()
    first = names(cluster, "replicasets")
    cluster.change("deployments", "web", with_image("nginx:2"))
    await settle()
    cluster.change("deployments", "web", with_image("nginx:1"))
    await settle()
    assert len(names(cluster, "replicasets")) == 2
    restored = cluster.get("replicasets", first[0])
    assert restored["spec"]["replicas"] == 4
    assert restored["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


async def test_recreate_starts_no_pod_before_the_last_old_one_is_gone(
    cluster, autojump_clock, nursery
):
    cluster.create(a_node())
    cluster.create(a_deployment(replicas=2, strategy={"type": "Recreate"}))
    await settle(1)
    cluster.change("deployments", "web", with_image("nginx:2"))
    await settle(5)
    old = cluster.objects("pods")
    assert [pod["spec"]["containers"][0]["image"] for pod in old] == ["nginx:1"] * 2
    assert all("deletionTimestamp" in pod["metadata"] for pod in old)
    for pod in old:
        cluster.delete(pod, grace_seconds=0)
    await settle(1)
    images = [pod["spec"]["containers"][0]["image"] for pod in cluster.objects("pods")]
    assert images == ["nginx:2"] * 2


async def test_a_stuck_rollout_is_reported_after_its_deadline(cluster, autojump_clock):
    cluster.create(a_deployment(progressDeadlineSeconds=120))
    await settle(100)
    assert condition(cluster.get("deployments", "web"), "Progressing")["status"] == "True"
    await settle(30)
    progressing = condition(cluster.get("deployments", "web"), "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")


async def test_a_replica_counts_as_available_after_min_ready_seconds(cluster, autojump_clock):
    cluster.create(a_node())
    cluster.create(a_deployment(replicas=1, minReadySeconds=20))
    await settle(1)
    (pod,) = names(cluster, "pods")

    def ready_now(value: Json) -> Json:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": timestamp(utc_now())}
        value["status"] |= {"phase": "Running", "conditions": [ready]}
        return value

    cluster.change("pods", pod, ready_now, subresource="status")
    await settle(15)
    assert "availableReplicas" not in cluster.get("deployments", "web")["status"]
    await settle(10)
    assert cluster.get("deployments", "web")["status"]["availableReplicas"] == 1


async def test_scaling_down_takes_pods_that_are_not_ready_first(cluster, autojump_clock):
    cluster.create(a_node())
    cluster.create(a_deployment(replicas=3))
    await settle(1)
    kept, *_ = names(cluster, "pods")
    set_ready(cluster, kept)

    def to_one(deployment: Json) -> Json:
        deployment["spec"]["replicas"] = 1
        return deployment

    cluster.change("deployments", "web", to_one)
    await settle(1)
    alive = [pod for pod in cluster.objects("pods") if "deletionTimestamp" not in pod["metadata"]]
    assert [pod["metadata"]["name"] for pod in alive] == [kept]


async def test_an_ended_pod_is_replaced_but_kept(cluster, autojump_clock):
    cluster.create(a_deployment(replicas=1))
    await settle(1)
    (ended,) = names(cluster, "pods")
    cluster.change(
        "pods",
        ended,
        lambda pod: {**pod, "status": {**pod["status"], "phase": "Failed"}},
        subresource="status",
    )
    await settle(1)
    assert len(names(cluster, "pods")) == 2


async def test_a_thousand_replicas_are_made_and_scheduled(cluster, autojump_clock):
    cluster.create(a_node())
    cluster.create(a_deployment(replicas=1200))
    await settle(5)
    assert sum(pod["spec"].get("nodeName") == "node-1" for pod in cluster.objects("pods")) == 1200


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_deleting_a_deployment_takes_its_pods(cluster, autojump_clock, nursery, propagation):
    nursery.start_soon(run_pods_forever, cluster)
    cluster.create(a_node())
    cluster.create(a_deployment())
    await settle()
    options = DeleteOptions(propagation=propagation)
    cluster.registry.delete(DEPLOYMENTS, "default", "web", options)
    await settle()
    assert not cluster.objects("deployments")
    assert not cluster.objects("replicasets")
    assert not cluster.objects("pods")


async def test_orphans_outlive_their_owner(cluster, autojump_clock):
    cluster.create(a_deployment(replicas=1))
    await settle(1)
    (replica_set,) = names(cluster, "replicasets")
    options = DeleteOptions(propagation="Orphan")
    cluster.registry.delete(DEPLOYMENTS, "default", "web", options)
    await settle()
    assert not cluster.objects("deployments")
    assert "ownerReferences" not in cluster.get("replicasets", replica_set)["metadata"]
    assert len(cluster.objects("pods")) == 1


async def test_an_object_of_an_owner_that_never_was_is_collected(cluster, autojump_clock):
    pod = a_pod()
    pod["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "gone"}
    ]
    cluster.create(pod)
    await settle(1)
    assert not cluster.objects("pods")


async def test_a_pod_waits_for_a_node_that_fits(cluster, autojump_clock):
    taint = {"key": "provider", "value": "x", "effect": "NoSchedule"}
    cluster.create(a_node("tainted", taints=[taint]))
    cluster.create(a_node("not-ready", ready=False))
    cluster.create(a_pod("plain"))
    cluster.create(
        a_pod(
            "tolerant",
            tolerations=[{"key": "provider", "operator": "Equal", "value": "x"}],
            nodeSelector={"kubernetes.io/hostname": "tainted"},
        )
    )
    await settle(1)
    assert cluster.get("pods", "tolerant")["spec"]["nodeName"] == "tainted"
    assert condition(cluster.get("pods", "tolerant"), "PodScheduled")["status"] == "True"
    waiting = condition(cluster.get("pods", "plain"), "PodScheduled")
    assert (waiting["status"], waiting["reason"]) == ("False", "Unschedulable")
    assert waiting["message"] == (
        "0/2 nodes are available: 1 node(s) had untolerated taint {provider: x}, "
        "1 node(s) were not ready."
    )
    cluster.create(a_node("plain-node"))
    await settle(1)
    assert cluster.get("pods", "plain")["spec"]["nodeName"] == "plain-node"
    assert cluster.get("pods", "plain")["metadata"]["generation"] == 1


async def test_pods_spread_over_nodes(cluster, autojump_clock):
    for number in range(3):
        cluster.create(a_node(f"node-{number}"))
    cluster.create(a_deployment(replicas=9))
    await settle(1)
    nodes = [pod["spec"]["nodeName"] for pod in cluster.objects("pods")]
    assert {nodes.count(name) for name in nodes} == {3}


async def test_a_pod_waits_for_its_claim(cluster, autojump_clock):
    cluster.create(a_node())
    cluster.create(a_claim())
    source = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    cluster.create(a_pod(volumes=[source]))
    await settle(1)
    assert "nodeName" not in cluster.get("pods", "web")["spec"]
    cluster.create(a_volume(claimRef={"namespace": "default", "name": "data"}))
    await settle(1)
    assert cluster.get("pods", "web")["spec"]["nodeName"] == "node-1"
    claim, volume = (
        cluster.get("persistentvolumeclaims", "data"),
        cluster.get("persistentvolumes", "volume-1"),
    )
    assert claim["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "10Mi"},
    }
    assert claim["spec"]["volumeName"] == "volume-1"
    assert volume["status"]["phase"] == "Bound"
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]


async def test_a_claim_is_bound_to_the_smallest_free_volume_that_will_do(cluster, autojump_clock):
    for name, spec in {
        "small": {"capacity": {"storage": "9Mi"}},
        "large": {"capacity": {"storage": "1Gi"}},
        "fitting": {"capacity": {"storage": "20480Ki"}},
        "reading": {"accessModes": ["ReadOnlyMany"]},
        "block": {"volumeMode": "Block"},
        "other": {"storageClassName": "slow"},
    }.items():
        cluster.create(a_volume(name, **spec))
    cluster.create(a_claim())
    await settle(1)
    claim = cluster.get("persistentvolumeclaims", "data")
    assert claim["spec"]["volumeName"] == "fitting"
    assert claim["status"]["capacity"] == {"storage": "20480Ki"}


EPHEMERAL = {"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": a_claim()["spec"]}}}


async def test_an_ephemeral_volume_is_a_claim_that_goes_with_its_pod(cluster, autojump_clock):
    cluster.create(a_node())
    pod = cluster.create(a_pod(volumes=[EPHEMERAL]))
    await settle(1)
    claim = cluster.get("persistentvolumeclaims", "web-data")
    [owner] = claim["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (pod["metadata"]["uid"], True)
    assert "nodeName" not in cluster.get("pods", "web")["spec"]
    cluster.create(a_volume())
    await settle(1)
    assert cluster.get("pods", "web")["spec"]["nodeName"] == "node-1"
    cluster.delete(pod, grace_seconds=0)
    await settle(1)
    assert not cluster.objects("persistentvolumeclaims")


async def test_an_ephemeral_volume_does_not_take_anothers_claim(cluster, autojump_clock):
    cluster.create(a_claim("web-data"))
    cluster.create(a_pod(volumes=[EPHEMERAL]))
    await settle(1)
    assert "ownerReferences" not in cluster.get("persistentvolumeclaims", "web-data")["metadata"]
    events = [one for one in cluster.objects("events") if one["reason"] == "FailedMount"]
    assert {"not created for pod" in event["message"] for event in events} == {True}


async def test_a_claim_in_use_outlives_its_deletion_until_the_pod_is_gone(cluster, autojump_clock):
    cluster.create(a_claim())
    cluster.create(a_volume(claimRef={"namespace": "default", "name": "data"}))
    source = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    pod = cluster.create(a_pod(volumes=[source], nodeName="node-1"))
    await settle(1)
    cluster.delete(a_claim())
    await settle(10)
    claim = cluster.get("persistentvolumeclaims", "data")
    assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert "deletionTimestamp" in claim["metadata"]
    cluster.delete(pod, grace_seconds=0)
    await settle(1)
    assert not cluster.objects("persistentvolumeclaims")
    assert cluster.get("persistentvolumes", "volume-1")["status"]["phase"] == "Released"
    cluster.delete(a_volume())
    await settle(1)
    assert not cluster.objects("persistentvolumes")


async def test_a_released_volume_does_not_bind_to_a_claim_of_the_same_name(cluster, autojump_clock):
    cluster.create(a_claim())
    cluster.create(a_volume(claimRef={"namespace": "default", "name": "data"}))
    await settle(1)
    cluster.delete(a_claim())
    await settle(1)
    cluster.create(a_claim())
    await settle(1)
    assert cluster.get("persistentvolumeclaims", "data")["status"]["phase"] == "Pending"
    assert cluster.get("persistentvolumes", "volume-1")["status"]["phase"] == "Released"


async def test_a_provisioner_is_asked_once_its_time_has_come(cluster, autojump_clock):
    key = "volume.kubernetes.io/storage-provisioner"
    cluster.create(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "late"},
            "provisioner": "volumes.test",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    )
    cluster.create(a_node())
    cluster.create(a_claim(storageClassName="late"))
    await settle(1)
    metadata = cluster.get("persistentvolumeclaims", "data")["metadata"]
    assert key not in metadata.get("annotations", {})
    source = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    cluster.create(a_pod(volumes=[source]))
    await settle(1)
    annotations = cluster.get("persistentvolumeclaims", "data")["metadata"]["annotations"]
    assert annotations["volume.kubernetes.io/selected-node"] == "node-1"
    assert annotations[key] == "volumes.test"


async def test_a_namespace_is_emptied_before_it_goes(cluster, autojump_clock, nursery):
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "brief"}}
    cluster.create(namespace)
    pod = a_pod(nodeName="node-1")
    pod["metadata"]["namespace"] = "brief"
    cluster.create(pod)
    cluster.delete(namespace)
    await settle(5)
    assert cluster.get("namespaces", "brief")["status"]["phase"] == "Terminating"
    assert "deletionTimestamp" in cluster.get("pods", "web", "brief")["metadata"]
    with pytest.raises(ApiError, match="being terminated") as refused:
        cluster.create({**pod, "metadata": {"name": "late", "namespace": "brief"}})
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    nursery.start_soon(partial(run_pods_forever, cluster))
    await settle(5)
    assert "brief" not in names(cluster, "namespaces")
    assert not cluster.objects("serviceaccounts", "brief")


async def test_events_are_forgotten_after_an_hour(cluster, autojump_clock):
    cluster.create(a_node())
    cluster.create(a_pod())
    await settle(3000)
    assert event_reasons(cluster) == {"Scheduled"}
    await settle(1000)
    assert not cluster.objects("events")
    assert len(cluster.storage.objects(PODS)) == 1

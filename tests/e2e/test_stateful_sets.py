"""StatefulSets: stable names and volumes, and Pods that come and go in order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import pod_is_ready
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import continuously, eventually
from tests.e2e.bed.workloads import a_stateful_set

MOUNT = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "ukc-volume",
        "resources": {"requests": {"storage": "10Mi"}},
    },
}


def with_volumes(name: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "app", "image": "nginx", **MOUNT}]
    return a_stateful_set(
        name, volumeClaimTemplates=[CLAIM], template={"containers": containers}, **spec
    )


@pytest.fixture(scope="module", autouse=True)
def _sets(shared_daemon: Daemon, kubectl: Kubectl) -> None:
    """All at once, for each takes its time."""
    kubectl.apply(
        with_volumes("db", replicas=3),
        with_volumes(
            "cache",
            replicas=2,
            podManagementPolicy="Parallel",
            persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Delete"},
        ),
        a_stateful_set("ordered", "missing", replicas=3),
        a_stateful_set("parallel", "missing", replicas=3, podManagementPolicy="Parallel"),
    )


def pods(kubectl: Kubectl, name: str) -> dict[str, dict[str, Any]]:
    """A set's Pods by name, in that order."""
    found = kubectl.items("pods", f"--selector=app={name}")
    return {pod["metadata"]["name"]: pod for pod in found}


def ready(kubectl: Kubectl, name: str, replicas: int) -> bool:
    """the set has that many Pods, all of them Ready"""
    assert list(pods(kubectl, name)) == [f"{name}-{index}" for index in range(replicas)]
    return all(pod_is_ready(kubectl, f"{name}-{index}") for index in range(replicas))


def instances(cloud: Cloud, name: str) -> dict[str, dict[str, Any]]:
    """A set's, by the name of the Pod."""
    return {
        key.removesuffix("-app"): instance
        for key, instance in sorted(cloud.instances().items())
        if key.startswith(f"{name}-")
    }


def mounted(cloud: Cloud, name: str) -> dict[str, str]:
    """The UUID of the volume that each Pod of a set has at /data."""
    volumes = cloud.volumes()
    found = {}
    for pod, instance in instances(cloud, name).items():
        (mount,) = instance["volumes"]
        assert (mount["name"], mount["at"]) == (f"data-{pod}", "/data")
        found[pod] = volumes[mount["name"]]["uuid"]
    return found


def in_order_of_creation(cloud: Cloud, name: str) -> list[str]:
    """As the platform lists them: their times are whole seconds."""
    return [
        instance.removesuffix("-app")
        for instance in cloud.instances()
        if instance.startswith(f"{name}-")
    ]


def update(kubectl: Kubectl, name: str, image: str, **strategy: Any) -> None:
    """Ask for another image, by a rolling update with these parameters."""
    patch = {
        "spec": {
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": strategy or None},
            "template": {"spec": {"containers": [{"name": "app", "image": image}]}},
        }
    }
    kubectl("patch", "statefulset", name, f"--patch={json.dumps(patch)}")


def images(kubectl: Kubectl, name: str) -> list[str]:
    """What each Pod of a set runs, by its status, in order."""
    return [
        pod["status"]["containerStatuses"][0]["image"].rpartition("/")[2]
        for pod in pods(kubectl, name).values()
        if "deletionTimestamp" not in pod["metadata"]
    ]


def test_each_pod_starts_after_the_one_before_it(kubectl: Kubectl, cloud: Cloud) -> None:
    eventually(lambda: ready(kubectl, "db", 3))
    by_pod = instances(cloud, "db")
    assert list(by_pod) == ["db-0", "db-1", "db-2"]
    assert by_pod["db-0"]["started_at"] <= by_pod["db-1"]["created_at"]
    assert by_pod["db-1"]["started_at"] <= by_pod["db-2"]["created_at"]
    assert len(set(mounted(cloud, "db").values())) == 3


def test_deleted_pod_comes_back_with_its_name_and_its_volume(
    kubectl: Kubectl, cloud: Cloud
) -> None:
    eventually(lambda: ready(kubectl, "db", 3))
    pods_before, volumes_before = pods(kubectl, "db"), mounted(cloud, "db")
    kubectl("delete", "pod", "db-1", "--timeout=30s")

    def back() -> bool:
        """another Pod of that name is Ready"""
        ready(kubectl, "db", 3)
        fresh = pods(kubectl, "db")["db-1"]["metadata"]["uid"]
        return bool(fresh != pods_before["db-1"]["metadata"]["uid"])

    eventually(back)
    assert mounted(cloud, "db") == volumes_before


def test_rescaled_set_loses_its_last_pods_first_and_finds_its_volumes_again(
    kubectl: Kubectl, cloud: Cloud
) -> None:
    eventually(lambda: ready(kubectl, "db", 3))
    before = mounted(cloud, "db")
    kubectl("scale", "statefulset/db", "--replicas=1")
    seen = set()

    def shrunk() -> bool:
        """one Pod is left"""
        names = tuple(pods(kubectl, "db"))
        seen.add(names)
        return names == ("db-0",)

    eventually(shrunk)
    assert seen <= {("db-0", "db-1", "db-2"), ("db-0", "db-1"), ("db-0",)}
    assert list(instances(cloud, "db")) == ["db-0"]
    states = {f"data-{pod}": cloud.volumes()[f"data-{pod}"]["state"] for pod in before}
    assert states == {"data-db-0": "mounted", "data-db-1": "available", "data-db-2": "available"}

    kubectl("scale", "statefulset/db", "--replicas=3")
    eventually(lambda: ready(kubectl, "db", 3))
    assert mounted(cloud, "db") == before


def test_rolling_update_goes_from_the_last_pod_to_the_first_and_stops_at_the_partition(
    kubectl: Kubectl, cloud: Cloud
) -> None:
    eventually(lambda: ready(kubectl, "db", 3))
    before = mounted(cloud, "db")
    update(kubectl, "db", "nginx:2", partition=2)
    eventually(lambda: images(kubectl, "db") == ["nginx", "nginx", "nginx:2"])
    eventually(lambda: ready(kubectl, "db", 3))
    continuously(lambda: images(kubectl, "db") == ["nginx", "nginx", "nginx:2"], seconds=0.5)

    update(kubectl, "db", "nginx:2", partition=0)
    kubectl("rollout", "status", "statefulset/db", "--timeout=30s", timeout=40)
    assert images(kubectl, "db") == ["nginx:2"] * 3
    assert in_order_of_creation(cloud, "db") == ["db-2", "db-1", "db-0"]
    assert mounted(cloud, "db") == before


def test_set_that_waits_for_its_first_pod_has_no_second(kubectl: Kubectl) -> None:
    eventually(lambda: list(pods(kubectl, "parallel")) == [f"parallel-{i}" for i in range(3)])
    assert list(pods(kubectl, "ordered")) == ["ordered-0"]


def test_volumes_that_are_not_to_be_retained_go_with_their_pods(
    kubectl: Kubectl, cloud: Cloud
) -> None:
    eventually(lambda: ready(kubectl, "cache", 2))
    before = mounted(cloud, "cache")
    kubectl("scale", "statefulset/cache", "--replicas=1")
    eventually(lambda: "data-cache-1" not in cloud.volumes())
    assert mounted(cloud, "cache") == {"cache-0": before["cache-0"]}
    kubectl("delete", "statefulset", "cache")
    eventually(lambda: "data-cache-0" not in cloud.volumes())

"""A namespace that is deleted takes everything along, in the cloud too."""

from __future__ import annotations

from typing import Any

from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually
from tests.e2e.bed.workloads import a_deployment, a_job, a_pod, a_stateful_set

NAMESPACE = "doomed"
GRACE = {"terminationGracePeriodSeconds": 2}


def a_service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 443, "targetPort": 8080}]},
    }


def a_namespace_full() -> list[dict[str, Any]]:
    """One of everything, and a Pod that waits for what never comes."""
    mounts = [{"name": "data", "mountPath": "/data"}]
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "ukc-volume",
            "resources": {"requests": {"storage": "10Mi"}},
        },
    }
    objects = [
        a_deployment("web", replicas=2, template=GRACE),
        a_service("web"),
        a_stateful_set(
            "db",
            replicas=2,
            podManagementPolicy="Parallel",
            volumeClaimTemplates=[claim],
            template={
                "containers": [{"name": "app", "image": "nginx", "volumeMounts": mounts}],
                **GRACE,
            },
        ),
        a_job("work", "nginx", parallelism=2, template=GRACE),
        a_pod("waits", "missing", **GRACE),
        a_pod("crashes", "fails", **GRACE),
        a_pod("done", "busybox", restartPolicy="Never"),
    ]
    for item in objects:
        item["metadata"]["namespace"] = NAMESPACE
    return objects


def test_deleted_namespace_leaves_nothing(daemon: Daemon, kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl("create", "namespace", NAMESPACE)
    eventually(lambda: kubectl.json("get", "serviceaccount", "default", f"--namespace={NAMESPACE}"))
    kubectl.apply(*a_namespace_full())

    def full() -> bool:
        """all that can run there does"""
        found = kubectl.items("pods", f"--namespace={NAMESPACE}")
        running = sum(pod["status"]["phase"] == "Running" for pod in found)
        return running >= 6 and len(cloud.volumes()) == 2 and len(cloud.service_groups()) == 1

    eventually(full)
    kubectl("delete", "namespace", NAMESPACE, "--timeout=60s", timeout=70)
    eventually(lambda: cloud.resources() == {})
    assert kubectl.items("persistentvolumes") == []

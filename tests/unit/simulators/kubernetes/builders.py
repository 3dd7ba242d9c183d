"""Objects to begin with, and a node that runs whatever it is given."""

from __future__ import annotations

from typing import Any

import orjson
import trio

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.kubernetes.resources import PODS
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator

Json = dict[str, Any]


def a_pod(name: str = "web", **spec: Any) -> Json:
    containers = [{"name": "app", "image": "nginx:1.27"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers, **spec},
    }


def a_node(name: str = "node-1", *, ready: bool = True, **spec: Any) -> Json:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"conditions": [condition], "capacity": {"pods": "110"}},
    }


def a_deployment(name: str = "web", *, replicas: int = 4, **spec: Any) -> Json:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": "nginx:1"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template,
            **spec,
        },
    }


def a_claim(name: str = "data", **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Mi"}},
            "storageClassName": "fast",
            **spec,
        },
    }


def a_volume(name: str = "volume-1", **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "10Mi"},
            "storageClassName": "fast",
            "csi": {"driver": "volumes.test", "volumeHandle": name},
            **spec,
        },
    }


async def request(
    cluster: KubernetesSimulator,
    method: str,
    path: str,
    body: Any = None,
    *,
    content_type: str = "application/json",
    **query: str,
) -> tuple[int, Json]:
    """Status and decoded body."""
    response = await cluster.handle(
        Request(
            method=method,
            path=path,
            query_string="&".join(f"{name}={text}" for name, text in query.items()),
            headers={"content-type": content_type},
            body=b"" if body is None else orjson.dumps(body),
        )
    )
    assert response.stream is None
    return response.status, orjson.loads(response.body)


async def run_pods_forever(cluster: KubernetesSimulator, *, start_seconds: float = 1.0) -> None:
    """A node as short as can be: its Pods become ready after a while, and end when deleted."""
    with cluster.storage.subscribed([PODS]) as subscription:
        while True:
            for pod in cluster.storage.objects(PODS):
                status = pod.value["status"]
                if pod.deleting:
                    cluster.delete(pod.value, grace_seconds=0)
                elif pod.value["spec"].get("nodeName") and status["phase"] == "Pending":
                    await trio.sleep(start_seconds)
                    set_ready(cluster, pod.name, namespace=pod.namespace)
            await subscription.wait()


def set_ready(
    cluster: KubernetesSimulator, name: str, *, namespace: str = "default", ready: bool = True
) -> None:
    """Only if the Pod is still there."""

    def running(pod: Json) -> Json:
        condition = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        pod["status"] |= {"phase": "Running", "conditions": [condition]}
        return pod

    if cluster.storage.get(PODS, namespace, name) is not None:
        cluster.change("pods", name, running, namespace, subresource="status")

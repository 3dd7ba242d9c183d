"""Manifests as users write them: small builders with plain defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

NODE = "kraftlet"
_TOLERATION = {"key": "virtual-kubelet.io/provider", "operator": "Exists", "effect": "NoSchedule"}


def a_container(name: str = "app", image: str = "nginx:latest", **fields: Any) -> Json:
    """With a list *ports* of numbers; other fields as Kubernetes spells them."""
    ports = [{"containerPort": port} for port in fields.pop("ports", ())]
    mounts = [
        {"name": volume, "mountPath": path} for volume, path in fields.pop("mounts", {}).items()
    ]
    return {
        "name": name,
        "image": image,
        **({"ports": ports} if ports else {}),
        **({"volumeMounts": mounts} if mounts else {}),
        **fields,
    }


def a_pod_spec(
    *containers: Json,
    init: tuple[Json, ...] = (),
    claims: Mapping[str, str] | None = None,
    **fields: Any,
) -> Json:
    """*claims*: name of a volume → name of its claim."""
    volumes = [
        {"name": volume, "persistentVolumeClaim": {"claimName": claim}}
        for volume, claim in (claims or {}).items()
    ]
    return {
        "containers": list(containers) or [a_container(ports=[8080])],
        "tolerations": [_TOLERATION],
        **({"initContainers": list(init)} if init else {}),
        **({"volumes": volumes} if volumes else {}),
        **fields,
    }


def a_pod(
    name: str = "web",
    *containers: Json,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Json:
    """Bound to the daemon's node and labelled ``app: <name>`` unless said otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict({"app": name} if labels is None else labels),
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "spec": {"nodeName": NODE, **a_pod_spec(*containers, **spec)},
    }


def a_deployment(name: str = "web", *containers: Json, replicas: int = 3, **spec: Any) -> Json:
    """Its Pods are labelled ``app: <name>``; the scheduler has to find them a node."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": a_pod_spec(*containers, **spec)},
        },
    }


def a_service(
    name: str = "web",
    ports: Mapping[int, int | str] | None = None,
    *,
    app: str | None = None,
    namespace: str = "default",
    annotations: Mapping[str, str] | None = None,
) -> Json:
    """*ports*: public port → the container's, 443 → 8080 by default. Selects ``app: <name>``."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "spec": {
            "selector": {"app": app or name},
            "ports": [
                {"name": f"p{port}", "port": port, "targetPort": target}
                for port, target in (ports or {443: 8080}).items()
            ],
        },
    }


def a_claim(name: str = "data", storage: str = "10Mi", *, namespace: str = "default") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "storageClassName": "ukc-volume",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}},
        },
    }


def a_config_map(name: str = "settings", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def with_container_image(workload: Json, image: str) -> Json:
    """A Deployment with another image in its first container."""
    workload["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return workload

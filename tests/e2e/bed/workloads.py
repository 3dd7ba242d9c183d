"""Manifests of workloads for the node: a template that it runs, and controllers around it."""

from __future__ import annotations

from typing import Any

from tests.e2e.bed.daemon import NODE

TOLERATION = {"key": "virtual-kubelet.io/provider", "operator": "Exists"}


def a_pod_spec(image: str = "nginx", **spec: Any) -> dict[str, Any]:
    """Of one container ``app``, on the daemon's node."""
    return {
        "nodeSelector": {"kubernetes.io/hostname": NODE},
        "tolerations": [TOLERATION],
        "containers": [{"name": "app", "image": image}],
        **spec,
    }


def a_pod(name: str, image: str = "nginx", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": a_pod_spec(image, **spec),
    }


def a_job(
    name: str, image: str, *, template: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """Its Pods are not restarted unless the *template* says otherwise."""
    pod = a_pod_spec(image, **{"restartPolicy": "Never", **(template or {})})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": pod}, **spec},
    }


def a_cron_job(name: str, image: str, schedule: str, **spec: Any) -> dict[str, Any]:
    """*schedule* is in UTC."""
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {
            "schedule": schedule,
            "timeZone": "Etc/UTC",
            "jobTemplate": {"spec": a_job(name, image)["spec"]},
            **spec,
        },
    }


def a_deployment(
    name: str,
    image: str = "nginx",
    *,
    replicas: int = 1,
    template: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    return _replicated("Deployment", name, image, replicas, template, spec)


def a_stateful_set(
    name: str,
    image: str = "nginx",
    *,
    replicas: int = 1,
    template: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    return _replicated(
        "StatefulSet", name, image, replicas, template, {"serviceName": name, **spec}
    )


def _replicated(
    kind: str,
    name: str,
    image: str,
    replicas: int,
    template: dict[str, Any] | None,
    spec: dict[str, Any],
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": a_pod_spec(image, **(template or {})),
            },
            **spec,
        },
    }

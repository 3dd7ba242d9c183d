"""Defaults of a Pod's spec, for Pods and for the templates in Deployments and ReplicaSets.

Source: the core group's ``defaults.go``.
"""

from __future__ import annotations

from typing import Any

from kraftlet_trio.simulators.kubernetes.resources import Json

_VOLUME_MODES = ("configMap", "secret", "downwardAPI", "projected")
_DEFAULT_MODE = 0o644


def default_pod_spec(spec: Json) -> None:
    """Fill in, in place, what every Pod and Pod template gets."""
    for field, default in (
        ("restartPolicy", "Always"),
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("securityContext", {}),
        ("schedulerName", "default-scheduler"),
    ):
        spec.setdefault(field, default)
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    elif "serviceAccount" in spec:
        spec["serviceAccountName"] = spec["serviceAccount"]
    for volume in spec.get("volumes", ()):
        _default_volume(volume)
    for container in all_containers(spec):
        _default_container(container)


def all_containers(spec: Json) -> list[Json]:
    """Init containers and then the others."""
    return [*spec.get("initContainers", ()), *spec.get("containers", ())]


def default_requests(spec: Json) -> None:
    """A limit without a request is the request too (Pods only, not templates)."""
    for container in all_containers(spec):
        resources = container.get("resources", {})
        for name, quantity in resources.get("limits", {}).items():
            resources.setdefault("requests", {}).setdefault(name, quantity)


def canonical_quantities(quantities: Json) -> None:
    """A quantity written as a number becomes the string that the server would answer with."""
    for name, quantity in quantities.items():
        if isinstance(quantity, int):
            quantities[name] = str(quantity)
        elif isinstance(quantity, float):
            quantities[name] = f"{round(quantity * 1000)}m"


def _default_container(container: Json) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if "image" in container:
        container.setdefault("imagePullPolicy", _pull_policy(container["image"]))
    resources = container.setdefault("resources", {})
    for quantities in (resources.get("limits"), resources.get("requests")):
        canonical_quantities(quantities or {})
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for variable in container.get("env", ()):
        _default_field_ref(variable.get("valueFrom", {}))
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            _default_probe(container[probe])
    for hook in container.get("lifecycle", {}).values():
        if isinstance(hook, dict):
            _default_http_get(hook)


def _pull_policy(image: str) -> str:
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if not digest and tag in ("", "latest") else "IfNotPresent"


def _default_probe(probe: Json) -> None:
    for field, default in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe[field] = probe.get(field) or default
    _default_http_get(probe)
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _default_http_get(handler: Json) -> None:
    if "httpGet" in handler:
        handler["httpGet"].setdefault("path", "/")
        handler["httpGet"].setdefault("scheme", "HTTP")


def _default_volume(volume: Json) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for kind in _VOLUME_MODES:
        if kind in volume:
            volume[kind].setdefault("defaultMode", _DEFAULT_MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    _default_downward_items(volume.get("downwardAPI", {}))
    for source in volume.get("projected", {}).get("sources", ()):
        _default_downward_items(source.get("downwardAPI", {}))
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def _default_downward_items(source: Json) -> None:
    for item in source.get("items", ()):
        _default_field_ref(item)


def _default_field_ref(source: Json) -> None:
    reference: Any = source.get("fieldRef")
    if reference is not None:
        reference.setdefault("apiVersion", "v1")

"""Manifests as users write them, and the Pods that come of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import yaml

Json = dict[str, Any]

_SUFFIX = "xxxxx"
"""Stands for characters that the control plane makes up."""
_POD_TEMPLATES = {
    "Deployment": f"-{'x' * 10}-{_SUFFIX}",
    "ReplicaSet": f"-{_SUFFIX}",
    "ReplicationController": f"-{_SUFFIX}",
    "StatefulSet": "-0",
    "DaemonSet": f"-{_SUFFIX}",
    "Job": f"-{_SUFFIX}",
    "CronJob": f"-{'x' * 8}-{_SUFFIX}",
}
"""Kinds that make Pods of a template, and the end of these Pods' names."""
_SUPPORTING = (
    "Service",
    "ConfigMap",
    "Secret",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StorageClass",
)
_CLUSTER_WIDE = ("PersistentVolume", "StorageClass", "Namespace", "Node")


class ManifestError(Exception):
    """Input that is no manifest: the text names it and says what is wrong with it."""


@attrs.frozen
class PodManifest:
    """A Pod, or the one Pod that a workload is explained by."""

    manifest: Json
    made_by: str = ""
    """``Deployment web (3 replicas)``; empty for a Pod that was written as such."""


def read_manifests(text: str, origin: str, namespace: str) -> list[Json]:
    """The objects in a YAML or JSON *text*, Lists taken apart; *origin* is its name for messages.

    Those that name no namespace get *namespace*.

    Raises:
        ManifestError: it is not made of Kubernetes objects.
    """
    try:
        documents = [part for part in yaml.safe_load_all(text) if part is not None]
    except yaml.YAMLError as error:
        raise ManifestError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    manifests: list[Json] = []
    for number, document in enumerate(documents, start=1):
        where = origin if len(documents) == 1 else f"{origin}, document {number}"
        manifests += _objects(document, where, namespace)
    return manifests


def _objects(document: Any, where: str, namespace: str) -> Iterator[Json]:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise ManifestError(f"{where} is no Kubernetes object: it has no kind")
    kind = document["kind"]
    if kind.endswith("List") and isinstance(document.get("items"), list):
        for number, item in enumerate(document["items"], start=1):
            yield from _objects(item, f"{where}, item {number}", namespace)
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise ManifestError(f"{where}: {kind} has no metadata.name; write one")
    if kind not in _CLUSTER_WIDE:
        metadata.setdefault("namespace", namespace)
    yield document


def is_understood(manifest: Json) -> bool:
    """Whether *manifest* makes Pods, or has a part in what becomes of them."""
    kind = manifest["kind"]
    return kind == "Pod" or kind in _POD_TEMPLATES or kind in _SUPPORTING


def pods_of(manifests: Iterable[Json]) -> list[PodManifest]:
    """The Pods among *manifests*, and one for each workload. Raises ``ManifestError``."""
    pods = []
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            pods.append(PodManifest(copy.deepcopy(manifest)))
        elif manifest["kind"] in _POD_TEMPLATES:
            pods.append(_example_pod(manifest))
    return pods


def claims_of(manifests: Iterable[Json]) -> Iterator[Json]:
    """The claims that StatefulSets make for their first Pod."""
    for manifest in manifests:
        if manifest["kind"] != "StatefulSet":
            continue
        metadata = manifest["metadata"]
        for template in _part(manifest, "spec").get("volumeClaimTemplates") or ():
            yield {
                **copy.deepcopy(template),
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    **template.get("metadata", {}),
                    "name": f"{template['metadata']['name']}-{metadata['name']}-0",
                    "namespace": metadata["namespace"],
                },
            }


def _example_pod(manifest: Json) -> PodManifest:
    kind, metadata = manifest["kind"], manifest["metadata"]
    spec = _part(manifest, "spec")
    if kind == "CronJob":
        spec = _part(_part(manifest, "spec", "jobTemplate"), "spec")
    template = copy.deepcopy(spec.get("template"))
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        raise ManifestError(f"{kind} {metadata['name']} has no Pod template; write spec.template")
    given = template.get("metadata") or {}
    labels = dict(given.get("labels") or {})
    if kind == "Deployment":
        labels["pod-template-hash"] = "x" * 10
    if kind == "StatefulSet":
        labels["statefulset.kubernetes.io/pod-name"] = f"{metadata['name']}-0"
        template["spec"].setdefault("hostname", f"{metadata['name']}-0")
        template["spec"]["volumes"] = [*_claim_volumes(spec, metadata["name"], template["spec"])]
    owner_kind = "ReplicaSet" if kind == "Deployment" else kind
    owner_kind = "Job" if kind == "CronJob" else owner_kind
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **given,
            "name": f"{metadata['name']}{_POD_TEMPLATES[kind]}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1" if "Job" in owner_kind else "apps/v1",
                    "kind": owner_kind,
                    "name": metadata["name"],
                    "uid": f"uid-of-{metadata['name']}",
                    "controller": True,
                }
            ],
        },
        "spec": template["spec"],
    }
    return PodManifest(pod, f"{kind} {metadata['name']}{_how_many(kind, spec)}")


def _claim_volumes(spec: Json, name: str, pod_spec: Json) -> Iterator[Json]:
    """The Pod's volumes, with those of a StatefulSet's claims in the place of namesakes."""
    claims = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates") or ()]
    for volume in pod_spec.get("volumes") or ():
        if volume.get("name") not in claims:
            yield volume
    for claim in claims:
        yield {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}-0"}}


def _how_many(kind: str, spec: Json) -> str:
    if kind in ("Job", "CronJob"):
        count = spec.get("completions") or spec.get("parallelism") or 1
        return f" ({count} completions)" if count != 1 else ""
    if kind == "DaemonSet":
        return " (one a node)"
    count = spec.get("replicas", 1)
    return f" ({count} replicas)" if count != 1 else ""


def _part(manifest: Json, *path: str) -> Json:
    part: Any = manifest
    for step in path:
        part = part.get(step) if isinstance(part, dict) else None
    if not isinstance(part, dict):
        name = manifest.get("metadata", {}).get("name", "")
        raise ManifestError(f"{manifest.get('kind', 'object')} {name} has no {'.'.join(path)}")
    return part

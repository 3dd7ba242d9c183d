"""What the API server fills into objects, as far as it matters for what they become.

Source: the core group's ``defaults.go``, and the admission of ServiceAccounts.
"""

from __future__ import annotations

from typing import Any

from kraftlet_trio.mapping.image_reference import default_pull_policy

Json = dict[str, Any]

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_VOLUME = "kube-api-access-xxxxx"
_TOKEN_SECONDS = 3607


def fill_in_pod(pod: Json) -> None:
    """In place."""
    metadata, spec = pod["metadata"], pod["spec"]
    metadata.setdefault("uid", f"uid-of-{metadata['name']}")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    for container in containers:
        if image := container.get("image"):
            container.setdefault("imagePullPolicy", default_pull_policy(image))
        _fill_in_resources(container.get("resources") or {})
    if spec.get("automountServiceAccountToken") is not False:
        _mount_token(spec, containers)


def fill_in_service(service: Json) -> None:
    """In place. An address that is given only later is shown as such."""
    name, spec = service["metadata"]["name"], service.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    if spec["type"] != "ExternalName":
        spec.setdefault("clusterIP", f"<IP of Service {name}>")


def _fill_in_resources(resources: Json) -> None:
    for side in ("limits", "requests"):
        for resource, amount in (resources.get(side) or {}).items():
            resources[side][resource] = str(amount)
    for resource, amount in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(resource, amount)


def _mount_token(spec: Json, containers: list[Json]) -> None:
    """As admission does, for each container that has nothing else there."""
    mounted = False
    for container in containers:
        mounts = container.get("volumeMounts") or []
        if all(mount.get("mountPath") != TOKEN_PATH for mount in mounts):
            mount = {"name": _TOKEN_VOLUME, "mountPath": TOKEN_PATH, "readOnly": True}
            container["volumeMounts"] = [*mounts, mount]
            mounted = True
    if not mounted:
        return
    certificate = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    namespace = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
    spec["volumes"] = [
        *(spec.get("volumes") or ()),
        {
            "name": _TOKEN_VOLUME,
            "projected": {
                "defaultMode": 0o644,
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}},
                    {"configMap": certificate},
                    {"downwardAPI": {"items": [namespace]}},
                ],
            },
        },
    ]

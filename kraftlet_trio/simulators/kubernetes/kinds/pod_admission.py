"""What admission adds to a new Pod: service account, tolerations, priority."""

from __future__ import annotations

from kraftlet_trio.simulators.kubernetes.errors import forbidden
from kraftlet_trio.simulators.kubernetes.kinds.pod_defaults import all_containers
from kraftlet_trio.simulators.kubernetes.metadata import random_suffix
from kraftlet_trio.simulators.kubernetes.resources import PODS, SERVICE_ACCOUNTS, Json
from kraftlet_trio.simulators.kubernetes.storage import Storage

_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_LIFE_SECONDS = 3607
"""An hour, and seven seconds by which the API server tells its own volumes. Source: admission."""
_TOLERATION_SECONDS = 300
ROOT_CERTIFICATE_CONFIG_MAP = "kube-root-ca.crt"


def admit_pod(pod: Json, storage: Storage) -> None:
    """Change a new Pod in place. Raises ``ApiError`` (403) if its service account is missing."""
    spec = pod["spec"]
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    _tolerate_short_outages(spec)
    _give_service_account(pod, storage)


def _tolerate_short_outages(spec: Json) -> None:
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(
            toleration.get("key", key) == key
            and toleration.get("effect", "NoExecute") == "NoExecute"
            for toleration in tolerations
        ):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _TOLERATION_SECONDS,
                }
            )


def _give_service_account(pod: Json, storage: Storage) -> None:
    spec, metadata = pod["spec"], pod["metadata"]
    name = spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = name
    account = storage.get(SERVICE_ACCOUNTS, metadata["namespace"], name)
    if account is None:
        raise forbidden(
            PODS,
            metadata["name"],
            f"error looking up service account {metadata['namespace']}/{name}: "
            f'serviceaccount "{name}" not found',
        )
    if secrets := account.value.get("imagePullSecrets"):
        spec.setdefault("imagePullSecrets", secrets)
    default = account.value.get("automountServiceAccountToken", True)
    if spec.get("automountServiceAccountToken", default):
        _mount_token(spec)


def _mount_token(spec: Json) -> None:
    unmounted = [
        container
        for container in all_containers(spec)
        if all(mount.get("mountPath") != _TOKEN_PATH for mount in container.get("volumeMounts", ()))
    ]
    if not unmounted:
        return
    volume = f"kube-api-access-{random_suffix()}"
    spec.setdefault("volumes", []).append(_token_volume(volume))
    for container in unmounted:
        container.setdefault("volumeMounts", []).append(
            {"name": volume, "readOnly": True, "mountPath": _TOKEN_PATH}
        )


def _token_volume(name: str) -> Json:
    token = {"expirationSeconds": _TOKEN_LIFE_SECONDS, "path": "token"}
    certificate = {
        "name": ROOT_CERTIFICATE_CONFIG_MAP,
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
    }
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    sources = [
        {"serviceAccountToken": token},
        {"configMap": certificate},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}

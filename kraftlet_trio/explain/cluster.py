"""The manifests as an API server would show them, so that the daemon's own code can ask for them.

Values of Secrets stay outside: what is handed out has placeholders in their places. An object that
is referred to, but not given, is made up of placeholders too, and noted as an assumption; one that
may be missing is missing.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import attrs
import orjson

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.kubernetes.serialization import timestamp

Json = dict[str, Any]
Fetch = Callable[[str], Awaitable[Json | None]]
"""Reads the object at a path of a real cluster; None where there is none."""

_PLURALS = {
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "Service": "services",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "PersistentVolume": "persistentvolumes",
    "StorageClass": "storageclasses",
    "Pod": "pods",
}
_PULL_SECRETS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
_TOKEN_LIFE = timedelta(hours=1)


@attrs.define
class ManifestCluster:
    """Answers reads of single objects."""

    _objects: dict[tuple[str, str, str], Json] = attrs.field(factory=dict, init=False)
    _needed: dict[tuple[str, str, str], set[str]] = attrs.field(factory=dict, init=False)
    """Keys that Pods need of ConfigMaps and Secrets, by plural, namespace and name."""
    fetch: Fetch | None = None
    """None: there is no cluster to ask for what the manifests leave out."""
    assumptions: dict[str, None] = attrs.field(factory=dict, init=False)
    """What was made up, in the order in which it was asked for."""

    def add(self, manifest: Json) -> None:
        kind: str = manifest["kind"]
        metadata = manifest["metadata"]
        if kind == "Secret":
            manifest = without_values(manifest)
        key = (_PLURALS.get(kind, kind), metadata.get("namespace", ""), metadata["name"])
        self._objects[key] = manifest

    def add_needs(self, pod: Json) -> None:
        """Note which objects *pod* cannot do without."""
        namespace = pod["metadata"]["namespace"]
        for plural, name, keys in _needs(pod["spec"]):
            self._needed.setdefault((plural, namespace, name), set()).update(keys)

    async def handle(self, request: Request) -> Response:
        """A ``Handler``."""
        parts = request.path.strip("/").split("/")
        match parts:
            case [*_, "namespaces", namespace, plural, name]:
                found = await self._object(request.path, plural, namespace, name)
            case [*_, "namespaces", _, "serviceaccounts", _, "token"]:
                expires = timestamp(utc_now() + _TOKEN_LIFE)
                found = {"status": {"token": "<token>", "expirationTimestamp": expires}}
            case [*_, plural, name]:
                found = await self._object(request.path, plural, "", name)
            case _:
                found = None
        if found is None:
            status = {"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404}
            return json_response({**status, "message": f"{request.path} not found"}, 404)
        return json_response(found)

    async def _object(self, path: str, plural: str, namespace: str, name: str) -> Json | None:
        key = (plural, namespace, name)
        if key not in self._objects and self.fetch is not None:
            if (fetched := await self.fetch(path)) is not None:
                self._objects[key] = without_values(fetched) if plural == "secrets" else fetched
        elif key not in self._objects and key in self._needed:
            self._objects[key] = self._made_up(*key)
        return self._objects.get(key)

    def _made_up(self, plural: str, namespace: str, name: str) -> Json:
        kind = "Secret" if plural == "secrets" else "ConfigMap"
        keys = sorted(self._needed[plural, namespace, name])
        if name != "kube-root-ca.crt":  # every namespace has it
            self.assumptions[f"{kind} {name} is there, and has what is asked of it"] = None
        values = {key: f"<{kind} {name}, key {key}>" for key in keys}
        if kind == "Secret":
            values = {key: _encoded(value) for key, value in values.items()}
        return {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "uid": f"uid-of-{name}"},
            "data": values,
        }


def without_values(secret: Json) -> Json:
    """*secret* with its keys, and the registries that it is for, but none of its values."""
    name, kind = secret["metadata"]["name"], secret.get("type", "")
    keys = [*(secret.get("data") or {}), *(secret.get("stringData") or {})]
    values = {key: _encoded(f"<Secret {name}, key {key}>") for key in keys}
    key = _PULL_SECRETS.get(kind, "")
    if key in keys:
        values[key] = _encoded(_without_credentials(secret, key))
    return {**secret, "data": values, "stringData": None}


def _without_credentials(secret: Json, key: str) -> str:
    """A pull secret's text, in which only the registries are the real ones."""
    written = (secret.get("stringData") or {}).get(key)
    try:
        text = written if written is not None else base64.b64decode(secret["data"][key])
        document = orjson.loads(text)
        registries = document["auths"] if key == ".dockerconfigjson" else document
        hidden = {name: {"username": "hidden", "password": "hidden"} for name in registries}
    except (ValueError, TypeError, KeyError):
        return "unreadable"  # and told to be so by whoever wants to read it
    return orjson.dumps({"auths": hidden} if key == ".dockerconfigjson" else hidden).decode()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _needs(value: Any) -> Iterator[tuple[str, str, Iterable[str]]]:
    """Plural, name and keys of each ConfigMap and Secret that has to be there."""
    if isinstance(value, list):
        for item in value:
            yield from _needs(item)
    if not isinstance(value, dict):
        return
    for field, part in value.items():
        if isinstance(part, dict) and not part.get("optional"):
            name = part.get("name") or part.get("secretName")
            plural = _REFERENCES.get(field)
            if plural and isinstance(name, str):
                items = [item.get("key", "") for item in part.get("items") or ()]
                yield plural, name, [key for key in (part.get("key"), *items) if key]
        yield from _needs(part)


_REFERENCES = {
    "configMapKeyRef": "configmaps",
    "configMapRef": "configmaps",
    "configMap": "configmaps",
    "secretKeyRef": "secrets",
    "secretRef": "secrets",
    "secret": "secrets",
}

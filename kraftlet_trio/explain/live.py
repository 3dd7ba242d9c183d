"""A Pod that there is, explained: it and all it refers to are read from its cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import orjson

from kraftlet_trio.explain.explainer import explain
from kraftlet_trio.explain.explanation import Explanation
from kraftlet_trio.explain.manifests import Json
from kraftlet_trio.kubernetes.config import load_kubeconfig
from kraftlet_trio.kubernetes.connection import ApiConnection, Call
from kraftlet_trio.kubernetes.errors import KubernetesError, NotFound
from kraftlet_trio.kubernetes.resources import (
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SERVICES,
    KubernetesObject,
    Resource,
)
from kraftlet_trio.settings import Settings

T = TypeVar("T", bound=KubernetesObject)


class LiveError(Exception):
    """The cluster does not tell of the Pod."""


async def explain_live(
    name: str, namespace: str, settings: Settings, kubeconfig: Path | None
) -> Explanation:
    """Explain the Pod *name*, in the kubeconfig's namespace unless another is given.

    Raises:
        ConfigError: there is no usable kubeconfig.
        LiveError: the cluster does not answer, or has no such Pod.
        ManifestError: the Pod cannot be read.
    """
    access = load_kubeconfig(kubeconfig)
    connection = ApiConnection(access, None)
    try:
        return await _explained(connection, name, namespace or access.namespace, settings)
    except KubernetesError as error:
        raise LiveError(str(error)) from error
    finally:
        await connection.aclose()


async def _explained(
    connection: ApiConnection, name: str, namespace: str, settings: Settings
) -> Explanation:
    async def fetch(path: str) -> Json | None:
        call = Call(method="GET", path=path, repeatable=True)
        try:
            document: Json = orjson.loads(await connection.answer(call))
        except NotFound:
            return None
        return document

    async def listed(resource: Resource[T]) -> list[Json]:
        found = await fetch(resource.collection_path(namespace)) or {}
        items = found.get("items") or ()
        return [{"apiVersion": "v1", "kind": resource.kind, **item} for item in items]

    pod = await fetch(PODS.object_path(name, namespace))
    if pod is None:
        raise LiveError(f"there is no Pod {name} in namespace {namespace}")
    manifests = [
        {"apiVersion": "v1", "kind": "Pod", **pod},
        *await listed(SERVICES),
        *await listed(PERSISTENT_VOLUME_CLAIMS),
    ]
    return await explain(manifests, settings, fetch=fetch)

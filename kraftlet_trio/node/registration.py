"""The Node object itself: created, or adopted and brought up to date.

What this daemon put on the Node is noted in an annotation of its own. So a label, annotation or
taint that was taken from the settings is taken from the Node too, and nobody else's ever is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import orjson
import structlog
import trio

from kraftlet_trio.kubernetes.client import KubernetesClient, PatchKind
from kraftlet_trio.kubernetes.errors import (
    AlreadyExists,
    Forbidden,
    KubernetesError,
    NotFound,
)
from kraftlet_trio.kubernetes.objects import Node, Taint
from kraftlet_trio.kubernetes.resources import NODES
from kraftlet_trio.node.settings import NodeSettings

log = structlog.get_logger()

APPLIED_ANNOTATION = "unikraft.com/kraftlet-applied"
FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 7.0
"""Both as the kubelet's (pkg/kubelet/kubelet_node_status.go)."""


async def registered_node(client: KubernetesClient, settings: NodeSettings) -> Node:
    """The Node as it is once it exists with all that the settings say. Tries without end."""
    if ignored := ignored_labels(settings):
        log.warning("labels that tell what the node is cannot be set", labels=ignored)
    retry = FIRST_RETRY_SECONDS
    said = ""
    while True:
        try:
            return await _register(client, settings)
        except KubernetesError as error:
            if str(error) != said:
                said = str(error)
                log.warning("cannot register the node", node=settings.name, error=said)
        await trio.sleep(retry)
        retry = min(2 * retry, LONGEST_RETRY_SECONDS)


async def _register(client: KubernetesClient, settings: NodeSettings) -> Node:
    try:
        node = await client.create(NODES, new_node(settings))
    except (AlreadyExists, Forbidden) as refusal:
        # Whoever may not create Nodes may still keep one that was made for them.
        try:
            node = await client.get(NODES, settings.name)
        except NotFound:
            raise refusal from None
    else:
        log.info("node registered", node=settings.name)
        return node
    # The taints first: what was ours is known only until the note is written anew.
    if operations := taint_operations(node, settings):
        try:
            node = await client.patch(NODES, settings.name, operations, kind=PatchKind.JSON)
            log.info("node's taint brought up to date", node=settings.name)
        except Forbidden as error:
            # A kubelet's own identity may set taints at creation only.
            log.warning("the node keeps its taints", node=settings.name, error=str(error))
    if patch := adoption_patch(node, settings):
        node = await client.patch(NODES, settings.name, patch)
        log.info("node brought up to date", node=settings.name)
    return node


def labels(settings: NodeSettings) -> dict[str, str]:
    """Built-in labels and those of the settings, which may not disguise the node."""
    return {
        "kubernetes.io/role": "agent",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": settings.architecture,
        "type": "kubelet",
        **settings.labels,
        **_identity(settings),
    }


def ignored_labels(settings: NodeSettings) -> list[str]:
    """Labels of the settings that the node does not take."""
    identity = _identity(settings)
    return [key for key, value in settings.labels.items() if identity.get(key, value) != value]


def new_node(settings: NodeSettings) -> dict[str, Any]:
    """The object to create."""
    taints = [_taint(settings.taint)] if settings.taint else []
    return {
        "metadata": {
            "name": settings.name,
            "labels": labels(settings),
            "annotations": {**settings.annotations, APPLIED_ANNOTATION: _applied(settings)},
        },
        "spec": {"providerID": settings.provider_id, "taints": taints},
    }


def adoption_patch(node: Node, settings: NodeSettings) -> dict[str, Any]:
    """A merge patch of what the settings say but for the taint; empty if *node* has it all."""
    before = _noted(node)
    metadata = _without_empty(
        {
            "labels": _map_patch(node.metadata.labels, labels(settings), before.labels),
            "annotations": _map_patch(
                node.metadata.annotations,
                {**settings.annotations, APPLIED_ANNOTATION: _applied(settings)},
                before.annotations,
            ),
        }
    )
    spec = {}
    if not node.spec.provider_id and settings.provider_id:
        spec["providerID"] = settings.provider_id
    patch = _without_empty({"metadata": metadata, "spec": spec})
    if patch:
        patch["metadata"] = {**metadata, "uid": node.metadata.uid}
    return patch


def taint_operations(node: Node, settings: NodeSettings) -> list[dict[str, Any]]:
    """A JSON patch that leaves our taint and the foreign ones on *node*; empty if so it is.

    One by one, because a merge patch would replace the list, with fields we do not know.
    """
    wanted, before = settings.taint, _noted(node).taint
    operations: list[dict[str, Any]] = []
    found = False
    # From the last one on: removing does not move those before.
    for index, taint in reversed(list(enumerate(node.spec.taints))):
        identity = (taint.key, taint.effect)
        if wanted and identity == (wanted.key, wanted.effect):
            found = True
            if taint.value != wanted.value:
                operations.append(_operation("replace", str(index), _taint(wanted)))
        elif identity == before:
            operations.append(_operation("remove", str(index)))
    if wanted and not found:
        if node.spec.taints:
            operations.append(_operation("add", "-", _taint(wanted)))
        else:
            operations.append(_operation("add", "", [_taint(wanted)]))
    if operations:
        version = node.metadata.resource_version
        operations.insert(0, {"op": "test", "path": "/metadata/resourceVersion", "value": version})
    return operations


def _operation(op: str, index: str, value: Any = None) -> dict[str, Any]:
    operation = {"op": op, "path": f"/spec/taints/{index}".rstrip("/")}
    return operation if value is None else {**operation, "value": value}


@attrs.frozen
class _Applied:
    """What an earlier start put on the Node."""

    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    taint: tuple[str, str] | None = None
    """Key and effect, which tell taints apart."""


def _applied(settings: NodeSettings) -> str:
    taint = settings.taint
    note = {
        "labels": sorted(labels(settings)),
        "annotations": sorted(settings.annotations),
        "taint": [taint.key, taint.effect] if taint else None,
    }
    return orjson.dumps(note).decode()


def _identity(settings: NodeSettings) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": settings.name,
        "unikraft.com/virtual-kubelet": "true",
    }


def _noted(node: Node) -> _Applied:
    try:
        note = orjson.loads(node.metadata.annotations.get(APPLIED_ANNOTATION, ""))
        taint = note["taint"]
        return _Applied(
            labels=tuple(note["labels"]),
            annotations=tuple(note["annotations"]),
            taint=(taint[0], taint[1]) if taint else None,
        )
    except (ValueError, TypeError, LookupError):
        return _Applied()  # not our Node so far, or somebody wrote into our note


def _map_patch(
    present: Mapping[str, str], wanted: Mapping[str, str], ours_before: Iterable[str]
) -> dict[str, str | None]:
    patch: dict[str, str | None] = {
        key: value for key, value in wanted.items() if present.get(key) != value
    }
    patch.update({key: None for key in ours_before if key in present and key not in wanted})
    return patch


def _taint(taint: Taint) -> dict[str, str]:
    return {"key": taint.key, "value": taint.value, "effect": taint.effect}


def _without_empty(parts: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in parts.items() if part}

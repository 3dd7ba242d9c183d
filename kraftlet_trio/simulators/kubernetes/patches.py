"""The patch formats that the API server takes, on decoded JSON.

Source: RFC 6902 and RFC 7396; strategic merge is next door in ``strategic_merge``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import yaml

from kraftlet_trio.simulators.kubernetes.errors import (
    ApiError,
    bad_request,
    unsupported_media_type,
)
from kraftlet_trio.simulators.kubernetes.resources import Json, Resource
from kraftlet_trio.simulators.kubernetes.strategic_merge import strategic_merge

Change = Callable[[Json], Json]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def patch_function(resource: Resource, content_type: str, body: bytes) -> Change:
    """What the patch does to an object, which it may change in place.

    Raises ``ApiError``: 415 for another format, 400 for a body that is not one; the function
    itself raises 400 or 422 for a patch that does not fit the object.
    """
    match media_type(content_type):
        case "application/json-patch+json":
            operations = _decoded(body, list)
            return lambda value: _apply_operations(value, operations)
        case "application/merge-patch+json":
            merge = _decoded(body, dict)
            return lambda value: merge_patch(value, merge)
        case "application/strategic-merge-patch+json":
            strategic = _decoded(body, dict)
            return lambda value: strategic_merge(resource, value, strategic)
        case "application/apply-patch+yaml":
            applied = applied_configuration(body)
            return lambda value: strategic_merge(resource, value, applied)
        case other:
            raise unsupported_media_type(
                other, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH
            )


def applied_configuration(body: bytes) -> Json:
    """The object in a server-side apply. Raises ``ApiError`` (400)."""
    try:
        value = yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: {error}") from error
    if not isinstance(value, dict):
        raise bad_request("the applied configuration is not an object")
    return value


def _decoded(body: bytes, shape: type[Any]) -> Any:
    try:
        patch = orjson.loads(body)
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from error
    if not isinstance(patch, shape):
        raise bad_request(f"error decoding patch: not a JSON {shape.__name__}")
    return patch


def merge_patch(value: Any, patch: Any) -> Any:
    """RFC 7396: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, part in patch.items():
        if part is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), part)
    return merged


def _apply_operations(value: Any, operations: list[Any]) -> Any:
    """RFC 6902, all or nothing."""
    # The document hangs below a root of its own, so that the empty pointer needs no special case.
    root: Json = {"": value}
    try:
        for operation in operations:
            _apply_operation(root, operation)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ApiError(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request: "
            f"{type(error).__name__}: {error}",
        ) from error
    return root[""]


def _apply_operation(root: Json, operation: Json) -> None:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            _add(root, path, operation["value"])
        case "remove":
            _remove(root, path)
        case "replace":
            _remove(root, path)
            _add(root, path, operation["value"])
        case "move":
            _add(root, path, _remove(root, _pointer(operation["from"])))
        case "copy":
            found = _find(root, _pointer(operation["from"]))
            _add(root, path, orjson.loads(orjson.dumps(found)))
        case "test":
            if _find(root, path) != operation["value"]:
                raise ValueError(f"testing path {operation['path']}: test failed")
        case other:
            raise ValueError(f"unexpected kind: {other}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"not a JSON pointer: {text!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")]


def _find(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value[_index(part, len(value) - 1)] if isinstance(value, list) else value[part]
    return value


def _add(root: Json, path: list[str], value: Any) -> None:
    parent, last = _find(root, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent)), value)
    else:
        parent[last] = value


def _remove(root: Json, path: list[str]) -> Any:
    parent, last = _find(root, path[:-1]), path[-1]
    return parent.pop(_index(last, len(parent) - 1) if isinstance(parent, list) else last)


def _index(text: str, greatest: int) -> int:
    index = int(text)
    if not 0 <= index <= greatest:
        raise IndexError(f"index {index} is out of bounds")
    return index

"""Strategic merge patch, with its directives.

Source: apimachinery ``util/strategicpatch``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kraftlet_trio.simulators.kubernetes.errors import ApiError, bad_request
from kraftlet_trio.simulators.kubernetes.merge_keys import Shape, shape_of
from kraftlet_trio.simulators.kubernetes.resources import Json, Resource

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge(resource: Resource, value: Json, patch: Json) -> Json:
    """Raises ``ApiError`` for a list element without its merge key or a wrong directive."""
    return _merge_objects(value, patch, shape_of(resource.kind))


def _merge_objects(value: Json, patch: Json, shape: Shape) -> Json:
    match patch.get(_DIRECTIVE):
        case "replace":
            replaced: Json = _without_directives(patch)
            return replaced
        case "delete":
            return {}
        case None | "merge":
            pass
        case unknown:
            raise bad_request(f"unrecognized $patch value in patch: {unknown}")
    merged = dict(value)
    if _RETAIN in patch:
        merged = {key: part for key, part in merged.items() if key in patch[_RETAIN]}
    for key, part in patch.items():
        if key.startswith("$"):
            continue
        if part is None:
            merged.pop(key, None)
        else:
            order = patch.get(_ORDER + key)
            merged[key] = _merge_field(merged.get(key), part, key, shape, order)
    for key, order in patch.items():
        name = key.removeprefix(_ORDER)
        # Alone, without elements to merge, the directive sorts what is there.
        if name != key and name not in patch and name in merged:
            merged[name] = _merge_field(merged[name], [], name, shape, order)
    for key, part in patch.items():
        if key.startswith(_DELETE_PRIMITIVES):
            name = key.removeprefix(_DELETE_PRIMITIVES)
            merged[name] = [element for element in merged.get(name, []) if element not in part]
    return merged


def _merge_field(value: Any, part: Any, key: str, shape: Shape, order: list[Any] | None) -> Any:
    match part:
        case dict():
            return _merge_objects(value if isinstance(value, dict) else {}, part, shape.field(key))
        case list() if key in shape.keys:
            old = value if isinstance(value, list) else []
            return _merge_lists(old, part, shape.keys[key], shape.field(key), order)
        case list() if key in shape.sets:
            old = value if isinstance(value, list) else []
            union = old + [element for element in part if element not in old]
            return _ordered(_ordered(union, old, part, _itself), old, order or (), _itself)
        case _:
            return part


def _merge_lists(
    old: list[Json], patches: list[Json], key: str, shape: Shape, order: list[Json] | None
) -> list[Json]:
    if any(patch.get(_DIRECTIVE) == "replace" for patch in patches):
        return [_without_directives(patch) for patch in patches if _DIRECTIVE not in patch]
    merged = list(old)
    for patch in patches:
        if key not in patch:
            # Not the client's fault in the eyes of the real server, which answers 500.
            raise ApiError(500, "", f"map: {patch} does not contain declared merge key: {key}")
        at = next((i for i, element in enumerate(merged) if element.get(key) == patch[key]), None)
        if patch.get(_DIRECTIVE) == "delete":
            merged = [element for element in merged if element.get(key) != patch[key]]
        elif at is None:
            merged.append(_merge_objects({}, patch, shape))
        else:
            merged[at] = _merge_objects(merged[at], patch, shape)

    def identity(element: Json) -> Any:
        return element.get(key)

    # The patch's own order counts, and where it says one explicitly, that.
    merged = _ordered(merged, old, [identity(element) for element in patches], identity)
    return _ordered(merged, old, [identity(element) for element in order or ()], identity)


def _without_directives(value: Any) -> Any:
    """What replaces is not merged, so directives inside of it are fields nobody knows."""
    match value:
        case dict():
            return {
                key: _without_directives(part)
                for key, part in value.items()
                if not key.startswith("$")
            }
        case list():
            return [_without_directives(part) for part in value]
        case _:
            return value


def _itself(element: Any) -> Any:
    return element


def _ordered(
    merged: list[Any], old: list[Any], order: Sequence[Any], identity: Callable[[Any], Any]
) -> list[Any]:
    """Sort by *order*; what only the server has keeps its place relative to its neighbours."""
    places = {identity(element): place for place, element in enumerate(old)}
    named = sorted(
        (element for element in merged if identity(element) in order),
        key=lambda element: order.index(identity(element)),
    )
    others = [element for element in merged if identity(element) not in order]
    result: list[Any] = []
    while others and named:
        left, right = places.get(identity(others[0])), places.get(identity(named[0]))
        others_first = left is not None and right is not None and left < right
        result.append(others.pop(0) if others_first else named.pop(0))
    return result + others + named

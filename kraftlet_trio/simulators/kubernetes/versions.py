"""What ``resourceVersion`` and its kin mean on lists and watches.

Source: apimachinery's validation of list options, and the watch cache.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson
import trio

from kraftlet_trio.simulators.kubernetes import errors
from kraftlet_trio.simulators.kubernetes.errors import ApiError
from kraftlet_trio.simulators.kubernetes.resources import Json, Resource
from kraftlet_trio.simulators.kubernetes.selectors import All
from kraftlet_trio.simulators.kubernetes.storage import HistoryExpired, Key, Storage, Stored

_FRESHNESS_SECONDS = 3.0
"""How long a server waits to reach a version that a client has seen elsewhere."""


@attrs.frozen(kw_only=True)
class ListQuery:
    limit: int = 0
    version: str = ""
    match: str = ""
    continue_token: str = ""


@attrs.frozen
class Page:
    items: Sequence[Stored]
    metadata: Json


def parse_list_query(query: Mapping[str, str]) -> ListQuery:
    """Raises ``ApiError``: 400 or 422 for combinations that the server refuses."""
    wanted = ListQuery(
        limit=parse_number("limit", query.get("limit", "")) or 0,
        version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        continue_token=query.get("continue", ""),
    )
    faults = []
    if wanted.match and not wanted.version:
        faults.append("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if wanted.match and wanted.continue_token:
        faults.append("resourceVersionMatch is forbidden when continue is provided")
    if wanted.match not in ("", "Exact", "NotOlderThan"):
        faults.append(f'resourceVersionMatch: Unsupported value: "{wanted.match}"')
    if wanted.match == "Exact" and wanted.version == "0":
        faults.append('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
    if "sendInitialEvents" in query:
        faults.append("sendInitialEvents is forbidden for list")
    if faults:
        raise refused_options(faults)
    return wanted


def refused_options(faults: Sequence[str]) -> ApiError:
    message = f'ListOptions.meta.k8s.io "" is invalid: {"; ".join(faults)}'
    return ApiError(422, "Invalid", message)


def parse_number(name: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise errors.bad_request(f'unable to parse {name}: "{text}" is not a number') from None


def parse_version(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise errors.bad_request(f'Invalid value: "{text}": invalid resourceVersion')
    return int(text)


async def reach_version(storage: Storage, version: int) -> None:
    """Return once the storage is at least at *version*. Raises ``ApiError`` (504) if it isn't."""
    if storage.version >= version:
        return
    await trio.sleep(_FRESHNESS_SECONDS)
    if storage.version < version:
        raise errors.from_the_future(version, storage.version)


async def watch_start(storage: Storage, query: Mapping[str, str]) -> int | None:
    """The version a watch goes on from; None begins with the present state.

    Raises ``ApiError``: 422 for options that do not go together, 504 for a version to come.
    """
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    if "sendInitialEvents" in query and match != "NotOlderThan":
        raise refused_options(
            ['resourceVersionMatch must be "NotOlderThan" when sendInitialEvents is provided']
        )
    if match and "sendInitialEvents" not in query:
        raise refused_options(["resourceVersionMatch is forbidden for watch"])
    number = parse_version(version or "0")
    await reach_version(storage, number)
    if query.get("sendInitialEvents") == "false":
        return number or storage.version
    return None if number == 0 or query.get("sendInitialEvents") == "true" else number


async def list_page(
    storage: Storage, resource: Resource, namespace: str, selector: All, query: ListQuery
) -> Page:
    """The objects a list request gets, in the order of namespaces and names."""
    after: Key | None = None
    if query.continue_token:
        version, after = _decode_token(query.continue_token)
        candidates = _past(storage, resource, namespace, version)
    elif query.version and _is_exact(query):
        version = parse_version(query.version)
        candidates = _past(storage, resource, namespace, version)
    else:
        await reach_version(storage, parse_version(query.version or "0"))
        version = storage.version
        candidates = storage.objects(resource, namespace)
    items = [
        stored
        for stored in candidates
        if (after is None or stored.key > after) and selector.matches(stored.value)
    ]
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    # The watch cache, which serves version 0, does not page.
    if query.limit and query.version != "0" and len(items) > query.limit:
        metadata["continue"] = _encode_token(version, items[query.limit - 1].key)
        if not selector.requirements:
            metadata["remainingItemCount"] = len(items) - query.limit
        items = items[: query.limit]
    return Page(items, metadata)


def _is_exact(query: ListQuery) -> bool:
    legacy = not query.match and query.limit > 0 and query.version != "0"
    return query.match == "Exact" or legacy


def _past(storage: Storage, resource: Resource, namespace: str, version: int) -> list[Stored]:
    if version > storage.version:
        raise errors.from_the_future(version, storage.version)
    try:
        return storage.objects_at(resource, namespace, version)
    except HistoryExpired as error:
        raise errors.too_old(version, error.oldest) from error


def _encode_token(version: int, last: Key) -> str:
    token = {"v": "meta.k8s.io/v1", "rv": version, "start": last}
    return base64.urlsafe_b64encode(orjson.dumps(token)).decode().rstrip("=")


def _decode_token(text: str) -> tuple[int, Key]:
    try:
        token = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        namespace, name = token["start"]
        return int(token["rv"]), (namespace, name)
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise errors.bad_request(f"continue key is not valid: {error}") from error

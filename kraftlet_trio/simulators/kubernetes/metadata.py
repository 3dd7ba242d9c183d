"""``metadata``: what the server fills in, and what of it a client's write may not touch."""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from kraftlet_trio.kubernetes.serialization import timestamp
from kraftlet_trio.simulators.kubernetes.errors import (
    Cause,
    bad_request,
    conflict,
    invalid,
    stale,
)
from kraftlet_trio.simulators.kubernetes.resources import Json, Resource

_SYSTEM_FIELDS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "generateName",
)
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Without vowels, so that no suffix reads as a word. Source: apimachinery ``rand.String``."""

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_KINDS_WITH_LABEL_NAMES = ("Service", "Namespace")


def random_suffix() -> str:
    """Five letters, as after a ``generateName``."""
    return "".join(random.choice(_SUFFIX_LETTERS) for _ in range(5))


def new_uid() -> str:
    # Not uuid4(), whose randomness a seed does not repeat.
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def as_go_keeps_it(value: Any) -> Any:
    """A copy of JSON after a pass through Go's structs, where null and empty lists are absent."""
    match value:
        case dict():
            return {
                key: as_go_keeps_it(part)
                for key, part in value.items()
                if part is not None and part != []
            }
        case list():
            return [as_go_keeps_it(part) for part in value]
        case _:
            return value


def check_type(resource: Resource, value: Any) -> None:
    """Raises ``ApiError`` (400) where *value* is no object, or says that it is of another kind."""
    if not isinstance(value, dict):
        raise bad_request("the body of the request is not an object")
    given = value.get("apiVersion", resource.api_version), value.get("kind", resource.kind)
    if given != (resource.api_version, resource.kind):
        raise bad_request(
            f"the API version and kind in the data ({given[0]}, {given[1]}) do not match the "
            f"expected ones ({resource.api_version}, {resource.kind})"
        )
    metadata = value.get("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("metadata is not an object")
    for field in ("labels", "annotations"):
        for key, text in (metadata.get(field) or {}).items():
            if not isinstance(text, str):
                raise bad_request(
                    f"json: cannot unmarshal {type(text).__name__} into Go struct field "
                    f"ObjectMeta.metadata.{field}.{key} of type string"
                )


def check_namespace(resource: Resource, value: Json, namespace: str) -> None:
    """Raises ``ApiError`` (400) when the object says another namespace than the URL."""
    if resource.namespaced and value["metadata"].get("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def check_name(value: Json, name: str) -> None:
    """Raises ``ApiError`` (400) when the object says another name than the URL."""
    metadata = value.get("metadata")
    given = metadata.get("name") if isinstance(metadata, dict) else None
    if given not in (None, "", name):
        raise bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({name})"
        )


def stamp_new(
    resource: Resource,
    value: Json,
    *,
    namespace: str,
    now: datetime,
    is_taken: Callable[[str], bool],
) -> None:
    """Make the metadata of a new object: name, namespace, uid, times, generation.

    Raises ``ApiError`` for a name that is missing or malformed.
    """
    metadata = value["metadata"]
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + random_suffix()
        while is_taken(metadata["name"]):
            metadata["name"] = metadata["generateName"] + random_suffix()
    _check_name(resource, metadata.get("name", ""))
    for field in _SYSTEM_FIELDS:
        if field != "generateName":
            metadata.pop(field, None)
    if resource.namespaced:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    metadata["uid"] = new_uid()
    metadata["creationTimestamp"] = timestamp(now)
    if resource.counts_generations:
        metadata["generation"] = 1
    _drop_empty(metadata)


def _check_name(resource: Resource, name: str) -> None:
    if not name:
        message = "Required value: name or generateName is required"
        raise invalid(
            resource,
            name,
            Cause(field="metadata.name", message=message, reason="FieldValueRequired"),
        )
    as_label = resource.kind in _KINDS_WITH_LABEL_NAMES
    pattern, limit = (_LABEL, 63) if as_label else (_SUBDOMAIN, 253)
    if not pattern.fullmatch(name) or len(name) > limit:
        standard = "label" if as_label else "subdomain"
        message = (
            f'Invalid value: "{name}": a lowercase RFC 1123 {standard} of at most {limit} '
            "characters is required"
        )
        raise invalid(resource, name, Cause(field="metadata.name", message=message))


def carry_over(resource: Resource, old: Json, new: Json) -> None:
    """Check an update's metadata against *old* and restore in *new* what only the server sets.

    Raises ``ApiError``: 400 for another name, 409 where uid or resourceVersion differ, 422 for
    a finalizer added to an object that is being deleted.
    """
    was, metadata = old["metadata"], new["metadata"]
    name = was["name"]
    check_name(new, name)
    if metadata.get("uid") not in (None, "", was["uid"]):
        raise conflict(
            resource,
            name,
            f"Precondition failed: UID in precondition: {metadata['uid']}, "
            f"UID in object meta: {was['uid']}",
        )
    if metadata.get("resourceVersion") not in (None, "", was["resourceVersion"]):
        raise stale(resource, name)
    metadata["name"] = name
    for field in ("namespace", *_SYSTEM_FIELDS):
        if field in was:
            metadata[field] = was[field]
        else:
            metadata.pop(field, None)
    _drop_empty(metadata)
    added = set(metadata.get("finalizers", ())) - set(was.get("finalizers", ()))
    if added and "deletionTimestamp" in was:
        message = (
            "Forbidden: no new finalizers can be added if the object is being deleted, "
            f"found new finalizers {', '.join(sorted(added))}"
        )
        raise invalid(
            resource,
            name,
            Cause(field="metadata.finalizers", message=message, reason="FieldValueForbidden"),
        )


def _drop_empty(metadata: Json) -> None:
    """Go leaves out empty lists, maps and strings of metadata; managed fields are not simulated."""
    metadata.pop("managedFields", None)
    for field in [field for field, part in metadata.items() if part in ("", [], {})]:
        del metadata[field]

"""The body of a watch: bytes to lines, lines to events. No I/O."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import attrs
import cattrs
import orjson
import structlog

from kraftlet_trio.kubernetes.errors import KubernetesUnavailable, error_from_status
from kraftlet_trio.kubernetes.resources import KubernetesObject, Resource
from kraftlet_trio.kubernetes.serialization import structure

log = structlog.get_logger(__name__)

T_co = TypeVar("T_co", bound=KubernetesObject, covariant=True)
T = TypeVar("T", bound=KubernetesObject)

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@attrs.frozen
class WatchEvent(Generic[T_co]):
    type: EventType
    object: T_co | None
    """The new state, or the last one of a DELETED object; None for a BOOKMARK."""
    resource_version: str
    """Where a later watch may go on from."""


class LineSplitter:
    """Cuts a stream of bytes at its newlines.

    Linear in the bytes fed, however small the pieces and long the lines.
    """

    def __init__(self) -> None:
        self._unfinished: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* completes, without their newline; blank ones are left out."""
        first, *rest = data.split(b"\n")
        self._unfinished.append(first)
        if not rest:
            return []
        lines = [b"".join(self._unfinished), *rest[:-1]]
        self._unfinished = [rest[-1]]
        return [line for line in lines if line.strip()]


def read_watch_line(line: bytes, resource: Resource[T], request: str) -> WatchEvent[T]:
    """One event. *request* names the watch in errors.

    An object that cannot be read moves only the version, as a BOOKMARK: it must not keep the
    others from being seen. Raises ``Expired`` or another ``KubernetesError`` for an ERROR event,
    and ``KubernetesUnavailable`` for a line that is no event.
    """
    try:
        document = orjson.loads(line)
        type_, value = document["type"], document["object"]
        if type_ == "ERROR":
            raise error_from_status(request, int(value.get("code") or 500), value)
        version = value["metadata"]["resourceVersion"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise KubernetesUnavailable(f"{request}: a line is not a watch event") from error
    match type_:
        case "ADDED" | "MODIFIED" | "DELETED":
            try:
                return WatchEvent(type_, structure(value, resource.cls), version)
            except cattrs.BaseValidationError as error:
                log_unreadable(resource, value, error)
                return WatchEvent("BOOKMARK", None, version)
        case _:
            # Types this node does not know yet are like bookmarks: nothing to adopt.
            return WatchEvent("BOOKMARK", None, version)


def log_unreadable(resource: Resource[T], value: object, error: cattrs.BaseValidationError) -> None:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    log.error(
        "object cannot be read",
        kind=resource.kind,
        namespace=metadata.get("namespace"),
        name=metadata.get("name"),
        error="; ".join(cattrs.transform_error(error)),
    )

"""How objects, lists and watch events are written, as the client's ``Accept`` header asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs
import orjson

from kraftlet_trio.simulators.kubernetes.resources import PODS, Json, Resource
from kraftlet_trio.simulators.kubernetes.storage import Stored


class Representation(Protocol):
    def one(self, stored: Stored) -> bytes: ...

    def several(self, resource: Resource, items: Sequence[Stored], metadata: Json) -> bytes: ...

    def event(self, kind: str, stored: Stored) -> bytes:
        """A line of a watch, with its newline."""
        ...


@attrs.frozen
class PlainJson:
    """Objects as they are."""

    def one(self, stored: Stored) -> bytes:
        return stored.encoded

    def several(self, resource: Resource, items: Sequence[Stored], metadata: Json) -> bytes:
        head = orjson.dumps(
            {
                "kind": f"{resource.kind}List",
                "apiVersion": resource.api_version,
                "metadata": metadata,
            }
        )
        return b'%s,"items":[%s]}' % (head[:-1], b",".join(stored.item for stored in items))

    def event(self, kind: str, stored: Stored) -> bytes:
        return b'{"type":"%s","object":%s}\n' % (kind.encode(), stored.encoded)


def asks_for_table(accept: str) -> bool:
    """Whether a Table is what the client would like best of what it would take."""
    best = accept.partition(",")[0]
    parameters = {part.strip() for part in best.split(";")[1:]}
    return {"as=Table", "v=v1", "g=meta.k8s.io"} <= parameters


def bookmark(resource: Resource, version: int, *, ends_initial_events: bool) -> bytes:
    """A line of a watch that moves the version only."""
    metadata: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
    if ends_initial_events:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    value: Json = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    if resource is PODS:
        # An empty Go struct: required fields are there, and null.
        value |= {"spec": {"containers": None}, "status": {}}
    return orjson.dumps({"type": "BOOKMARK", "object": value}) + b"\n"


def failure_event(status: Json) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": status}) + b"\n"

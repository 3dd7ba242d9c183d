"""Objects as rows with columns, the form that ``kubectl get`` prints (``as=Table``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import attrs
import orjson

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.kubernetes.durations import age
from kraftlet_trio.simulators.kubernetes.resources import Json, Resource
from kraftlet_trio.simulators.kubernetes.storage import Stored


@attrs.frozen
class Column:
    name: str
    cell: Callable[[Json, datetime], Any]
    """Of an object, now."""
    wide: bool = False
    """Shown by ``-o wide`` only."""
    format: Literal["", "name"] = ""
    type: Literal["string", "integer"] = "string"

    def definition(self) -> Json:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": "",
            "priority": 1 if self.wide else 0,
        }


def age_column(name: str = "Age") -> Column:
    def cell(value: Json, now: datetime) -> str:
        return age(value["metadata"].get("creationTimestamp"), now)

    return Column(name, cell)


NAME = Column("Name", lambda value, _: value["metadata"]["name"], format="name")


@attrs.frozen
class TableRepresentation:
    """Rows carry their object whole, or its metadata only, or nothing of it."""

    columns: Sequence[Column]
    include: Literal["Object", "Metadata", "None"] = "Metadata"

    def one(self, stored: Stored) -> bytes:
        metadata = {"resourceVersion": str(stored.version)}
        return orjson.dumps(self._table([stored], metadata))

    def several(self, resource: Resource, items: Sequence[Stored], metadata: Json) -> bytes:
        return orjson.dumps(self._table(items, metadata))

    def event(self, kind: str, stored: Stored) -> bytes:
        table = self._table([stored], {"resourceVersion": str(stored.version)})
        return orjson.dumps({"type": kind, "object": table}) + b"\n"

    def _table(self, items: Sequence[Stored], metadata: Json) -> Json:
        now = utc_now()
        return {
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": [column.definition() for column in self.columns],
            "rows": [self._row(stored, now) for stored in items],
        }

    def _row(self, stored: Stored, now: datetime) -> Json:
        cells = [column.cell(stored.value, now) for column in self.columns]
        match self.include:
            case "None":
                return {"cells": cells}
            case "Object":
                return {"cells": cells, "object": stored.value}
            case _:
                partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
                return {"cells": cells, "object": {**partial, "metadata": stored.value["metadata"]}}

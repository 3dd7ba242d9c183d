"""The shape of what a kind adds to the general rules of creating and updating."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import orjson

from kraftlet_trio.simulators.kubernetes.errors import Cause
from kraftlet_trio.simulators.kubernetes.resources import Json
from kraftlet_trio.simulators.kubernetes.storage import Storage


def _accept_new(value: Json, storage: Storage) -> None:
    """Nothing to add."""


def _accept_update(old: Json, new: Json) -> None:
    """Nothing to add."""


def _admit_update(old: Json, new: Json, storage: Storage) -> None:
    """Nothing to add."""


@attrs.frozen(kw_only=True)
class KindRules:
    """Each function changes its (last) object in place, and raises ``ApiError`` to refuse it."""

    create: Callable[[Json, Storage], None] = _accept_new
    """Called with metadata complete and without the status that clients may not set."""
    update: Callable[[Json, Json], None] = _accept_update
    """Old and new object, in which the status is the old one."""
    admit_update: Callable[[Json, Json, Storage], None] = _admit_update
    """Likewise, where it depends on other objects, too."""
    update_status: Callable[[Json, Json], None] = _accept_update
    """Old and new object, in which only metadata and status may differ."""


def required(field: str, what: str = "") -> Cause:
    message = f"Required value: {what}" if what else "Required value"
    return Cause(field=field, message=message, reason="FieldValueRequired")


def fixed(field: str, why: str = "field is immutable") -> Cause:
    return Cause(field=field, message=f"Forbidden: {why}", reason="FieldValueForbidden")


def unacceptable(field: str, value: object, why: str) -> Cause:
    shown = orjson.dumps(value).decode()
    return Cause(field=field, message=f"Invalid value: {shown}: {why}")

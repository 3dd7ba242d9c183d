"""Conditions in a status, which are told apart by type and keep the time they last turned."""

from __future__ import annotations

from datetime import datetime

from kraftlet_trio.kubernetes.serialization import timestamp
from kraftlet_trio.simulators.kubernetes.resources import Json


def condition_of(status: Json, kind: str) -> Json:
    """Empty when there is none."""
    for condition in status.get("conditions", ()):
        if condition["type"] == kind:
            found: Json = condition
            return found
    return {}


def is_true(status: Json, kind: str) -> bool:
    return condition_of(status, kind).get("status") == "True"


def set_condition(status: Json, wanted: Json, now: datetime) -> None:
    """Add or replace, in place; ``lastTransitionTime`` moves only with the condition's status."""
    conditions = status.setdefault("conditions", [])
    old = condition_of(status, wanted["type"])
    turned = timestamp(now)
    if old.get("status") == wanted["status"]:
        turned = old.get("lastTransitionTime", turned)
    entry = {**wanted, "lastTransitionTime": turned}
    if old:
        conditions[conditions.index(old)] = entry
    else:
        conditions.append(entry)

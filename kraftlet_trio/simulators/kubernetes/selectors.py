"""Field and label selectors, as query parameters and as objects' ``LabelSelector``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from kraftlet_trio.simulators.kubernetes.errors import bad_request
from kraftlet_trio.simulators.kubernetes.resources import (
    EVENTS,
    NODES,
    PODS,
    SECRETS,
    Json,
    Resource,
)

_COMMON_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
_FIELDS: dict[Resource, frozenset[str]] = {
    PODS: frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    NODES: frozenset({"spec.unschedulable"}),
    SECRETS: frozenset({"type"}),
    EVENTS: frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        }
    ),
}
"""Beyond ``_COMMON_FIELDS``. Source: the core group's field label conversions."""

_ABSENT = {"spec.unschedulable": "false", "spec.hostNetwork": "false"}


class Selector(Protocol):
    def matches(self, value: Json) -> bool: ...


@attrs.frozen
class FieldRequirement:
    path: tuple[str, ...]
    wanted: str
    equal: bool
    absent: str = ""
    """What an object without the field counts as."""

    def matches(self, value: Json) -> bool:
        found: Any = value
        for part in self.path:
            found = found.get(part) if isinstance(found, dict) else None
        if isinstance(found, bool):
            found = "true" if found else "false"
        return ((found or self.absent) == self.wanted) is self.equal


@attrs.frozen
class LabelRequirement:
    key: str
    operator: str
    """``In``, ``NotIn``, ``Exists`` or ``DoesNotExist``; the latter's kin match absent keys."""
    values: frozenset[str] = frozenset()

    def matches(self, value: Json) -> bool:
        return self.matches_labels(value["metadata"].get("labels") or {})

    def matches_labels(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


@attrs.frozen
class All:
    """Every requirement holds; without any, everything matches."""

    requirements: tuple[Selector, ...] = ()

    def matches(self, value: Json) -> bool:
        return all(requirement.matches(value) for requirement in self.requirements)


EVERYTHING = All()


def parse_selectors(resource: Resource, *, fields: str, labels: str) -> All:
    """Both query parameters at once. Raises ``ApiError`` (400) for what does not parse."""
    return All((*_field_requirements(resource, fields), *parse_labels(labels)))


def _field_requirements(resource: Resource, text: str) -> list[FieldRequirement]:
    requirements = []
    for term in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(!=|==|=)(.*)", term)
        if match is None:
            raise bad_request(f"invalid field selector: '{term}'; can't understand '{term}'")
        name, operator, wanted = match.groups()
        if name not in _COMMON_FIELDS | _FIELDS.get(resource, frozenset()):
            raise bad_request(f"field label not supported: {name}")
        path = ("source", "component") if name == "source" else tuple(name.split("."))
        requirements.append(FieldRequirement(path, wanted, operator != "!=", _ABSENT.get(name, "")))
    return requirements


_TERM = re.compile(
    r"""\s*(?:
      (?P<absent>!)\s*(?P<absent_key>[\w./-]+)
    | (?P<set_key>[\w./-]+)\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\)
    | (?P<key>[\w./-]+)\s*(?:(?P<operator>==|=|!=)\s*(?P<value>[\w.-]*))?
    )\s*(?:,|$)""",
    re.VERBOSE,
)


def parse_labels(text: str) -> list[LabelRequirement]:
    """``a=b,c!=d,e in (f,g),h notin (i),j,!k``. Raises ``ApiError`` (400)."""
    requirements, position = [], 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            raise bad_request(f'unable to parse requirement: {text[position:]!r} in "{text}"')
        requirements.append(_label_requirement(match))
        position = match.end()
    return requirements


def _label_requirement(match: re.Match[str]) -> LabelRequirement:
    if match["absent"]:
        return LabelRequirement(match["absent_key"], "DoesNotExist")
    if match["set"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        return LabelRequirement(match["set_key"], "In" if match["set"] == "in" else "NotIn", values)
    if match["operator"] is None:
        return LabelRequirement(match["key"], "Exists")
    operator = "NotIn" if match["operator"] == "!=" else "In"
    return LabelRequirement(match["key"], operator, frozenset({match["value"]}))


def label_selector(selector: Json) -> list[LabelRequirement]:
    """A ``LabelSelector`` of a spec (``matchLabels`` and ``matchExpressions``)."""
    requirements = [
        LabelRequirement(key, "In", frozenset({value}))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    for expression in selector.get("matchExpressions") or ():
        values = frozenset(expression.get("values") or ())
        requirements.append(LabelRequirement(expression["key"], expression["operator"], values))
    return requirements


def selector_text(selector: Json) -> str:
    """A ``LabelSelector`` as a query parameter, for a Scale's status."""
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        values = ",".join(sorted(expression.get("values") or ()))
        match expression["operator"]:
            case "In":
                terms.append(f"{expression['key']} in ({values})")
            case "NotIn":
                terms.append(f"{expression['key']} notin ({values})")
            case "Exists":
                terms.append(expression["key"])
            case _:
                terms.append(f"!{expression['key']}")
    return ",".join(terms)

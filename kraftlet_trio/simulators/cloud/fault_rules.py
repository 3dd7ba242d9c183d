"""Fault rules as a document: a YAML or JSON file, or the body of the simulator's own endpoint.

::

    seed: 7
    faults:
      - effect: {type: status, status: 429, headers: {retry-after: "3"}}
        method: POST
        path: /v1/instances
        times: 2
      - effect: {type: delay, seconds: 0.5}
        probability: 0.1
        times: always

Members other than ``effect`` may be left out; see :class:`Fault` for what they mean.
"""

from __future__ import annotations

import math
import types
from typing import Any

import attrs
import yaml
from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.strategies import configure_tagged_union

from kraftlet_trio.cloud.objects import QuotaUse
from kraftlet_trio.simulators.cloud.faults import (
    AnswerHtml,
    AnswerStatus,
    CommitThenDrop,
    Delay,
    DropBefore,
    Duplicate,
    Effect,
    Fault,
    SetQuotas,
    SkewClock,
    Truncate,
    Unfamiliar,
)

TYPES: dict[type, str] = {
    AnswerStatus: "status",
    AnswerHtml: "html",
    DropBefore: "drop-before",
    CommitThenDrop: "commit-then-drop",
    Delay: "delay",
    Duplicate: "duplicate",
    Truncate: "truncate",
    Unfamiliar: "unfamiliar",
    SkewClock: "skew-clock",
    SetQuotas: "set-quotas",
}
"""What documents call the effects."""

_ALWAYS = "always"
_QUOTAS = frozenset(field.name for field in attrs.fields(QuotaUse))


class RulesError(Exception):
    """A document of rules does not say what it should. The text is one sentence."""


@attrs.frozen(kw_only=True)
class FaultRules:
    faults: tuple[Fault, ...] = ()
    seed: int | None = None
    """Of what happens by chance."""


def parse_rules(text: str | bytes) -> FaultRules:
    """Read YAML, and JSON with it. Raises :class:`RulesError`."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RulesError(f"The fault rules are neither YAML nor JSON: {error}") from error
    if not isinstance(document, dict):
        raise RulesError("The fault rules are wrong: not an object with a member 'faults'")
    try:
        rules = _CONVERTER.structure(document, FaultRules)
    except BaseValidationError as error:
        faults = "; ".join(transform_error(error, "rules", _explanation))
        raise RulesError(f"The fault rules are wrong: {faults}") from error
    for fault in rules.faults:
        if isinstance(fault.effect, SetQuotas) and (unknown := set(fault.effect.hard) - _QUOTAS):
            raise RulesError(
                f"The fault rules are wrong: no quota {min(unknown)!r}, "
                f"only {', '.join(sorted(_QUOTAS))}"
            )
    return rules


def shown_fault(fault: Fault) -> dict[str, Any]:
    """The rule, as it can be given again, and how often it has ``struck``."""
    shown: dict[str, Any] = _CONVERTER.unstructure(fault)
    if fault.times == math.inf:
        shown["times"] = _ALWAYS
    return {**shown, "struck": fault.struck}


def _explanation(error: BaseException, _kind: object) -> str:
    match error:
        case KeyError():
            return "required member missing"
        case ForbiddenExtraKeysError():
            return f"unknown member {', '.join(sorted(map(str, error.extra_fields)))}"
        case AttributeError():
            return "an object is expected"
        case _:
            return str(error)


def _structure_times(value: object, _kind: object) -> float:
    if value == _ALWAYS:
        return math.inf
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is neither an integer nor '{_ALWAYS}'")
    return float(value)


def _structure_effect(value: object, kind: Any) -> Effect:
    if not isinstance(value, dict):
        raise TypeError("an effect is an object with a 'type'")
    if value.get("type") not in TYPES.values():
        raise ValueError(f"no effect {value.get('type')!r}, only {', '.join(TYPES.values())}")
    effect: Effect = _STRUCTURE_TAGGED(value, kind)
    return effect


def _strictly(kind: type, *accepted: type) -> Any:
    """A hook that takes JSON values of the *accepted* types only, for numbers and strings."""

    def structure(value: object, _kind: object) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"{value!r} is not of type {kind.__name__}")
        return kind(value)

    return structure


_CONVERTER = Converter(forbid_extra_keys=True)
_CONVERTER.register_structure_hook(str, _strictly(str, str))
_CONVERTER.register_structure_hook(int, _strictly(int, int))
_CONVERTER.register_structure_hook(float, _strictly(float, int, float))
configure_tagged_union(Effect, _CONVERTER, tag_generator=TYPES.__getitem__, tag_name="type")
_STRUCTURE_TAGGED = _CONVERTER.get_structure_hook(Effect)
_CONVERTER.register_structure_hook_func(
    lambda kind: isinstance(kind, types.UnionType) and kind == Effect, _structure_effect
)
_CONVERTER.register_structure_hook(
    Fault,
    make_dict_structure_fn(Fault, _CONVERTER, times=override(struct_hook=_structure_times)),
)
_CONVERTER.register_unstructure_hook(
    Fault, make_dict_unstructure_fn(Fault, _CONVERTER, struck=override(omit=True))
)

"""Unikraft Cloud's JSON to the values of ``objects`` and back.

Reading is lenient, for the platform gains fields, states and codes without notice: unknown fields
are dropped, null counts as absent, and a field of the wrong form takes its default. Writing is
strict, for the platform rejects what it does not know, and tells absent from null: what is unset
is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn
from cattrs.preconf.orjson import make_converter

T = TypeVar("T")

_WRONG_FORM = (
    ValueError,
    OverflowError,
    TypeError,
    LookupError,
    AttributeError,
    cattrs.StructureHandlerNotFoundError,
)


def structure(value: Any, cls: type[T]) -> T:
    """Build a *cls* from decoded JSON.

    Raises:
        ValueError: it is no object, or lacks a field that *cls* cannot do without.
    """
    return _reader().structure(value, cls)


def unstructure(value: Any) -> Any:
    """JSON-ready form of a request. Unset is None, or an empty list where that is the default."""
    if attrs.has(type(value)):
        return {
            field.name: unstructure(part)
            for field in attrs.fields(type(value))
            if (part := getattr(value, field.name)) != field.default or part not in (None, ())
        }
    if isinstance(value, tuple | list):
        return [unstructure(part) for part in value]
    return value


def read_time(value: Any) -> datetime | None:
    """An RFC 3339 time; None for what is not one, and for the zero time that stands for "never"."""
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
    if moment.year == 1:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


@cache
def _reader() -> cattrs.Converter:
    converter = make_converter(detailed_validation=False)
    converter.register_structure_hook(datetime | None, lambda value, _: read_time(value))

    @converter.register_structure_hook_factory(attrs.has)
    def lenient(cls: type[Any]) -> Callable[[Any, Any], Any]:
        attrs.resolve_types(cls)
        structure_well_formed = make_dict_structure_fn(cls, converter)

        def structure_object(value: Any, _: Any) -> Any:
            if not isinstance(value, dict):
                raise ValueError(f"expected a {cls.__name__}, not {type(value).__name__}")
            present = {name: part for name, part in value.items() if part is not None}
            try:
                return structure_well_formed(present, cls)
            except _WRONG_FORM:
                return _field_by_field(converter, present, cls)

        return structure_object

    return converter


def _field_by_field(converter: cattrs.Converter, value: dict[str, Any], cls: type[Any]) -> Any:
    """The slow way, which saves the well-formed fields of an object."""
    fields = {}
    for field in attrs.fields(cls):
        if field.name in value:
            try:
                fields[field.name] = converter.structure(value[field.name], field.type)
            except _WRONG_FORM:
                continue
    try:
        return cls(**fields)
    except TypeError as error:
        raise ValueError(f"unreadable {cls.__name__}: {error}") from error

"""Kubernetes JSON to the values of ``objects`` and back."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.orjson import make_converter

from kraftlet_trio.kubernetes.pod_volumes import Volume

T = TypeVar("T")

_ACRONYMS = {
    "ip": "IP",
    "ips": "IPs",
    "id": "ID",
    "api": "API",
    "fqdn": "FQDN",
    "pid": "PID",
    "ipc": "IPC",
}


def camel_case(name: str) -> str:
    """``pod_ip`` as Kubernetes spells it: ``podIP``."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(part, part.capitalize()) for part in rest)


def timestamp(moment: datetime) -> str:
    """A ``metav1.Time``: RFC 3339, UTC, whole seconds (rounded down)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(moment: datetime) -> str:
    """A ``metav1.MicroTime``: six fractional digits, as Lease demands."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@cache
def _converter() -> cattrs.Converter:
    converter = make_converter(omit_if_default=True)

    @converter.register_structure_hook_factory(attrs.has)
    def structure_renamed(cls: type[Any]) -> Any:
        renames = {
            field.name: override(rename=camel_case(field.name)) for field in attrs.fields(cls)
        }
        structure = make_dict_structure_fn(cls, converter, **renames)  # type: ignore[arg-type]
        # Go writes an empty list or map as null, and an absent struct may come as null too.
        return lambda value, _: structure(
            {key: part for key, part in value.items() if part is not None}, cls
        )

    @converter.register_unstructure_hook_factory(attrs.has)
    def unstructure_renamed(cls: type[Any]) -> Any:
        renames = {
            field.name: override(rename=camel_case(field.name)) for field in attrs.fields(cls)
        }
        return make_dict_unstructure_fn(
            cls,
            converter,
            _cattrs_omit_if_default=True,
            **renames,  # type: ignore[arg-type]
        )

    structure_volume = converter.get_structure_hook(Volume)

    def volume(value: dict[str, Any], _: type[Volume]) -> Volume:
        source = next((key for key in value if key != "name"), "")
        named: Volume = structure_volume(value, Volume)
        return attrs.evolve(named, source=source)

    converter.register_structure_hook(Volume, volume)
    converter.register_structure_hook(datetime, lambda value, _: datetime.fromisoformat(value))
    converter.register_unstructure_hook(datetime, timestamp)
    converter.register_structure_hook(int | str | None, lambda value, _: value)
    return converter


def structure(value: Any, cls: type[T]) -> T:
    """Build a *cls* from decoded JSON. Raises ``cattrs.BaseValidationError`` on a wrong type."""
    return _converter().structure(value, cls)


def unstructure(value: Any) -> Any:
    """JSON-ready form of a value of ``objects``; defaults are left out, times are whole seconds."""
    return _converter().unstructure(value)

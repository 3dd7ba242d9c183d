"""Reading a JSON object strictly: every member is taken by name and type, and none may be left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from kraftlet_trio.simulators.cloud.errors import BadRequest, invalid

T = TypeVar("T")

_MISSING = object()


class Members:
    """The members of one JSON object, taken one after the other.

    A member of a wrong JSON type makes the whole request malformed (:class:`BadRequest`), as does
    one that nobody took when :meth:`done` is called. Null is a wrong type: what is not set is
    left out. A value of the right type but outside its range fails its item (``ItemError``).
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise BadRequest(f"Expected an object for {where}")
        self._rest: dict[str, Any] = dict(value)
        self._where = where

    def __contains__(self, name: str) -> bool:
        return name in self._rest

    def keys(self) -> set[str]:
        return set(self._rest)

    def done(self) -> None:
        for name in self._rest:
            raise BadRequest(f"Unknown member '{name}'")

    def renamed(self, name: str, to: str) -> Members:
        """The same members, with *name* called another name."""
        renamed = {to if key == name else key: value for key, value in self._rest.items()}
        return Members(renamed, self._where)

    def raw(self, name: str) -> Any:
        """The member as it is, of any type; None if absent."""
        return self._rest.pop(name, None)

    def text(self, name: str) -> str | None:
        return self._take(name, str, "a string")

    def required_text(self, name: str) -> str:
        if (value := self.text(name)) is None:
            raise BadRequest(f"Missing member '{name}' in {self._where}")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in choices:
            raise invalid(
                f"Invalid value '{value}' for '{name}': must be one of {', '.join(choices)}"
            )
        return value

    def flag(self, name: str) -> bool | None:
        return self._take(name, bool, "a boolean")

    def integer(self, name: str, low: int | None = None, high: int | None = None) -> int | None:
        value = self._take(name, int, "an integer")
        if value is not None and not (
            (low is None or low <= value) and (high is None or value <= high)
        ):
            raise invalid(f"Value {value} of '{name}' is out of range")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        value = self._take(name, list, "a list")
        return None if value is None else texts(value, name)

    def text_map(self, name: str) -> dict[str, str] | None:
        value = self._take(name, dict, "an object")
        return None if value is None else text_map(value, name)

    def child(self, name: str) -> Members | None:
        value = self._take(name, dict, "an object")
        return None if value is None else Members(value, f"'{name}'")

    def children(self, name: str) -> list[Members] | None:
        value = self._take(name, list, "a list")
        return None if value is None else [Members(item, f"an item of '{name}'") for item in value]

    def _take(self, name: str, kind: type[T], article: str) -> T | None:
        value = self._rest.pop(name, _MISSING)
        if value is _MISSING:
            return None
        # JSON's true is no number, though Python's is.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadRequest(f"Member '{name}' must be {article}")
        return value


def texts(value: object, name: str) -> tuple[str, ...]:
    """*value* as a list of strings."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f"'{name}' must be a list of strings")
    return tuple(value)


def text_map(value: object, name: str) -> dict[str, str]:
    """*value* as an object whose values are strings."""
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise BadRequest(f"'{name}' must be an object with string values")
    return dict(value)

"""PATCH operations: one property, set, added to or deleted from (reference, PATCH operations)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.members import Members, text_map, texts

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Operation:
    """What one item of a PATCH asks for."""

    target: Identifier
    id: str | None
    """The caller's, echoed in the outcome."""
    prop: str
    op: str
    """``set``, ``add`` or ``del``."""
    has_value: bool
    value: Any

    @property
    def clears(self) -> bool:
        return self.op == "set" and not self.has_value

    def members(self) -> Members:
        """An object whose member ``value`` is the value, to be read by type."""
        return Members({"value": self.value}, f"property '{self.prop}'")

    def no_such_op(self) -> ItemError:
        return ItemError(
            ErrorCode.MALFORMED, f"Property '{self.prop}' does not allow '{self.op}' like this"
        )

    def on_scalar(self, read: Callable[[Members], T | None], default: T) -> T:
        """The new value of a property that can only be set. *default* is what clearing leaves."""
        if self.clears:
            return default
        if self.op != "set":
            raise self.no_such_op()
        value = read(self.members())
        if value is None:
            raise self.no_such_op()
        return value

    def on_texts(self, current: tuple[str, ...]) -> tuple[str, ...]:
        """The new value of a list of strings; a single string stands for a list of one."""
        if self.clears:
            return ()
        if not self.has_value:
            raise self.no_such_op()
        value = [self.value] if isinstance(self.value, str) else self.value
        given = texts(value, self.prop)
        match self.op:
            case "set":
                return given
            case "add":
                return current + given
            case _:
                return tuple(item for item in current if item not in given)

    def on_text_map(self, current: Mapping[str, str]) -> dict[str, str]:
        """The new value of a map; it is deleted from by key or list of keys."""
        if self.clears:
            return {}
        if not self.has_value:
            raise self.no_such_op()
        match self.op:
            case "set":
                return text_map(self.value, self.prop)
            case "add":
                return {**current, **text_map(self.value, self.prop)}
            case _:
                keys = [self.value] if isinstance(self.value, str) else self.value
                gone = texts(keys, self.prop)
                return {key: value for key, value in current.items() if key not in gone}

    def on_items(
        self,
        current: Iterable[T],
        *,
        read: Callable[[Members], T],
        key: Callable[[T], Hashable],
        read_key: Callable[[Any], Hashable],
    ) -> tuple[T, ...]:
        """The new value of a list of objects that are told apart by a key.

        What is added replaces what has its key; what is deleted is given as keys.
        """
        if self.clears:
            return ()
        if not self.has_value:
            raise self.no_such_op()
        if self.op == "del":
            gone = {read_key(each) for each in _as_list(self.value)}
            return tuple(item for item in current if key(item) not in gone)
        given = [read(Members(each, f"an item of '{self.prop}'")) for each in _as_list(self.value)]
        keys = {key(item) for item in given}
        if len(keys) < len(given):
            raise invalid(f"Repeated item in '{self.prop}'")
        if self.op == "set":
            return tuple(given)
        return (*(item for item in current if key(item) not in keys), *given)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_operation(target: Identifier, members: Members) -> Operation:
    operation = Operation(
        target=target,
        id=members.text("id"),
        prop=members.required_text("prop"),
        op=members.required_text("op"),
        has_value="value" in members,
        value=members.raw("value"),
    )
    if operation.op not in ("set", "add", "del"):
        raise invalid(f"Invalid value '{operation.op}' for 'op': must be one of set, add, del")
    return operation


def text_key(value: Any) -> str:
    """A key that is a string."""
    if not isinstance(value, str):
        raise BadRequest("Expected a name")
    return value

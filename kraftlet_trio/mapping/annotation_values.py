"""Reading annotations: each value as what it should be, or as a problem with its cure.

A blank value is an absent one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

import attrs

from kraftlet_trio.mapping.names import is_dns_label
from kraftlet_trio.mapping.problems import shown

LARGEST_MILLISECONDS: Final = 2**31 - 1
POLICIES: Final = ("on", "off", "idle")
"""When the platform may put an instance to sleep."""

_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_LONGEST_DOMAIN = 253


@attrs.frozen
class AnnotationProblem:
    """An annotation, or one item of its list, that cannot be followed."""

    key: str
    value: str
    cure: str
    """What holds instead, if anything can, and what to write."""
    blocks: bool = False
    """What runs depends on it, so nothing runs until it is put right."""

    @property
    def message(self) -> str:
        effect = "cannot be followed" if self.blocks else "has no effect"
        return f"annotation {self.key}: {shown(self.value)} {effect}; {self.cure}"


class AnnotationReader:
    """Reads values, and notes down those that it cannot read."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[AnnotationProblem] = []
        self.blocking: list[AnnotationProblem] = []

    def text(self, key: str) -> str:
        return self._values.get(key, "").strip()

    def items(self, key: str) -> tuple[str, ...]:
        """Those of a list by comma, each once, without blank ones."""
        parts = (part.strip() for part in self.text(key).split(","))
        return tuple(dict.fromkeys(filter(None, parts)))

    def boolean(self, key: str, *, default: bool) -> bool:
        text = self.text(key)
        value = _BOOLEANS.get(text.lower())
        if value is not None:
            return value
        if text:
            used = "true" if default else "false"
            self.report(key, f'"{used}" is used; write "true" or "false"')
        return default

    def choice(self, key: str, choices: Collection[str], *, default: str) -> str:
        text = self.text(key).lower()
        if text in choices:
            return text
        if text:
            *others, last = (f'"{choice}"' for choice in choices)
            self.report(key, f'"{default}" is used; write {", ".join(others)} or {last}, in quotes')
        return default

    def number(self, key: str, unit: str, *, default: int, least: int = 0, most: int) -> int:
        """A whole one; *unit* is what to write, in the plural."""
        text = self.text(key)
        if re.fullmatch(r"[0-9]{1,10}", text) and least <= int(text) <= most:
            return int(text)
        if text:
            self.report(key, f'"{default}" is used; write {unit} from {least} to {most}')
        return default

    def keys(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Each key that begins with *prefix*, and what follows it, in order."""
        for key in sorted(self._values):
            if key.startswith(prefix):
                yield key, key.removeprefix(prefix)

    def report_unknown(
        self, prefix: str, known: Collection[str], is_read: Callable[[str], bool]
    ) -> None:
        """Keys below *prefix* that nobody reads are most often slips of the pen.

        *known* are those to propose; *is_read* tells of a key without *prefix* whether it has use.
        """
        for key, name in self.keys(prefix):
            if key not in known and not is_read(name):
                names = ", ".join(sorted(one.removeprefix(prefix) for one in known))
                self.report(key, f"no such annotation is known here; known: {names}")

    def report(self, key: str, cure: str, *, item: str | None = None) -> None:
        """Say that *key*, or one *item* of its list, has no effect."""
        value = self._values[key] if item is None else item
        self.problems.append(AnnotationProblem(key, value, cure))

    def block(self, key: str, cure: str, *, item: str | None = None) -> None:
        """Say that nothing can run until *key*, or one *item* of its list, is put right."""
        value = self._values[key] if item is None else item
        self.blocking.append(AnnotationProblem(key, value, cure, blocks=True))


def is_domain(text: str) -> bool:
    """Whether *text* is a lower-case DNS name, perhaps a wildcard, perhaps with a final dot."""
    name = text.removesuffix(".")
    labels = name.split(".")
    if labels[0] == "*" and len(labels) > 1:
        labels = labels[1:]
    return len(name) <= _LONGEST_DOMAIN and all(map(is_dns_label, labels))

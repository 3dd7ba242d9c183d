"""Amounts as the API writes them, to be compared."""

from __future__ import annotations

import re
from fractions import Fraction

_GRAMMAR = re.compile(r"([+-]?[0-9]*\.?[0-9]*)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?")
_FACTORS = {
    **{suffix: Fraction(1, 1000**power) for power, suffix in enumerate("mun", start=1)},
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", start=1)},
}


def amount(quantity: object) -> Fraction:
    """The value of *quantity*, such as ``10Mi``; 0 for what is none."""
    match = _GRAMMAR.fullmatch(str(quantity))
    if match is None or not any(character.isdigit() for character in match[1]):
        return Fraction(0)
    number, suffix, exponent = match.groups()
    return Fraction(number) * _FACTORS.get(suffix, 1) * Fraction(10) ** int(exponent or 0)

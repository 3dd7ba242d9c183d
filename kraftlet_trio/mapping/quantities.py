"""Kubernetes quantities, and the whole numbers the platform takes in their place.

Grammar and suffixes are those of apimachinery's ``resource.Quantity``. Rounding is always upward,
so an instance never has less than its container asked for.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from kraftlet_trio.kubernetes.pod import ResourceRequirements
from kraftlet_trio.mapping.problems import shown

MIB = 2**20
DEFAULT_MEMORY_MIB = 128
DEFAULT_VCPUS = 1

_LARGEST = 2**63 - 1
_LONGEST_TEXT = 64
_LARGEST_EXPONENT = 1000
_GRAMMAR = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
    r"(?:(?P<suffix>[numkMGTPE]|[KMGTPE]i)|[eE](?P<exponent>[+-]?[0-9]+))?"
)
_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", start=1)},
}


class QuantityError(ValueError):
    """A text is no quantity, or not one that makes sense in its place."""


def quantity(text: str) -> Fraction:
    """The exact value of *text*, capped at ±(2**63 - 1) as Kubernetes caps it.

    Raises:
        QuantityError: naming the text.
    """
    match = _GRAMMAR.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise QuantityError(
            f'{shown(text)} is not a quantity; write a number and a suffix: "500m" or "64Mi"'
        )
    value = Fraction(match["number"])
    if suffix := match["suffix"]:
        value *= _SUFFIXES[suffix]
    elif match["exponent"]:
        exponent = int(match["exponent"])
        if abs(exponent) > _LARGEST_EXPONENT:
            raise QuantityError(f"{shown(text)} is out of range; write a smaller exponent")
        value *= Fraction(10) ** exponent
    return max(Fraction(-_LARGEST), min(value, Fraction(_LARGEST)))


def memory_mib(resources: ResourceRequirements, default: int = DEFAULT_MEMORY_MIB) -> int:
    """MiB to give a container: its memory limit, else its request, else *default*; at least 1.

    A zero asks for nothing, as in Kubernetes, where a limit of zero means none.

    Raises:
        QuantityError: the deciding quantity is malformed or negative.
    """
    asked = _asked(resources, "memory")
    return default if asked is None else math.ceil(asked / MIB)


def vcpus(resources: ResourceRequirements, default: int = DEFAULT_VCPUS) -> int:
    """Whole CPUs to give a container: its CPU limit, else its request, else *default*.

    Raises:
        QuantityError: the deciding quantity is malformed or negative.
    """
    asked = _asked(resources, "cpu")
    return default if asked is None else math.ceil(asked)


def volume_mib(text: str) -> int:
    """MiB that hold a volume of the size *text*.

    Raises:
        QuantityError: malformed, negative or zero.
    """
    size = quantity(text)
    if size <= 0:
        raise QuantityError(f"a volume of {shown(text)} holds nothing; ask for more than 0")
    return math.ceil(size / MIB)


def _asked(resources: ResourceRequirements, resource: str) -> Fraction | None:
    for asked in (resources.limits, resources.requests):
        if resource in asked:
            value = quantity(asked[resource])
            if value < 0:
                raise QuantityError(
                    f"{resource} of {shown(asked[resource])} is negative; ask for 0 or more"
                )
            if value > 0:
                return value
    return None

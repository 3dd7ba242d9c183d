from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.kubernetes.pod import ResourceRequirements
from kraftlet_trio.mapping.quantities import (
    DEFAULT_MEMORY_MIB,
    DEFAULT_VCPUS,
    MIB,
    QuantityError,
    memory_mib,
    quantity,
    vcpus,
    volume_mib,
)
from tests.strategies import hostile_text, quantities, resource_requirements


def decisive(resources: ResourceRequirements, name: str) -> Fraction | None:
    for side in (resources.limits, resources.requests):
        if name in side and quantity(side[name]) > 0:
            return quantity(side[name])
    return None


@given(resource_requirements())
def test_memory_is_what_was_asked_rounded_up_by_less_than_a_mib(resources):
    asked = decisive(resources, "memory")
    if asked is None:
        assert memory_mib(resources) == DEFAULT_MEMORY_MIB
    else:
        assert 0 <= memory_mib(resources) * MIB - asked < MIB
        assert memory_mib(resources) >= 1


@given(resource_requirements())
def test_vcpus_are_what_was_asked_rounded_up_by_less_than_one(resources):
    asked = decisive(resources, "cpu")
    if asked is None:
        assert vcpus(resources) == DEFAULT_VCPUS
    else:
        assert 0 <= vcpus(resources) - asked < 1
        assert vcpus(resources) >= 1


@given(quantities().filter(lambda text: quantity(text) > 0))
def test_a_volume_holds_what_was_asked(text):
    assert 0 <= volume_mib(text) * MIB - quantity(text) < MIB


@given(st.decimals(-(10**6), 10**6, places=6), st.integers(-6, 6))
def test_decimal_suffixes_and_exponents_agree(number, power):
    suffix = {-6: "u", -3: "m", 0: "", 3: "k", 6: "M"}.get(power)
    expected = Fraction(Decimal(number)) * Fraction(10) ** power
    assert quantity(f"{number:f}e{power}") == quantity(f"{number:f}E{power}") == expected
    if suffix is not None:
        assert quantity(f"{number:f}{suffix}") == expected


@given(hostile_text())
def test_a_text_is_a_quantity_or_a_quantity_error(text):
    try:
        value = quantity(text)
    except QuantityError:
        return
    assert abs(value) < 2**63


@given(st.text(st.characters(categories=["Nd"], exclude_characters="0123456789"), min_size=1))
def test_only_ascii_digits_are_digits(text):
    with pytest.raises(QuantityError):
        quantity(text)

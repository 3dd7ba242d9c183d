from fractions import Fraction

import pytest

from kraftlet_trio.kubernetes.pod import ResourceRequirements
from kraftlet_trio.mapping.quantities import (
    QuantityError,
    memory_mib,
    quantity,
    vcpus,
    volume_mib,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("+1", 1),
        ("-1", -1),
        ("1.", 1),
        (".5", Fraction(1, 2)),
        ("100n", Fraction(1, 10**7)),
        ("5u", Fraction(5, 10**6)),
        ("500m", Fraction(1, 2)),
        ("2k", 2000),
        ("1.5M", 1_500_000),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("1Ti", 2**40),
        ("1Pi", 2**50),
        ("1Ei", 2**60),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-1", Fraction(6, 5)),
        ("1E+2", 100),
        ("100E", 2**63 - 1),
        ("-1e30", -(2**63 - 1)),
    ],
)
def test_quantity_is_exact(text, value):
    assert quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", " 1", "1 Mi", "1K", "1mi", "1Mib", "1e", "1e1.5", "--1", ".", "Mi", "0x10", "1_0"]
)
def test_malformed_quantity_is_named(text):
    with pytest.raises(QuantityError, match="not a quantity") as caught:
        quantity(text)
    assert f'"{text}"' in str(caught.value)


def test_exponent_beyond_reason_is_refused_at_once():
    with pytest.raises(QuantityError, match="out of range"):
        quantity("1e999999999")


@pytest.mark.parametrize(
    ("limits", "requests", "mib"),
    [
        ({}, {}, 128),
        ({"memory": "256Mi"}, {"memory": "64Mi"}, 256),
        ({}, {"memory": "64Mi"}, 64),
        ({"memory": "64M"}, {}, 62),
        ({"memory": "1"}, {}, 1),
        ({"memory": "0"}, {"memory": "1Gi"}, 1024),
        ({"memory": "0"}, {"memory": "0"}, 128),
        ({"cpu": "1"}, {}, 128),
    ],
)
def test_memory_is_the_limit_else_the_request_else_128(limits, requests, mib):
    assert memory_mib(ResourceRequirements(limits=limits, requests=requests)) == mib


@pytest.mark.parametrize(
    ("limits", "requests", "cpus"),
    [
        ({}, {}, 1),
        ({"cpu": "500m"}, {}, 1),
        ({"cpu": "2"}, {"cpu": "1"}, 2),
        ({}, {"cpu": "1001m"}, 2),
        ({"cpu": "1n"}, {}, 1),
        ({"cpu": "0"}, {}, 1),
    ],
)
def test_vcpus_are_the_limit_else_the_request_else_1(limits, requests, cpus):
    assert vcpus(ResourceRequirements(limits=limits, requests=requests)) == cpus


def test_negative_resources_are_refused():
    with pytest.raises(QuantityError, match=r'memory of "-1Mi" is negative'):
        memory_mib(ResourceRequirements(limits={"memory": "-1Mi"}))


@pytest.mark.parametrize(("text", "mib"), [("10Mi", 10), ("9.5Mi", 10), ("1", 1), ("1Gi", 1024)])
def test_volume_size_is_whole_mib_upward(text, mib):
    assert volume_mib(text) == mib


@pytest.mark.parametrize("text", ["0", "-1Gi"])
def test_a_volume_of_nothing_is_refused(text):
    with pytest.raises(QuantityError, match="holds nothing"):
        volume_mib(text)

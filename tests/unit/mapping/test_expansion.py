"""When a claim's volume is to be enlarged, and when it has been."""

from datetime import UTC, datetime, timedelta

import pytest

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.objects import (
    ClaimResources,
    Condition,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
)
from kraftlet_trio.mapping.expansion import (
    RESIZING,
    asks_for_more,
    condition_of,
    have_started_since,
    is_behind,
    wanted_mb,
)
from kraftlet_trio.mapping.problems import ConfigurationProblem

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_claim(asks="10Mi", has="5Mi", phase="Bound", conditions=()):
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name="data"),
        spec=PersistentVolumeClaimSpec(resources=ClaimResources(requests={"storage": asks})),
        status=PersistentVolumeClaimStatus(
            phase=phase, capacity={"storage": has} if has else {}, conditions=conditions
        ),
    )


@pytest.mark.parametrize(
    ("claim", "more"),
    [
        (a_claim(), True),
        (a_claim("10Mi", "10240Ki"), False),
        (a_claim("1Gi", "1000Mi"), True),
        (a_claim("5Mi", "10Mi"), False),
        (a_claim(has=""), False),
        (a_claim(phase="Pending"), False),
        (a_claim("lots"), False),
    ],
)
def test_a_bound_claim_that_has_less_than_it_asks_for_is_to_grow(claim, more):
    assert asks_for_more(claim) is more


def test_persistent_volume_is_behind_until_it_tells_of_the_new_size():
    def of(size):
        return PersistentVolume(spec=PersistentVolumeSpec(capacity={"storage": size}))

    assert is_behind(of("5Mi"), a_claim("10Mi"))
    assert not is_behind(of("10Mi"), a_claim("10Mi"))


def test_size_is_rounded_up():
    assert wanted_mb(a_claim("1500k")) == 2
    with pytest.raises(ConfigurationProblem, match="lots"):
        wanted_mb(a_claim("lots"))


def test_a_condition_counts_only_while_it_is_true():
    assert condition_of(a_claim(), RESIZING) is None
    past = Condition(type=RESIZING, status="False")
    assert condition_of(a_claim(conditions=(past,)), RESIZING) is None
    present = Condition(type=RESIZING, status="True")
    assert condition_of(a_claim(conditions=(present,)), RESIZING) is present


@pytest.mark.parametrize(
    ("started", "since"),
    [([], True), ([5], True), ([-5], False), ([0.5], False), ([5, -5], False), ([None], False)],
)
def test_all_users_have_to_start_again(started, since):
    instances = [
        Instance(uuid="i", started_at=None if seconds is None else NOW + timedelta(seconds=seconds))
        for seconds in started
    ]
    assert have_started_since(instances, NOW) is since
    assert not have_started_since(instances, None)

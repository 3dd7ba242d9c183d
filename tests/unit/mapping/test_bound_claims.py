"""The cloud volume behind a claim that a Pod mounts."""

import attrs
import pytest

from kraftlet_trio.kubernetes.objects import (
    CSIPersistentVolumeSource,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
)
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.pod_volumes import (
    EphemeralVolumeSource,
    PersistentVolumeClaimVolumeSource,
    Volume,
)
from kraftlet_trio.mapping.bound_claims import (
    ClaimVolume,
    bound_volume,
    claim_name,
    cloud_volume,
)
from kraftlet_trio.mapping.claims import DRIVER
from kraftlet_trio.mapping.problems import ConfigurationProblem

POD = Pod(metadata=ObjectMeta(name="web", namespace="default", uid="p"))
BY_NAME = Volume(
    name="data",
    source="persistentVolumeClaim",
    persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="claim"),
)
EPHEMERAL = Volume(name="data", source="ephemeral", ephemeral=EphemeralVolumeSource())


def a_claim(name="claim", *, phase="Bound", volume="pv", owner="", modes=("ReadWriteOnce",)):
    owners = (OwnerReference(kind="Pod", uid=owner, controller=True),) if owner else ()
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name=name, namespace="default", uid="c", owner_references=owners),
        spec=PersistentVolumeClaimSpec(volume_name=volume, access_modes=modes),
        status=PersistentVolumeClaimStatus(phase=phase),
    )


def a_volume(*, driver=DRIVER, claim_uid="c", read_only=False, **spec):
    return PersistentVolume(
        metadata=ObjectMeta(name="pv"),
        spec=PersistentVolumeSpec(
            claim_ref=ObjectReference(uid=claim_uid),
            csi=CSIPersistentVolumeSource(driver=driver, volume_handle="v", read_only=read_only),
            **spec,
        ),
    )


def test_a_volume_is_found_by_the_handle_whatever_its_name():
    assert claim_name(POD, BY_NAME) == "claim"
    assert bound_volume(POD, BY_NAME, a_claim()) == "pv"
    assert cloud_volume(a_claim(), a_volume()) == ClaimVolume("v")


def test_an_ephemeral_volume_is_a_claim_that_was_made_for_the_pod():
    assert claim_name(POD, EPHEMERAL) == "web-data"
    assert bound_volume(POD, EPHEMERAL, a_claim("web-data", owner="p")) == "pv"


@pytest.mark.parametrize(
    ("volume", "claim", "why"),
    [
        (BY_NAME, None, '"claim" not found; create it'),
        (BY_NAME, a_claim(phase="Pending"), "is not bound"),
        (BY_NAME, a_claim(phase="Lost"), "is not bound"),
        (BY_NAME, a_claim(volume=""), "is not bound"),
        (EPHEMERAL, None, '"web-data" not found; wait for the control plane'),
        (EPHEMERAL, a_claim("web-data"), '"web-data" was not made for this Pod'),
        (EPHEMERAL, a_claim("web-data", owner="another"), "was not made for this Pod"),
    ],
)
def test_a_claim_that_cannot_be_mounted_is_a_problem(volume, claim, why):
    with pytest.raises(ConfigurationProblem) as caught:
        bound_volume(POD, volume, claim)
    assert caught.value.reason == "FailedMount"
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        (None, "has lost its persistentvolume pv"),
        (a_volume(driver="other"), "outside of Unikraft Cloud"),
        (PersistentVolume(), "outside of Unikraft Cloud"),
        (a_volume(claim_uid="another"), "another claim's"),
        (a_volume(volume_mode="Block"), '"Block", which cannot be mounted'),
    ],
)
def test_a_claim_without_a_cloud_volume_is_a_problem(volume, why):
    with pytest.raises(ConfigurationProblem, match=why):
        cloud_volume(a_claim(), volume)


@pytest.mark.parametrize(
    ("modes", "read_only_source", "read_only"),
    [
        (("ReadOnlyMany",), False, True),
        (("ReadWriteOnce",), True, True),
        (("ReadWriteOnce", "ReadOnlyMany"), False, False),
    ],
)
def test_what_is_for_reading_is_mounted_so(modes, read_only_source, read_only):
    claim = a_claim(modes=modes)
    found = cloud_volume(claim, a_volume(read_only=read_only_source))
    assert found == ClaimVolume("v", read_only)
    without = attrs.evolve(claim, spec=attrs.evolve(claim.spec, access_modes=()))
    assert cloud_volume(without, a_volume(access_modes=modes)).read_only is (
        read_only and not read_only_source
    )

"""Claims as cloud volumes, and as PersistentVolumes."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import Volume
from kraftlet_trio.kubernetes.objects import (
    ClaimResources,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    StorageClass,
)
from kraftlet_trio.kubernetes.serialization import structure
from kraftlet_trio.mapping.claims import (
    DRIVER,
    FINALIZER,
    is_provisioned_here,
    is_provisioned_volume,
    is_volume_of,
    persistent_volume,
    volume_request,
)
from kraftlet_trio.mapping.names import Naming, NodeIdentity
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.mapping.quantities import MIB, quantity


def a_claim(size="10Mi", *, annotations=None, **spec):
    spec = {"storage_class_name": "ukc-volume", "access_modes": ("ReadWriteOnce",), **spec}
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name="data", namespace="default", uid="c-1", annotations=annotations or {}
        ),
        spec=PersistentVolumeClaimSpec(
            resources=ClaimResources(requests={"storage": size}), **spec
        ),
    )


def a_class(reclaim_policy="Delete", **parameters):
    return StorageClass(
        metadata=ObjectMeta(name="fast"),
        provisioner=DRIVER,
        reclaim_policy=reclaim_policy,
        parameters=parameters,
    )


def requested(claim, min_mb=8, storage_class=None):
    owner = NodeIdentity("c", "n")
    return volume_request(claim, storage_class, owner=owner, naming=Naming(), min_mb=min_mb)


def test_claim_becomes_a_volume_of_its_name_with_its_tags():
    request = requested(a_claim())
    assert (request.name, request.size_mb, request.access_mode) == ("data", 10, "rwo")
    assert request.tags == (
        "kraftlet:cluster=c",
        "kraftlet:node=n",
        "k8s.io:namespace=default",
        "k8s.io:pvc=data",
        "k8s.io:uid=c-1",
    )


@given(
    size=st.integers(1, 10**7),
    suffix=st.sampled_from(["", "k", "Ki", "M", "Mi"]),
    least=st.integers(0, 64),
)
def test_volume_holds_what_is_asked_and_no_whole_mib_more_than_need_be(size, suffix, least):
    text = f"{size}{suffix}"
    given_mb = requested(a_claim(text), least).size_mb
    assert given_mb * MIB >= quantity(text)
    assert given_mb >= least
    assert given_mb == least or (given_mb - 1) * MIB < quantity(text)


@pytest.mark.parametrize(
    ("claim", "named"),
    [
        (a_claim(access_modes=("ReadWriteOnce", "ReadWriteMany")), "ReadWriteMany"),
        (a_claim(access_modes=("ReadOnlyMany", "ReadWriteOnce")), "ReadOnlyMany"),
        (a_claim(access_modes=("ReadWriteSometimes",)), "ReadWriteSometimes"),
        (a_claim(volume_mode="Block"), "Block"),
        (a_claim(data_source={"kind": "VolumeSnapshot", "name": "s"}), "dataSource"),
        (a_claim(data_source_ref={"kind": "VolumeSnapshot", "name": "s"}), "dataSource"),
        (a_claim(selector={"matchLabels": {"a": "b"}}), "selector"),
        (a_claim("0"), '"0"'),
        (a_claim("lots"), "lots"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_with_a_cure(claim, named):
    with pytest.raises(ConfigurationProblem, match=named) as caught:
        requested(claim)
    assert caught.value.reason == "ProvisioningFailed"
    assert any(cure in str(caught.value) for cure in ("ask for", "write", "leave it out"))


@pytest.mark.parametrize(
    ("modes", "on_ext4"),
    [
        (("ReadWriteOnce",), "rwo"),
        (("ReadWriteOncePod",), "rwo"),
        (("ReadOnlyMany",), "rox"),
        (("ReadWriteMany",), None),
        (("ReadWriteOnce", "ReadWriteMany"), None),
    ],
)
def test_modes_for_many_take_a_class_with_virtiofs(modes, on_ext4):
    claim = a_claim(access_modes=modes)
    if on_ext4 is None:
        with pytest.raises(ConfigurationProblem, match="virtiofs"):
            requested(claim)
    else:
        request = requested(claim)
        assert (request.filesystem, request.access_mode) == (None, on_ext4)
    shared = requested(claim, storage_class=a_class(filesystem="virtiofs"))
    assert shared.filesystem == "virtiofs"
    assert shared.access_mode == ("rox" if on_ext4 == "rox" else "rwx")


def test_parameters_of_the_class_are_passed_on():
    request = requested(a_claim(), storage_class=a_class(quotaPolicy="dynamic", filesystem="ext4"))
    assert (request.quota_policy, request.filesystem) == ("dynamic", None)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"speed": "high"}, '"speed", which nobody knows'),
        ({"filesystem": "fat"}, 'filesystem: "fat"; write ext4 or virtiofs'),
    ],
)
def test_parameters_that_nobody_knows_are_refused(parameters, named):
    with pytest.raises(ConfigurationProblem, match=named):
        requested(a_claim(), storage_class=a_class(**parameters))


@pytest.mark.parametrize(
    ("claim", "ours"),
    [
        (a_claim(), True),
        (a_claim(storage_class_name=None), False),
        (a_claim(storage_class_name="fast"), False),
        (
            a_claim(
                storage_class_name="fast",
                annotations={"volume.kubernetes.io/storage-provisioner": DRIVER},
            ),
            True,
        ),
        (
            a_claim(
                storage_class_name="fast",
                annotations={"volume.kubernetes.io/storage-provisioner": "other"},
            ),
            False,
        ),
    ],
)
def test_claims_of_our_class_or_provisioner_are_ours(claim, ours):
    assert is_provisioned_here(claim, None) is ours


def test_where_there_is_a_class_the_control_plane_says_when_a_volume_is_to_be_made():
    ours = StorageClass(metadata=ObjectMeta(name="ukc-volume"), provisioner=DRIVER)
    assert not is_provisioned_here(a_claim(), ours)
    asked = {"volume.kubernetes.io/storage-provisioner": DRIVER}
    assert is_provisioned_here(a_claim(annotations=asked), ours)


def test_persistent_volume_says_all_that_binding_and_removal_need():
    claim = a_claim("1500k", storage_class_name="fast")
    volume = structure(persistent_volume(claim, None, Volume(uuid="v-1")), PersistentVolume)
    assert volume.metadata.name == "pv-c-1"
    assert volume.metadata.finalizers == (FINALIZER,)
    assert volume.metadata.annotations["pv.kubernetes.io/provisioned-by"] == DRIVER
    assert volume.spec.capacity == {"storage": "1500k"}
    assert volume.spec.access_modes == claim.spec.access_modes
    assert volume.spec.storage_class_name == "fast"
    assert volume.spec.persistent_volume_reclaim_policy == "Delete"
    assert (volume.spec.claim_ref.namespace, volume.spec.claim_ref.uid) == ("default", "c-1")
    assert (volume.spec.csi.driver, volume.spec.csi.volume_handle) == (DRIVER, "v-1")
    assert is_provisioned_volume(volume)
    assert not is_provisioned_volume(PersistentVolume())


def test_persistent_volume_follows_its_class():
    storage_class = a_class("Retain", filesystem="virtiofs")
    made = persistent_volume(a_claim(), storage_class, Volume(uuid="v-1"))
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert made["spec"]["csi"]["fsType"] == "virtiofs"


def test_volume_of_a_namesake_is_not_the_claims():
    made = Volume(uuid="v", tags=requested(a_claim()).tags)
    assert is_volume_of(a_claim(), made)
    namesake = attrs.evolve(a_claim(), metadata=ObjectMeta(name="data", uid="c-2"))
    assert not is_volume_of(namesake, made)
    assert not is_volume_of(a_claim(), Volume(uuid="v"))

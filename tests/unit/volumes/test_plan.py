"""What claims and PersistentVolumes call for."""

from datetime import UTC, datetime

import attrs
import pytest

from kraftlet_trio.kubernetes.objects import (
    ClaimResources,
    CSIPersistentVolumeSource,
    ObjectMeta,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
    StorageClass,
)
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.claims import DRIVER, FINALIZER
from kraftlet_trio.volumes.plan import (
    Abandon,
    Forget,
    Grow,
    Provision,
    Release,
    Remove,
    next_steps,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def a_claim(
    *,
    deleting=False,
    held=False,
    storage_class="ukc-volume",
    volume_name="",
    size="10Mi",
    has="",
):
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name="data",
            namespace="default",
            uid="c",
            deletion_timestamp=NOW if deleting else None,
            finalizers=(FINALIZER,) if held else (),
        ),
        spec=PersistentVolumeClaimSpec(
            storage_class_name=storage_class,
            volume_name=volume_name,
            resources=ClaimResources(requests={"storage": size}),
        ),
        status=PersistentVolumeClaimStatus(
            phase="Bound" if has else "Pending", capacity={"storage": has} if has else {}
        ),
    )


def a_volume(
    *, name="pv-c", deleting=False, held=True, policy="Delete", claim_uid="c", driver=DRIVER
):
    return PersistentVolume(
        metadata=ObjectMeta(
            name=name,
            uid="v",
            deletion_timestamp=NOW if deleting else None,
            finalizers=(FINALIZER,) if held else (),
        ),
        spec=PersistentVolumeSpec(
            claim_ref=ObjectReference(namespace="default", name="data", uid=claim_uid),
            csi=CSIPersistentVolumeSource(driver=driver, volume_handle="u"),
            persistent_volume_reclaim_policy=policy,
        ),
    )


def steps(claim=None, volume=None, storage_class=None):
    claims, volumes, classes = Store(), Store(), Store()
    claims.replace([claim] if claim else [])
    volumes.replace([volume] if volume else [])
    classes.replace([storage_class] if storage_class else [])
    return [type(step) for _, step in next_steps(claims, volumes, classes)]


@pytest.mark.parametrize(
    ("claim", "volume", "expected"),
    [
        (a_claim(), None, [Provision]),
        (a_claim(held=True), None, [Provision]),
        (a_claim(held=True), a_volume(), [Release]),
        (a_claim(held=True, volume_name="pv-c"), a_volume(), [Release]),
        (a_claim(volume_name="pv-c"), a_volume(), []),
        (a_claim(volume_name="pv-c"), None, []),
        (a_claim(volume_name="elsewhere"), None, []),
        (a_claim(storage_class="fast"), None, []),
        (a_claim(deleting=True), None, []),
        (a_claim(deleting=True, held=True), None, [Abandon]),
        (a_claim(deleting=True, held=True, storage_class="fast"), None, [Abandon]),
        (a_claim(deleting=True, held=True), a_volume(), [Release]),
        (a_claim(deleting=True, volume_name="pv-c"), a_volume(), []),
        (None, a_volume(), [Remove]),
        (None, a_volume(held=False), [Remove]),
        (None, a_volume(deleting=True), [Remove]),
        (None, a_volume(deleting=True, held=False), []),
        (None, a_volume(policy="Retain"), []),
        (None, a_volume(policy="Retain", deleting=True), [Forget]),
        (None, a_volume(driver="other"), []),
        (None, a_volume(claim_uid=""), []),
        (a_claim(), a_volume(claim_uid="predecessor"), [Remove]),
        (a_claim(volume_name="elsewhere"), a_volume(), [Remove]),
        (a_claim(), a_volume(name="kept", claim_uid=""), []),
        (a_claim(volume_name="pv-c", has="10Mi"), a_volume(), []),
        (a_claim(volume_name="pv-c", has="5Mi"), a_volume(), [Grow]),
        (a_claim(volume_name="kept", has="5Mi"), a_volume(name="kept"), [Grow]),
        (a_claim(volume_name="kept", has="5Mi"), a_volume(name="kept", driver="other"), []),
        (a_claim(volume_name="pv-c", has="20Mi"), a_volume(), []),
        (a_claim(volume_name="pv-c", has="5Mi", size="lots"), a_volume(), []),
        (a_claim(volume_name="pv-c", has="5Mi", deleting=True), a_volume(), []),
        (a_claim(volume_name="pv-c", has="5Mi", held=True), a_volume(), [Release]),
    ],
)
def test_step_follows_from_what_there_is(claim, volume, expected):
    assert steps(claim, volume) == expected


def test_a_claim_of_a_class_waits_for_the_control_plane_to_ask():
    ours = StorageClass(metadata=ObjectMeta(name="ukc-volume", uid="s"), provisioner=DRIVER)
    assert steps(a_claim(), storage_class=ours) == []
    asked = {"volume.kubernetes.io/storage-provisioner": DRIVER}
    claim = attrs.evolve(a_claim(), metadata=attrs.evolve(a_claim().metadata, annotations=asked))
    assert steps(claim, storage_class=ours) == [Provision]


def test_nothing_is_removed_while_its_claim_is_there():
    for deleting in (False, True):
        claim = a_claim(deleting=deleting, volume_name="pv-c")
        assert Remove not in steps(claim, a_volume())
        assert Remove not in steps(claim, attrs.evolve(a_volume(), status=a_volume().status))

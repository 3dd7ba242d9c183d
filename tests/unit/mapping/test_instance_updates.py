"""Notes of what an instance is made of, and what makes it another."""

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import (
    Instance,
    InstancePatch,
    InstanceRequest,
    RomFile,
    RomRequest,
    ScaleToZero,
)
from kraftlet_trio.kubernetes.pod import ResourceRequirements
from kraftlet_trio.mapping.instance_updates import (
    content_hash,
    has_other_size,
    instance_patch,
    is_outdated,
    noted,
    renewal_of,
    spec_hash,
)
from tests.builders import a_container
from tests.strategies import resource_requirements

ON = ScaleToZero(policy="on", cooldown_time_ms=1000)
REQUEST = InstanceRequest(
    name="web-app", image="app:1", memory_mb=64, vcpus=1, env={"A": "1"}, tags=("k8s.io:pod=web",)
)
RENEWAL = datetime(2026, 3, 1, tzinfo=UTC)


def a_spec(image="app:1", memory="64Mi", sleep=ON):
    resources = ResourceRequirements(limits={"memory": memory})
    return spec_hash(attrs.evolve(a_container(), image=image, resources=resources), sleep)


def requested(request=REQUEST, spec=None, renewal=None):
    return noted(request, spec or a_spec(), content_hash(request), renewal)


def made_of(request):
    return Instance(uuid="u", tags=request.tags, memory_mb=request.memory_mb, vcpus=request.vcpus)


def patch_for(request, *, before=None, renews=False):
    return instance_patch(made_of(before or requested()), request, renews=renews)


def test_instance_that_was_just_made_needs_nothing():
    assert patch_for(requested()) == InstancePatch()
    assert not is_outdated(made_of(requested()), a_spec())


def test_instance_without_notes_is_never_outdated():
    assert not is_outdated(Instance(uuid="u", tags=REQUEST.tags), a_spec())


@pytest.mark.parametrize(
    ("spec", "request_", "expected"),
    [
        (a_spec(image="app:2"), attrs.evolve(REQUEST, image="app:2"), {"image": "app:2"}),
        (a_spec(memory="96Mi"), attrs.evolve(REQUEST, memory_mb=96), {"memory_mb": 96}),
        (a_spec(memory="63.5Mi"), REQUEST, {}),
        (
            a_spec(sleep=ScaleToZero(policy="off")),
            REQUEST,
            {"scale_to_zero": ScaleToZero(policy="off")},
        ),
    ],
)
def test_only_what_differs_is_sent(spec, request_, expected):
    wanted = requested(request_, spec)
    assert is_outdated(made_of(requested()), spec)
    assert patch_for(wanted) == InstancePatch(tags=wanted.tags, **expected)


def test_size_is_not_sent_for_any_other_reason():
    """A platform may round it up: that is no news."""
    given_more = attrs.evolve(made_of(requested()), memory_mb=128)
    wanted = requested(attrs.evolve(REQUEST, image="app:2"), a_spec(image="app:2"))
    assert instance_patch(given_more, wanted, renews=False).memory_mb is None


def test_other_content_is_sent_whole():
    rom = RomRequest(name="conf", at="/etc/app", files=(RomFile(path="a", data="1"),))
    wanted = requested(attrs.evolve(REQUEST, env={"A": "2"}, roms=(rom,)))
    patch = patch_for(wanted)
    assert (patch.env, patch.roms, patch.image) == ({"A": "2"}, (rom,), None)


def test_renewed_token_is_sent_although_the_content_is_the_same():
    rom = RomRequest(name="token", at="/var/run", files=(RomFile(path="token", data="new"),))
    content = content_hash(REQUEST)
    before = noted(REQUEST, a_spec(), content, RENEWAL)
    wanted = noted(attrs.evolve(REQUEST, roms=(rom,)), a_spec(), content, RENEWAL.replace(month=4))
    assert patch_for(wanted, before=before).roms is None
    assert patch_for(wanted, before=before, renews=True).roms == (rom,)
    assert renewal_of(made_of(before)) == RENEWAL
    assert renewal_of(made_of(requested())) is None


def test_only_another_size_is_a_resize():
    instance = made_of(requested())
    assert has_other_size(instance, a_spec(memory="96Mi"))
    assert not has_other_size(instance, a_spec(image="app:2"))
    assert not has_other_size(instance, a_spec())


@given(resource_requirements(), resource_requirements(), st.sampled_from(["a:1", "a:2", "b"]))
def test_notes_are_legal_tags_and_tell_specs_apart(one, other, image):
    first = spec_hash(attrs.evolve(a_container(), image="a:1", resources=one), ON)
    second = spec_hash(attrs.evolve(a_container(), image=image, resources=other), ON)
    assert (str(first) == str(second)) == (one == other and image == "a:1")
    request = requested(spec=first, renewal=RENEWAL)
    assert all(len(tag) <= 256 and not set(tag) - _LEGAL for tag in request.tags)
    assert len(request.tags) <= 16


_LEGAL = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-+_.:=")

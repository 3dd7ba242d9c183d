import attrs
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.kubernetes.objects import ObjectMeta, Service
from kraftlet_trio.mapping.annotation_values import is_domain
from kraftlet_trio.mapping.service_annotations import (
    SERVICE_PREFIX,
    default_handlers,
    possible_handlers,
    service_options,
)
from tests.property.mapping.test_annotations import without
from tests.strategies import hostile_metadata, service_annotations


def options_of(annotations):
    return service_options(Service(metadata=ObjectMeta(annotations=annotations)))


@given(service_annotations())
def test_what_is_reported_of_a_service_has_no_effect(annotations):
    options = options_of(annotations)
    cleared = options_of(without(annotations, options.problems))
    assert cleared == attrs.evolve(options, problems=())


@given(hostile_metadata())
def test_whatever_a_service_says_its_options_are_legal(metadata):
    options = service_options(Service(metadata=metadata))
    for domains in (options.domains, *options.domains_of.values()):
        assert len(set(domains)) == len(domains)
        assert all(map(is_domain, domains))
    assert 1 <= options.limits.soft <= options.limits.hard <= 65535
    for problem in options.problems:
        assert problem.key.startswith(SERVICE_PREFIX)
        assert problem.message.isprintable() or not problem.key.isprintable()


@given(st.integers(1, 65535))
def test_handlers_are_the_ones_the_platform_accepts(port):
    assert default_handlers(port) == {80: ("http",), 443: ("tls", "http")}.get(port, ("tls",))
    choices = possible_handlers(port)
    assert choices[0] == default_handlers(port)
    assert len(choices) == (2 if port == 80 else 1)

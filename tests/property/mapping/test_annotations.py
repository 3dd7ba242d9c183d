from hypothesis import given

from kraftlet_trio.kubernetes.objects import ObjectMeta, Service
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.mapping.annotations import (
    POD_PREFIX,
    SERVICE_PREFIX,
    PodOptions,
    is_domain,
    pod_options,
    service_domains,
)
from tests.strategies import (
    hostile_metadata,
    pod_annotations,
    service_annotations,
)


def options_of(annotations):
    return pod_options(Pod(metadata=ObjectMeta(annotations=annotations)))


def domains_of(annotations):
    return service_domains(Service(metadata=ObjectMeta(annotations=annotations)))


@given(pod_annotations())
def test_what_is_reported_has_no_effect(annotations):
    options = options_of(annotations)
    faulty = {problem.key for problem in options.problems}
    rest = {key: value for key, value in annotations.items() if key not in faulty}
    cleared = options_of(rest)
    assert cleared.problems == ()
    assert (cleared.autostart, cleared.template, cleared.scale_to_zero) == (
        options.autostart,
        options.template,
        options.scale_to_zero,
    )


@given(pod_annotations())
def test_blank_annotations_are_absent_ones(annotations):
    assert options_of(dict.fromkeys(annotations, " ")) == PodOptions()


@given(service_annotations())
def test_what_is_reported_of_a_service_has_no_effect(annotations):
    domains = domains_of(annotations)
    faulty = {problem.key for problem in domains.problems}
    cleared = domains_of({key: text for key, text in annotations.items() if key not in faulty})
    assert cleared.problems == ()
    assert (cleared.common, cleared.of_container) == (domains.common, domains.of_container)


@given(hostile_metadata())
def test_only_our_annotations_of_a_pod_are_reported_and_each_once(metadata):
    keys = [problem.key for problem in pod_options(Pod(metadata=metadata)).problems]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(POD_PREFIX) for key in keys)


@given(hostile_metadata())
def test_every_domain_of_a_service_is_legal(metadata):
    domains = service_domains(Service(metadata=metadata))
    for domain in (*filter(None, [domains.common]), *domains.of_container.values()):
        assert is_domain(domain)
    for problem in domains.problems:
        assert problem.key.startswith(SERVICE_PREFIX)
        assert problem.message.isprintable() or not problem.key.isprintable()

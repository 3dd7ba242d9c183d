import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import Service as PublishedPort
from kraftlet_trio.mapping.annotation_values import is_domain
from kraftlet_trio.mapping.names import Naming
from kraftlet_trio.mapping.service_annotations import (
    default_handlers,
    possible_handlers,
    service_options,
)
from kraftlet_trio.mapping.services import (
    container_groups,
    default_group,
    selecting,
    service_problems,
)
from tests import strategies

service_lists = st.lists(
    strategies.services(), max_size=3, unique_by=lambda service: service.metadata.name
)


def targets_of(service, container, *, alone):
    """Public ports of *service*, each with the port of *container* that it leads to."""
    numbers = {port.container_port for port in container.ports if port.protocol == "TCP"}
    for port in service.spec.ports:
        if port.protocol != "TCP":
            continue
        if isinstance(port.target_port, str):
            named = [
                p for p in container.ports if (p.name, p.protocol) == (port.target_port, "TCP")
            ]
            if named:
                yield port.port, named[0].container_port
        elif alone or (port.target_port or port.port) in numbers:
            yield port.port, port.target_port or port.port


REDIRECTION = PublishedPort(port=80, destination_port=443, handlers=("http", "redirect"))


def redirects(group):
    return REDIRECTION in group.services


def names_of(services):
    return {service.metadata.name for service in services}


@given(strategies.publishable_pods(), service_lists)
def test_a_groups_ports_are_exactly_those_of_its_services(pod, services):
    groups = container_groups(pod, services, Naming(), names_of(services))
    selected = selecting(pod, services)
    assert set(groups) == {container.name for container in pod.spec.containers}
    for container in pod.spec.containers:
        wanted = [
            pair
            for service in selected
            for pair in targets_of(service, container, alone=len(pod.spec.containers) == 1)
        ]
        group = groups[container.name]
        if group is None:
            assert wanted == []
            continue
        published = {port.port: port.destination_port for port in group.services}
        assert len(published) == len(group.services)
        assert all(port.handlers in possible_handlers(port.port) for port in group.services)
        # Of several targets, the first one of the oldest Service holds.
        expected = dict(reversed(wanted))
        if redirects(group):
            assert 443 in expected
            expected[80] = published[80]
        assert published == expected
        conflicts = [p for p in group.problems if p.reason == "ConflictingServicePort"]
        assert bool(conflicts) == any(
            dict(reversed(wanted))[public] != target for public, target in wanted
        )


@settings(max_examples=50)
@given(strategies.publishable_pods(), service_lists)
def test_port_80_redirects_only_where_a_service_says_so(pod, services):
    asked = any(service_options(service).redirect for service in selecting(pod, services))
    for group in container_groups(pod, services, Naming(), names_of(services)).values():
        if group is not None:
            assert asked or not redirects(group)
            others = [port for port in group.services if port != REDIRECTION]
            assert all(port.handlers == default_handlers(port.port) for port in others)


@settings(max_examples=50)
@given(strategies.publishable_pods(), service_lists, st.data())
def test_an_ignored_container_counts_as_if_it_were_not_there(pod, services, data):
    names = [container.name for container in pod.spec.containers]
    ignored = data.draw(st.sets(st.sampled_from(names)))
    kept = [container for container in pod.spec.containers if container.name not in ignored]
    smaller = attrs.evolve(pod, spec=attrs.evolve(pod.spec, containers=tuple(kept)))
    others = names_of(services)
    assert container_groups(pod, services, Naming(), others, ignored=ignored) == (
        container_groups(smaller, services, Naming(), others)
    )
    for container in kept:
        assert default_group(pod, container, ignored=ignored) == default_group(smaller, container)


@given(strategies.publishable_pods(), service_lists, st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_services(pod, services, random):
    shuffled = random.sample(services, len(services))
    names = names_of(services)
    assert container_groups(pod, services, Naming(), names) == container_groups(
        pod, shuffled, Naming(), names
    )


@given(strategies.publishable_pods(), service_lists)
def test_a_younger_service_never_renames_a_group(pod, services):
    names = names_of(services)
    for older in range(len(services)):
        ordered = sorted(selecting(pod, services), key=services.index)
        fewer = selecting(pod, ordered)[:older]
        before = container_groups(pod, fewer, Naming(), names)
        after = container_groups(pod, services, Naming(), names)
        for container, group in before.items():
            assert group is None or group.name == after[container].name


@given(strategies.publishable_pods(), service_lists)
def test_every_domain_of_a_group_is_a_label_or_fully_qualified(pod, services):
    for group in container_groups(pod, services, Naming(), ()).values():
        for domain in group.domains if group else ():
            assert is_domain(domain.name)
            assert domain.name.endswith(".") == ("." in domain.name)


@given(strategies.publishable_pods())
def test_at_most_one_container_is_published_by_default(pod):
    published = [
        container for container in pod.spec.containers if default_group(pod, container) is not None
    ]
    ports = {
        (container.name, port.container_port)
        for container in pod.spec.containers
        for port in container.ports
        if port.protocol == "TCP"
    }
    assert len(published) == (len(ports) == 1)


@settings(max_examples=30)
@given(strategies.hostile_pods(), st.lists(strategies.hostile_services(), max_size=2))
def test_nothing_makes_services_crash(pod, services):
    container_groups(pod, services, Naming(), names_of(services))
    for container in pod.spec.containers:
        default_group(pod, container)
    for service in services:
        service_problems(service)

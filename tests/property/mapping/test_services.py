from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.mapping.annotations import is_domain
from kraftlet_trio.mapping.names import Naming
from kraftlet_trio.mapping.services import (
    container_groups,
    default_group,
    handlers,
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


def names_of(services):
    return {service.metadata.name for service in services}


@given(st.integers(1, 65535))
def test_handlers_are_the_ones_the_platform_accepts(port):
    assert handlers(port) == {80: ("http",), 443: ("tls", "http")}.get(port, ("tls",))


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
        assert set(published) == {public for public, _ in wanted}
        # Of several targets, the first one of the oldest Service holds.
        assert published == dict(reversed(wanted))
        assert all(port.handlers == handlers(port.port) for port in group.services)
        conflicts = [p for p in group.problems if p.reason == "ConflictingServicePort"]
        assert bool(conflicts) == any(published[public] != target for public, target in wanted)


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

"""Kubernetes Services as the platform's service groups.

A group publishes ports under a domain and balances over its instances; an instance is in one group
at most, from its creation on. So all Services that select a Pod become one group for each of its
containers, which bears the name of the oldest one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import attrs

from kraftlet_trio.cloud.objects import DomainRequest, ServiceGroupRequest
from kraftlet_trio.cloud.objects import Service as PublishedPort
from kraftlet_trio.kubernetes.objects import Service, ServicePort
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.mapping.annotations import ServiceDomains, is_domain, service_domains
from kraftlet_trio.mapping.names import Naming
from kraftlet_trio.mapping.problems import ConfigurationWarning

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@attrs.frozen(kw_only=True)
class ContainerGroup:
    """The group that publishes one container of a Pod."""

    name: str
    services: tuple[PublishedPort, ...]
    """In the order of their public ports, each of which occurs once."""
    domains: tuple[DomainRequest, ...]
    """None: the platform makes one up."""
    problems: tuple[ConfigurationWarning, ...] = ()
    """Ports and annotations without effect."""


def selecting(pod: Pod, services: Iterable[Service]) -> tuple[Service, ...]:
    """The Services that select *pod*, the oldest first."""
    labels = pod.metadata.labels.items()
    selected = (
        service
        for service in services
        if service.metadata.namespace == pod.metadata.namespace
        and service.spec.type != "ExternalName"
        and service.spec.selector
        and service.spec.selector.items() <= labels
    )
    return tuple(sorted(selected, key=_age))


def handlers(port: int) -> tuple[str, ...]:
    """What the platform's edge does on a public *port*: the one choice that it accepts."""
    match port:
        case 80:
            return ("http",)
        case 443:
            return ("tls", "http")
        case _:
            return ("tls",)


def container_groups(
    pod: Pod, services: Iterable[Service], naming: Naming, all_service_names: Collection[str]
) -> Mapping[str, ContainerGroup | None]:
    """The group of each regular container of *pod*, or None where no Service has a port for it.

    *services* may be all there are; *all_service_names* are those of the Pod's namespace.
    """
    selected = selecting(pod, services)
    return {
        container.name: _group(pod, container, selected, naming, all_service_names)
        for container in pod.spec.containers
    }


def default_group(pod: Pod, container: Container) -> ServiceGroupRequest | None:
    """The group of its own for the one container with the one port of a Pod without any Service.

    Call it only when ``container_groups`` has none for any container of *pod*.
    """
    declared = {
        (owner.name, port.container_port)
        for owner in pod.spec.containers
        for port in owner.ports
        if port.protocol == "TCP"
    }
    if len(declared) != 1:
        return None
    [(owner_name, port_number)] = declared
    if owner_name != container.name:
        return None
    return ServiceGroupRequest(
        services=(PublishedPort(port=443, destination_port=port_number, handlers=handlers(443)),)
    )


def service_problems(service: Service) -> tuple[ConfigurationWarning, ...]:
    """What of *service* never has an effect, whatever Pods it selects."""
    unsupported = [
        ConfigurationWarning(
            "UnsupportedServicePort",
            f"port {port.port}/{port.protocol} of Service {service.metadata.name} is not "
            "published: the platform publishes TCP only; use TCP, or another node",
        )
        for port in service.spec.ports
        if port.protocol != "TCP"
    ]
    invalid = [
        ConfigurationWarning(
            "InvalidAnnotation", f"Service {service.metadata.name}: {problem.message}"
        )
        for problem in service_domains(service).problems
    ]
    return (*unsupported, *invalid)


def _age(service: Service) -> tuple[datetime, str]:
    return service.metadata.creation_timestamp or _BEGINNING, service.metadata.name


def _group(
    pod: Pod,
    container: Container,
    selected: Sequence[Service],
    naming: Naming,
    all_service_names: Collection[str],
) -> ContainerGroup | None:
    alone = len(pod.spec.containers) == 1
    oldest: Service | None = None
    targets: dict[int, tuple[int, str]] = {}
    domains: dict[str, None] = {}
    problems: list[ConfigurationWarning] = []
    for service in selected:
        mapped = [
            (port.port, target)
            for port in service.spec.ports
            if (target := _target(port, container, alone=alone)) is not None
        ]
        if not mapped:
            continue
        oldest = oldest or service
        problems += service_problems(service)
        for public, target in mapped:
            taken, owner = targets.setdefault(public, (target, service.metadata.name))
            if taken != target:
                problems.append(
                    ConfigurationWarning(
                        "ConflictingServicePort",
                        f"port {public} of Service {service.metadata.name} should lead to port "
                        f"{target} of container {container.name}, but Service {owner} leads it to "
                        f"{taken}, which holds; give one of them another port, or other Pods",
                    )
                )
        domain = _domain(service_domains(service), container, alone=alone)
        if domain is None:
            continue
        if is_domain(domain):
            domains[domain] = None
        else:
            problems.append(
                ConfigurationWarning(
                    "InvalidDomain",
                    f"domain {domain} of container {container.name}, made of the annotation of "
                    f"Service {service.metadata.name}, is no DNS name; set "
                    f"domain.{container.name} to a shorter one",
                )
            )
    if oldest is None:
        return None
    return ContainerGroup(
        name=naming.service_group(
            pod.metadata.namespace,
            oldest.metadata.name,
            None if alone else container.name,
            services=all_service_names,
        ),
        services=tuple(
            PublishedPort(port=public, destination_port=target, handlers=handlers(public))
            for public, (target, _) in sorted(targets.items())
        ),
        domains=tuple(_domain_request(domain) for domain in domains),
        problems=tuple(problems),
    )


def _target(port: ServicePort, container: Container, *, alone: bool) -> int | None:
    """The container's port behind a Service's *port*, if it leads to this container at all.

    A named one has to be declared. So has a number, to tell containers apart, unless the container
    is *alone* in its Pod: Kubernetes takes declarations for information only.
    """
    if port.protocol != "TCP":
        return None
    wanted = port.target_port or port.port
    for declared in container.ports:
        if declared.protocol == "TCP" and wanted in (declared.name, declared.container_port):
            return declared.container_port
    return wanted if alone and isinstance(wanted, int) else None


def _domain(domains: ServiceDomains, container: Container, *, alone: bool) -> str | None:
    if own := domains.of_container.get(container.name):
        return own
    if domains.common is None or alone:
        return domains.common
    return f"{container.name}-{domains.common}"


def _domain_request(domain: str) -> DomainRequest:
    """A dotted name is fully qualified, which the platform tells by a final dot; a label is not."""
    is_qualified = "." in domain
    return DomainRequest(name=domain.removesuffix(".") + "." if is_qualified else domain)

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
from kraftlet_trio.mapping.annotation_values import is_domain
from kraftlet_trio.mapping.annotations import lasting_containers
from kraftlet_trio.mapping.names import Naming
from kraftlet_trio.mapping.problems import ConfigurationWarning
from kraftlet_trio.mapping.service_annotations import (
    DEFAULT_LIMITS,
    HTTP_PORT,
    HTTPS_PORT,
    ConnectionLimits,
    ServiceOptions,
    default_handlers,
    service_options,
)

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@attrs.frozen(kw_only=True)
class ContainerGroup:
    """The group that publishes one container of a Pod."""

    name: str
    services: tuple[PublishedPort, ...]
    """In the order of their public ports, each of which occurs once."""
    domains: tuple[DomainRequest, ...]
    """None: the platform makes one up."""
    limits: ConnectionLimits = DEFAULT_LIMITS
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


def container_groups(
    pod: Pod,
    services: Iterable[Service],
    naming: Naming,
    all_service_names: Collection[str],
    *,
    ignored: Collection[str] = (),
) -> Mapping[str, ContainerGroup | None]:
    """The group of each container of *pod* that stays, or None where no Service has a port for it.

    *services* may be all there are; *all_service_names* are those of the Pod's namespace.
    Containers named in *ignored* count as if they were not there.
    """
    selected = selecting(pod, services)
    lasting = [one for one in lasting_containers(pod) if one.name not in ignored]
    regular = [one for one in pod.spec.containers if one.name not in ignored]
    return {
        container.name: _group(
            pod,
            _Published(container, lasting, alone=regular == [container]),
            selected,
            naming,
            all_service_names,
        )
        for container in lasting
    }


def default_group(
    pod: Pod, container: Container, *, ignored: Collection[str] = ()
) -> ServiceGroupRequest | None:
    """The group of its own for the one regular container with the one port, without any Service.

    Call it only when ``container_groups`` has none for any container of *pod*.
    """
    declared = {
        (owner.name, port.container_port)
        for owner in pod.spec.containers
        for port in owner.ports
        if port.protocol == "TCP" and owner.name not in ignored
    }
    if len(declared) != 1:
        return None
    [(owner_name, port_number)] = declared
    if owner_name != container.name:
        return None
    https = PublishedPort(
        port=HTTPS_PORT, destination_port=port_number, handlers=default_handlers(HTTPS_PORT)
    )
    return ServiceGroupRequest(services=(https,))


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
        for problem in service_options(service).problems
    ]
    return (*unsupported, *invalid)


def _age(service: Service) -> tuple[datetime, str]:
    return service.metadata.creation_timestamp or _BEGINNING, service.metadata.name


@attrs.frozen
class _Published:
    """A container, seen from the Services that select its Pod."""

    container: Container
    lasting: Sequence[Container]
    """All of its Pod that count."""
    alone: bool
    """Whether it is the only regular one of them."""

    @property
    def name(self) -> str:
        return self.container.name

    def target(self, port: ServicePort) -> int | None:
        """Its port behind a Service's *port*, if that leads to it at all.

        A named one has to be declared. So has a number, to tell containers apart, unless it is the
        only one: Kubernetes takes declarations for information only.
        """
        if port.protocol != "TCP":
            return None
        wanted = port.target_port or port.port
        declared = _declared(self.container, wanted)
        if declared is not None or not self.alone or not isinstance(wanted, int):
            return declared
        others = (one for one in self.lasting if one is not self.container)
        return wanted if all(_declared(other, wanted) is None for other in others) else None

    def domains(self, options: ServiceOptions) -> tuple[str, ...]:
        if own := options.domains_of.get(self.name):
            return own
        if self.alone:
            return options.domains
        return tuple(f"{self.name}-{domain}" for domain in options.domains)


def _declared(container: Container, wanted: int | str) -> int | None:
    for port in container.ports:
        if port.protocol == "TCP" and wanted in (port.name, port.container_port):
            return port.container_port
    return None


def _group(
    pod: Pod,
    published: _Published,
    selected: Sequence[Service],
    naming: Naming,
    all_service_names: Collection[str],
) -> ContainerGroup | None:
    involved = []
    for service in selected:
        targets = [
            (port.port, target)
            for port in service.spec.ports
            if (target := published.target(port)) is not None
        ]
        if targets:
            involved.append(_Involved(service, service_options(service), targets))
    if not involved:
        return None
    problems = [problem for one in involved for problem in service_problems(one.service)]
    name = naming.service_group(
        pod.metadata.namespace,
        involved[0].name,
        None if published.alone else published.name,
        services=all_service_names,
    )
    ports = _ports(published, involved, problems)
    domains = _domains(published, involved, problems)
    limits = _limits(published, involved, problems)
    return ContainerGroup(
        name=name, services=ports, domains=domains, limits=limits, problems=tuple(problems)
    )


@attrs.frozen
class _Involved:
    """A Service with a port that leads to the container."""

    service: Service
    options: ServiceOptions
    targets: Sequence[tuple[int, int]]
    """Public ports, each with the container's port behind it."""

    @property
    def name(self) -> str:
        return self.service.metadata.name

    def publishes(self, public: int) -> bool:
        """Of any container."""
        return any(port.port == public for port in self.service.spec.ports)


def _ports(
    published: _Published, involved: Sequence[_Involved], problems: list[ConfigurationWarning]
) -> tuple[PublishedPort, ...]:
    taken: dict[int, tuple[int, str]] = {}
    for one in involved:
        for public, target in one.targets:
            present, owner = taken.setdefault(public, (target, one.name))
            if present != target:
                problems.append(
                    ConfigurationWarning(
                        "ConflictingServicePort",
                        f"port {public} of Service {one.name} should lead to port {target} of "
                        f"container {published.name}, but Service {owner} leads it to {present}, "
                        "which holds; give one of them another port, or other Pods",
                    )
                )
    ports = {
        public: PublishedPort(
            port=public, destination_port=target, handlers=default_handlers(public)
        )
        for public, (target, _) in taken.items()
    }
    redirecting = [one for one in involved if one.options.redirect]
    if redirecting and HTTPS_PORT in ports:
        ports[HTTP_PORT] = _REDIRECTION
    elif redirecting and (HTTP_PORT in ports or not redirecting[0].publishes(HTTPS_PORT)):
        problems.append(
            ConfigurationWarning(
                "InvalidAnnotation",
                f"Service {redirecting[0].name} should redirect port {HTTP_PORT} to port "
                f"{HTTPS_PORT}, which no Service publishes of container {published.name}; add that "
                "port to the Service, or remove the annotation",
            )
        )
    return tuple(ports[public] for public in sorted(ports))


_REDIRECTION = PublishedPort(
    port=HTTP_PORT, destination_port=HTTPS_PORT, handlers=("http", "redirect")
)


def _domains(
    published: _Published, involved: Iterable[_Involved], problems: list[ConfigurationWarning]
) -> tuple[DomainRequest, ...]:
    domains: dict[str, None] = {}
    for one in involved:
        for domain in published.domains(one.options):
            if is_domain(domain):
                domains[domain] = None
                continue
            problems.append(
                ConfigurationWarning(
                    "InvalidDomain",
                    f"domain {domain} of container {published.name}, made of the annotation of "
                    f"Service {one.name}, is no DNS name; set domain.{published.name} to a shorter "
                    "one",
                )
            )
    return tuple({_domain_request(domain): None for domain in domains})


def _limits(
    published: _Published, involved: Iterable[_Involved], problems: list[ConfigurationWarning]
) -> ConnectionLimits:
    limited = [one for one in involved if one.options.limits != DEFAULT_LIMITS]
    if not limited:
        return DEFAULT_LIMITS
    first, *others = limited
    problems += [
        ConfigurationWarning(
            "ConflictingServiceLimits",
            f"the limits of Service {other.name} have no effect on container {published.name}: "
            f"those of Service {first.name} hold; write the same ones, or none",
        )
        for other in others
        if other.options.limits != first.options.limits
    ]
    return first.options.limits


def _domain_request(domain: str) -> DomainRequest:
    """A dotted name is fully qualified, which the platform tells by a final dot; a label is not."""
    is_qualified = "." in domain
    return DomainRequest(name=domain.removesuffix(".") + "." if is_qualified else domain)

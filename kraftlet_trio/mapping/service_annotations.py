"""Annotations that shape what a Service becomes in the cloud.

Values that cannot be understood count as absent, one item of a list at a time, and are reported as
problems beside the result; so are keys of ours that are not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from kraftlet_trio.kubernetes.objects import Service
from kraftlet_trio.mapping.annotation_values import (
    AnnotationProblem,
    AnnotationReader,
    is_domain,
)

SERVICE_PREFIX: Final = "cloud.unikraft.v1.services/"

DOMAIN: Final = SERVICE_PREFIX + "domain"
"""For all containers, or with ``.<container>`` behind it for one: domains by comma."""
HANDLERS: Final = SERVICE_PREFIX + "handlers"
"""With ``.<port>`` behind it, the public port's number."""
REDIRECT: Final = SERVICE_PREFIX + "redirect"
SOFT_LIMIT: Final = SERVICE_PREFIX + "soft_limit"
HARD_LIMIT: Final = SERVICE_PREFIX + "hard_limit"

DEFAULT_SOFT_LIMIT: Final = 1
DEFAULT_HARD_LIMIT: Final = 65535
_LARGEST_LIMIT = 65535

HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443


@attrs.frozen
class ConnectionLimits:
    """Connections or requests at a time, for each instance of a group.

    Above *soft* a further sleeping instance is woken; above *hard* they are refused.
    Source: platform reference, service groups.
    """

    soft: int = DEFAULT_SOFT_LIMIT
    hard: int = DEFAULT_HARD_LIMIT


DEFAULT_LIMITS = ConnectionLimits()


@attrs.frozen(kw_only=True)
class ServiceOptions:
    """What a Service's annotations ask for."""

    domains: tuple[str, ...] = ()
    """In lower case, else as written; of each container without its own."""
    domains_of: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """By container."""
    redirect: bool = False
    """Whether port 80 leads to port 443."""
    limits: ConnectionLimits = DEFAULT_LIMITS
    problems: tuple[AnnotationProblem, ...] = ()


def default_handlers(port: int) -> tuple[str, ...]:
    """What the platform's edge does on a public *port*, as long as nobody says otherwise."""
    match port:
        case 80:
            return ("http",)
        case 443:
            return ("tls", "http")
        case _:
            return ("tls",)


def possible_handlers(port: int) -> tuple[tuple[str, ...], ...]:
    """Each choice of handlers that the platform accepts on a public *port*, the default first.

    Source: platform reference, service groups.
    """
    if port == HTTP_PORT:
        return (default_handlers(port), ("http", "redirect"))
    return (default_handlers(port),)


def service_options(service: Service) -> ServiceOptions:
    """What the annotations of *service* ask for. Never raises."""
    reader = AnnotationReader(service.metadata.annotations)
    known = {DOMAIN, REDIRECT, SOFT_LIMIT, HARD_LIMIT}
    read = set(known)
    domains_of = {}
    for key, container in reader.keys(f"{DOMAIN}."):
        read.add(key)
        if domains := _domains(reader, key):
            domains_of[container] = domains
    handlers = {}
    for key, port in reader.keys(f"{HANDLERS}."):
        read.add(key)
        if chosen := _handlers(reader, key, port):
            handlers[int(port)] = chosen
    options = ServiceOptions(
        domains=_domains(reader, DOMAIN),
        domains_of=domains_of,
        redirect=_redirect(reader, handlers),
        limits=_limits(reader),
    )
    reader.report_unknown(
        SERVICE_PREFIX, {*known, f"{HANDLERS}.<port>"}, lambda name: SERVICE_PREFIX + name in read
    )
    return attrs.evolve(options, problems=tuple(reader.problems))


def _domains(reader: AnnotationReader, key: str) -> tuple[str, ...]:
    domains: dict[str, None] = {}
    for item in reader.items(key):
        if is_domain(item.lower()):
            domains[item.lower()] = None
        else:
            reader.report(
                key,
                'the domain is left out; write DNS names by comma, such as "my-app" or '
                '"app.example.com"',
                item=item,
            )
    return tuple(domains)


def _handlers(reader: AnnotationReader, key: str, port: str) -> tuple[str, ...] | None:
    wanted = {item.lower() for item in reader.items(key)}
    if not wanted:
        return None
    if not (port.isascii() and port.isdecimal() and 1 <= len(port) <= 5):
        reader.report(key, f'write the key as "handlers.{HTTPS_PORT}", with a port\'s number')
        return None
    possible = possible_handlers(int(port))
    for choice in possible:
        if set(choice) == wanted:
            return choice
    choices = " or ".join(f'"{", ".join(choice)}"' for choice in possible)
    reader.report(key, f"the platform's edge offers only {choices} on this port; write that")
    return None


def _redirect(reader: AnnotationReader, handlers: Mapping[int, tuple[str, ...]]) -> bool:
    chosen = handlers.get(HTTP_PORT)
    redirects = chosen is not None and "redirect" in chosen
    asked = reader.boolean(REDIRECT, default=redirects)
    if chosen is not None and asked != redirects:
        reader.report(REDIRECT, f"handlers.{HTTP_PORT} says otherwise, and holds; remove either")
        return redirects
    return asked


def _limits(reader: AnnotationReader) -> ConnectionLimits:
    hard = reader.number(
        HARD_LIMIT, "whole numbers", default=DEFAULT_HARD_LIMIT, least=1, most=_LARGEST_LIMIT
    )
    soft = reader.number(
        SOFT_LIMIT, "whole numbers", default=DEFAULT_SOFT_LIMIT, least=1, most=_LARGEST_LIMIT
    )
    if soft > hard:
        reader.report(
            SOFT_LIMIT,
            f'"{DEFAULT_SOFT_LIMIT}" is used; write no more than the hard limit, which is {hard}',
        )
        soft = DEFAULT_SOFT_LIMIT
    return ConnectionLimits(soft, hard)

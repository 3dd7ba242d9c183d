"""What a request says about service groups: ports, handlers, domains, limits."""

from __future__ import annotations

from typing import Any

import attrs

from kraftlet_trio.cloud.objects import Service
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier, read_identifier
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.validation import valid_domain, valid_name

_HIGHEST_PORT = 65535
_HTTPS_PORT = 443
_HANDLERS = frozenset({"tls", "http", "redirect"})
DEFAULT_SOFT_LIMIT = 1
MOST_AUTOKILL_MS = 10**12
DEFAULT_HARD_LIMIT = 65535


@attrs.frozen(kw_only=True)
class DomainSpec:
    fqdn: str
    """Without a trailing dot."""
    certificate: Identifier | None = None
    is_own: bool = False
    """Not below the metro's: the platform requests a certificate for it."""


@attrs.frozen(kw_only=True)
class GroupSpec:
    name: str | None
    services: tuple[Service, ...]
    domains: tuple[DomainSpec, ...]
    """Empty when one is to be generated."""
    soft_limit: int
    hard_limit: int
    autokill_ms: int = 0


def read_group(members: Members, zone: str) -> GroupSpec:
    autokill_ms = read_autokill_ms(members)
    return attrs.evolve(read_inline_group(members, zone), autokill_ms=autokill_ms)


def read_autokill_ms(members: Members) -> int:
    """The time after which what was made goes by itself, 0 for never."""
    autokill = members.child("autokill")
    if autokill is None:
        return 0
    time_ms = autokill.integer("time_ms", 0, MOST_AUTOKILL_MS) or 0
    autokill.done()
    return time_ms


def read_inline_group(members: Members, zone: str) -> GroupSpec:
    name = members.text("name")
    services = tuple(read_service(item) for item in members.children("services") or [])
    if not services:
        raise invalid("A service group needs at least one service")
    if len({service.port for service in services}) < len(services):
        raise invalid("Two services have the same port")
    domains = tuple(read_domain(item, zone) for item in members.children("domains") or [])
    spec = GroupSpec(
        name=None if name is None else valid_name(name),
        services=services,
        domains=tuple({domain.fqdn: domain for domain in domains}.values()),
        soft_limit=members.integer("soft_limit", 1, 65535) or DEFAULT_SOFT_LIMIT,
        hard_limit=members.integer("hard_limit", 1, 65535) or DEFAULT_HARD_LIMIT,
    )
    members.done()
    check_limits(spec.soft_limit, spec.hard_limit)
    return spec


def check_limits(soft_limit: int, hard_limit: int) -> None:
    if soft_limit > hard_limit:
        raise BadRequest("'soft_limit' must not be above 'hard_limit'")


def read_service(members: Members) -> Service:
    port = members.integer("port", 1, _HIGHEST_PORT)
    if port is None:
        raise BadRequest("Missing member 'port' in a service")
    destination = members.integer("destination_port", 1, _HIGHEST_PORT)
    protocol = members.choice("protocol", ("tcp", "udp")) or "tcp"
    handlers = members.texts("handlers")
    members.done()
    if protocol == "udp":
        raise ItemError(ErrorCode.NOT_SUPPORTED, "UDP services need an address of the account")
    chosen = _valid_handlers(port, handlers)
    if "redirect" in chosen:
        if destination not in (None, _HTTPS_PORT):
            raise invalid(f"Handler redirect leads to port {_HTTPS_PORT} only")
        destination = _HTTPS_PORT
    return Service(
        port=port, destination_port=destination or port, protocol=protocol, handlers=chosen
    )


def _valid_handlers(port: int, handlers: tuple[str, ...] | None) -> tuple[str, ...]:
    """80: http, perhaps to redirect. 443: http and tls. Others: tls (reference, service groups)."""
    given = set(handlers or ())
    if unknown := given - _HANDLERS:
        raise invalid(f"Invalid handler '{min(unknown)}'")
    match port:
        case 80:
            needed, allowed = {"http"}, {"http", "redirect"}
        case 443:
            needed, allowed = {"http", "tls"}, {"http", "tls"}
        case _:
            needed, allowed = {"tls"}, {"tls"}
    if not handlers:
        return tuple(sorted(needed))
    if not needed <= given <= allowed:
        raise invalid(f"Handlers {', '.join(sorted(given))} are not possible on port {port}")
    return tuple(dict.fromkeys(handlers))


def read_domain(members: Members, zone: str) -> DomainSpec:
    name = members.required_text("name")
    certificate, identifier = members.child("certificate"), None
    if certificate is not None:
        identifier = read_identifier(certificate)
        certificate.done()
    members.done()
    return DomainSpec(
        fqdn=valid_domain(name, zone), certificate=identifier, is_own=name.endswith(".")
    )


def read_port_key(value: Any) -> int:
    """What a service is deleted by: its port, alone or as an object."""
    if isinstance(value, dict):
        value = value.get("port")
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest("Expected a port")
    return value


def read_domain_key(value: Any, zone: str) -> str:
    """What a domain is deleted by: its name, alone or as an object."""
    if isinstance(value, dict):
        value = value.get("name")
    if not isinstance(value, str):
        raise BadRequest("Expected a domain name")
    if value.endswith(f".{zone}"):
        return value
    return valid_domain(value, zone)

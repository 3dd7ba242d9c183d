"""Endpoints under /v1/certificates, and what domains need of certificates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud.account import Account, random_suffix
from kraftlet_trio.simulators.cloud.actions import new_uuid
from kraftlet_trio.simulators.cloud.calls import Call, Cloud, perform_each
from kraftlet_trio.simulators.cloud.certificate_files import (
    CertificateIdentity,
    read_certificate,
)
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope, success
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.listing import read_records, timestamp
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.records import Certificate, ServiceGroup
from kraftlet_trio.simulators.cloud.references import reference
from kraftlet_trio.simulators.cloud.service_spec import DomainSpec
from kraftlet_trio.simulators.cloud.validation import valid_domain, valid_name

KIND = "certificates"
_REQUESTED_DAYS = 90
"""What Let's Encrypt issues for."""


def check_domains(
    account: Account, domains: Sequence[DomainSpec], *, by: ServiceGroup | None
) -> None:
    """Raises ``ItemError`` if a domain is another group's, or has a certificate that cannot be."""
    account.check_domains_free((domain.fqdn for domain in domains), by=by)
    for domain in domains:
        if domain.certificate is not None:
            certificate = account.certificates.find(domain.certificate)
            if certificate.state == "error":
                raise invalid(f"Certificate '{certificate.name}' is not valid")
            if not _covers(certificate.common_name, domain.fqdn):
                raise ItemError(
                    ErrorCode.CERTIFICATE_MISMATCH,
                    f"Certificate '{certificate.name}' is not for '{domain.fqdn}'",
                )


def assign_domains(account: Account, group: ServiceGroup, domains: Sequence[DomainSpec]) -> None:
    """Give *group* these domains, which were checked; those of the user's get certificates."""
    group.domains = tuple(domain.fqdn for domain in domains)
    group.certificates = {}
    for domain in domains:
        if domain.certificate is not None:
            group.certificates[domain.fqdn] = account.certificates.find(domain.certificate)
        elif domain.is_own:
            group.certificates[domain.fqdn] = _requested(account, domain.fqdn)


def _requested(account: Account, common_name: str) -> Certificate:
    """The certificate that the platform has for *common_name*, or requests now."""
    for certificate in account.certificates:
        if certificate.common_name == common_name and certificate.state != "error":
            return certificate
    settings = account.settings
    certificate = Certificate(
        uuid=new_uuid(),
        name=_generated_name(account, common_name),
        created_at=utc_now(),
        common_name=common_name,
        requested=True,
        issued_at=trio.current_time() + settings.certificate_seconds,
        fails=settings.certificate_requests_fail,
    )
    account.certificates.add(certificate)
    return certificate


def _covers(common_name: str, domain: str) -> bool:
    wildcard = domain.replace(domain.partition(".")[0], "*", 1)
    return common_name in (domain, wildcard)


def _generated_name(account: Account, common_name: str) -> str:
    while account.certificates.has_name(name := f"{common_name}-{random_suffix(5)}"):
        pass
    return name


@attrs.frozen(kw_only=True)
class _Upload:
    name: str | None
    common_name: str
    identity: CertificateIdentity


async def create_certificate(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def read(members: Members) -> _Upload:
        name, common_name = members.text("name"), _read_common_name(members)
        chain, key = members.required_text("chain"), members.required_text("pkey")
        members.done()
        return _Upload(
            name=None if name is None else valid_name(name),
            common_name=common_name,
            identity=read_certificate(chain, key, common_name),
        )

    def act(upload: _Upload) -> Outcome:
        if upload.name is not None:
            account.certificates.check_free(upload.name)
        certificate = Certificate(
            uuid=new_uuid(),
            name=upload.name or _generated_name(account, upload.common_name),
            created_at=utc_now(),
            common_name=upload.common_name,
            requested=False,
            issued_at=trio.current_time(),
            identity=upload.identity,
        )
        account.certificates.add(certificate)
        return success(**_details(account, certificate))

    outcomes = await perform_each(call, [call.object()], read, act)
    deprecated = "cn" in call.object()
    warnings = ["Field 'cn' is deprecated, use 'common_name'"] if deprecated else []
    return envelope(KIND, outcomes, began=call.began, warnings=warnings)


def _read_common_name(members: Members) -> str:
    """Exactly one of two members, which ends with a dot."""
    deprecated, common_name = members.text("cn"), members.text("common_name")
    if (deprecated is None) == (common_name is None):
        raise BadRequest("Exactly one of 'cn' and 'common_name' is needed")
    name = common_name if common_name is not None else deprecated
    assert name is not None
    if not name.endswith("."):
        raise invalid(f"Common name '{name[:80]}' does not end with a dot")
    return valid_domain(name, "")


async def read_certificates(cloud: Cloud, call: Call) -> Response:
    account = cloud.account
    outcomes = read_records(
        call,
        account.certificates,
        lambda certificate: _details(account, certificate),
        cloud.settings,
        single_in_full=True,  # the SDK has no way to ask for it
    )
    return envelope(KIND, outcomes, began=call.began)


async def update_certificates(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def read(members: Members) -> tuple[Identifier, str, str]:
        target = call.target(members)
        chain, key = members.required_text("chain"), members.required_text("pkey")
        members.done()
        return target, chain, key

    def act(item: tuple[Identifier, str, str]) -> Outcome:
        target, chain, key = item
        certificate = account.certificates.find(target)
        if certificate.requested:
            raise ItemError(
                ErrorCode.NOT_ALLOWED, f"Certificate '{certificate.name}' was not uploaded"
            )
        certificate.identity = read_certificate(chain, key, certificate.common_name)
        return success(**_details(account, certificate))

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


async def delete_certificates(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def act(target: Identifier) -> Outcome:
        certificate = account.certificates.find(target)
        if _users(account, certificate):
            raise ItemError(
                ErrorCode.ATTACHED, f"Certificate '{certificate.name}' is used by a service group"
            )
        account.certificates.remove(certificate)
        return success(uuid=certificate.uuid, name=certificate.name)

    outcomes = await perform_each(call, call.items(), call.only_target, act)
    return envelope(KIND, outcomes, began=call.began)


def _users(account: Account, certificate: Certificate) -> list[ServiceGroup]:
    return [group for group in account.groups if certificate in group.certificates.values()]


def _details(account: Account, certificate: Certificate) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "uuid": certificate.uuid,
        "name": certificate.name,
        "created_at": timestamp(certificate.created_at),
        "common_name": certificate.common_name,
        "state": certificate.state,
        "service_groups": [reference(group) for group in _users(account, certificate)],
    }
    if certificate.state == "pending":
        remaining = certificate.issued_at - trio.current_time()
        next_try = utc_now() + timedelta(seconds=remaining)
        shown["validation"] = {"attempt": 1, "next": timestamp(next_try)}
    elif certificate.state == "valid":
        identity = certificate.identity or _issued(certificate)
        shown |= {
            "subject": identity.subject,
            "issuer": identity.issuer,
            "serial_number": identity.serial_number,
            "not_before": timestamp(identity.not_before),
            "not_after": timestamp(identity.not_after),
        }
    return shown


def _issued(certificate: Certificate) -> CertificateIdentity:
    """What a certificate that the platform was issued would say."""
    return CertificateIdentity(
        subject=f"CN={certificate.common_name}",
        issuer="CN=R11,O=Let's Encrypt,C=US",
        serial_number=certificate.uuid.replace("-", ""),
        not_before=certificate.created_at,
        not_after=certificate.created_at + timedelta(days=_REQUESTED_DAYS),
    )

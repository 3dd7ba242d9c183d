"""Endpoints under /v1/services, and what instances need of service groups."""

from __future__ import annotations

from typing import Any

import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.objects import QuotaUse, Service
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud.account import (
    Account,
    random_group_name,
    random_suffix,
)
from kraftlet_trio.simulators.cloud.actions import new_uuid
from kraftlet_trio.simulators.cloud.calls import Call, Cloud, perform_each, perform_operations
from kraftlet_trio.simulators.cloud.certificates import assign_domains, check_domains
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope, success
from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.listing import read_records, timestamp
from kraftlet_trio.simulators.cloud.operations import Operation
from kraftlet_trio.simulators.cloud.records import ServiceGroup
from kraftlet_trio.simulators.cloud.references import reference, shown_domains
from kraftlet_trio.simulators.cloud.service_spec import (
    DEFAULT_HARD_LIMIT,
    DEFAULT_SOFT_LIMIT,
    DomainSpec,
    GroupSpec,
    check_limits,
    read_autokill_ms,
    read_domain,
    read_domain_key,
    read_group,
    read_port_key,
    read_service,
)

KIND = "service_groups"
_LONGEST_STEM = 63 - len("-12345678")


def check_new_group(account: Account, spec: GroupSpec) -> None:
    """Raises ``ItemError`` if its name or one of its domains is taken."""
    if spec.name is not None:
        account.groups.check_free(spec.name)
    check_domains(account, spec.domains, by=None)


def add_group(account: Account, spec: GroupSpec, *, persistent: bool) -> ServiceGroup:
    """Add the group, which has been checked; without domains it gets one."""
    name = spec.name
    if name is None or account.groups.has_name(name):
        name = random_group_name()
    stem = name[:_LONGEST_STEM].rstrip("-").lower()
    group = ServiceGroup(
        uuid=new_uuid(),
        name=name,
        created_at=utc_now(),
        persistent=persistent,
        services=spec.services,
        domains=(),
        soft_limit=spec.soft_limit,
        hard_limit=spec.hard_limit,
        autokill_ms=spec.autokill_ms,
        empty_since=trio.current_time(),
    )
    generated = DomainSpec(fqdn=f"{stem}-{random_suffix(8)}.{account.zone}")
    assign_domains(account, group, spec.domains or (generated,))
    if group.autokill_ms:
        account.perishables.add(group.uuid)
    account.groups.add(group)
    return group


async def create_groups(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def act(spec: GroupSpec) -> Outcome:
        check_new_group(account, spec)
        account.check_quota(QuotaUse(service_groups=1, services=len(spec.services)))
        group = add_group(account, spec, persistent=True)
        return success(uuid=group.uuid, name=group.name)

    outcomes = await perform_each(
        call, [call.object()], lambda members: read_group(members, account.zone), act
    )
    return envelope(KIND, outcomes, began=call.began)


async def read_groups(cloud: Cloud, call: Call) -> Response:
    outcomes = read_records(call, cloud.account.groups, _details, cloud.settings)
    return envelope(KIND, outcomes, began=call.began)


async def update_groups(cloud: Cloud, call: Call) -> Response:
    outcomes = await perform_operations(
        call,
        cloud.account.groups,
        lambda group, operation: _update(cloud.account, group, operation),
    )
    cloud.account.groups.touch()
    return envelope(KIND, outcomes, began=call.began)


def _update(account: Account, group: ServiceGroup, operation: Operation) -> None:
    match operation.prop:
        case "services":
            group.services = _changed_services(account, group, operation)
        case "domains":
            domains = operation.on_items(
                _domains(group),
                read=lambda members: read_domain(members, account.zone),
                key=lambda domain: domain.fqdn,
                read_key=lambda value: read_domain_key(value, account.zone),
            )
            check_domains(account, domains, by=group)
            assign_domains(account, group, domains)
        case "soft_limit":
            soft_limit = _limit(operation, DEFAULT_SOFT_LIMIT)
            check_limits(soft_limit, group.hard_limit)
            group.soft_limit = soft_limit
        case "hard_limit":
            hard_limit = _limit(operation, DEFAULT_HARD_LIMIT)
            check_limits(group.soft_limit, hard_limit)
            group.hard_limit = hard_limit
        case "autokill":
            group.autokill_ms = operation.on_scalar(
                lambda members: read_autokill_ms(members.renamed("value", "autokill")), 0
            )
            account.perishables.add(group.uuid)
        case prop:
            raise invalid(f"Property '{prop}' cannot be updated")


def _domains(group: ServiceGroup) -> list[DomainSpec]:
    certificates = group.certificates
    return [
        DomainSpec(
            fqdn=fqdn,
            certificate=Identifier(uuid=certificates[fqdn].uuid) if fqdn in certificates else None,
        )
        for fqdn in group.domains
    ]


def _changed_services(
    account: Account, group: ServiceGroup, operation: Operation
) -> tuple[Service, ...]:
    services = operation.on_items(
        group.services,
        read=read_service,
        key=lambda service: service.port,
        read_key=read_port_key,
    )
    if not services:
        raise invalid("A service group needs at least one service")
    account.check_quota(QuotaUse(services=len(services) - len(group.services)))
    return services


def _limit(operation: Operation, default: int) -> int:
    return operation.on_scalar(lambda members: members.integer("value", 1, 65535), default)


async def delete_groups(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def act(target: Identifier) -> Outcome:
        group = account.groups.find(target)
        if group.instances and not cloud.settings.used_group_can_be_deleted:
            raise ItemError(
                ErrorCode.ATTACHED, f"Service group '{group.name}' has instances attached"
            )
        account.check_not_busy(group)
        for instance in group.instances.values():
            instance.service_group = None
        account.groups.remove(group)
        return success(uuid=group.uuid, name=group.name)

    outcomes = await perform_each(call, call.items(), call.only_target, act)
    return envelope(KIND, outcomes, began=call.began)


def _details(group: ServiceGroup) -> dict[str, Any]:
    return {
        "uuid": group.uuid,
        "name": group.name,
        "created_at": timestamp(group.created_at),
        "persistent": group.persistent,
        "autoscale": False,
        "soft_limit": group.soft_limit,
        "hard_limit": group.hard_limit,
        "services": [
            {
                "port": service.port,
                "destination_port": service.destination_port,
                "protocol": service.protocol,
                "handlers": list(service.handlers),
            }
            for service in group.services
        ],
        "domains": shown_domains(group),
        "instances": [reference(instance) for instance in group.instances.values()],
        **({"autokill": {"time_ms": group.autokill_ms}} if group.autokill_ms else {}),
    }

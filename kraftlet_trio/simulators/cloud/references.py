"""Resources as they are shown within others."""

from __future__ import annotations

from typing import Any

from kraftlet_trio.simulators.cloud.records import Record, ServiceGroup


def reference(record: Record) -> dict[str, str]:
    return {"uuid": record.uuid, "name": record.name}


def shown_domains(group: ServiceGroup) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = [{"fqdn": fqdn} for fqdn in group.domains]
    for domain in shown:
        if (certificate := group.certificates.get(domain["fqdn"])) is not None:
            domain["certificate"] = reference(certificate)
    return shown

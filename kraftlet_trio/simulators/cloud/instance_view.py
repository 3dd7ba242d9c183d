"""Instances as the API shows them. What is not set is left out."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.objects import STANDBY
from kraftlet_trio.simulators.cloud.calendar_events import read_calendar_event
from kraftlet_trio.simulators.cloud.listing import timestamp
from kraftlet_trio.simulators.cloud.records import Autokill, Instance, Update
from kraftlet_trio.simulators.cloud.references import shown_domains


def identity(instance: Instance) -> dict[str, str]:
    return {"uuid": instance.uuid, "name": instance.name, "state": instance.state}


def created(instance: Instance) -> dict[str, Any]:
    """The answer to a create: less than a read shows."""
    return {**identity(instance), "private_fqdn": _private_fqdn(instance)}


def details(instance: Instance) -> dict[str, Any]:
    shown: dict[str, Any] = {
        **identity(instance),
        "created_at": timestamp(instance.created_at),
        "image": instance.image.resolved,
        "memory_mb": instance.memory_mb,
        "vcpus": instance.vcpus,
        "start_count": instance.start_count,
        "uptime_ms": round(uptime_seconds(instance) * 1000),
        "restart_policy": instance.restart_policy,
        "scale_to_zero": _scale_to_zero(instance),
        "delete_lock": instance.delete_lock,
        "type": "micro",
        **run_times(instance),
        **_machine_times(instance),
        **_stop(instance),
        **(_of_saved(instance) if instance.state in _SAVED else _of_running(instance)),
    }
    optional = {
        "gateway": instance.gateway,
        "nameserver": instance.nameserver,
        "snapshot": _snapshot(instance),
        "schedules": [_schedule(schedule) for schedule in instance.schedules],
        "args": None if instance.args is None else list(instance.args),
        "env": instance.env,
        "restart_count": instance.restart_count,
        "service_group": _service_group(instance),
        "volumes": [
            {
                "uuid": each.volume.uuid,
                "name": each.volume.name,
                "at": each.at,
                "readonly": each.readonly,
            }
            for each in instance.attachments
        ],
        "roms": list(instance.roms),
        "plugins": [_plugin(plugin) for plugin in instance.plugins],
        "tags": list(instance.tags),
        "annotations": instance.annotations,
        "features": list(instance.features),
        "updates": [_update(update) for update in instance.updates],
    }
    return {**shown, **{name: value for name, value in optional.items() if value}}


_SAVED = ("template", "checkpoint")
_INTERFACES = UUID("6f7c1c52-2d0e-4b58-9f4c-1d7b6a3e8a10")
_SNAPSHOTS = UUID("0b8f5b5e-6f0a-4a44-8f3c-6a4d2f1f9d33")
"""Name spaces: what belongs to an instance has a UUID that follows from its own."""


def _of_running(instance: Instance) -> dict[str, Any]:
    """What only those have that can run."""
    interface = uuid5(_INTERFACES, instance.uuid)
    shown: dict[str, Any] = {
        "private_fqdn": _private_fqdn(instance),
        "private_ip": instance.private_ip,
        "network_interfaces": [
            {
                "uuid": str(interface),
                "name": f"{instance.name}-eth0",
                "private_ip": instance.private_ip,
                "mac": "02:" + interface.bytes[:5].hex(":"),
                "autoconfig": True,
            }
        ],
    }
    if instance.service_group is not None:
        services = instance.service_group.services
        shown["services"] = [f"{each.protocol or 'tcp'}:{each.port}" for each in services]
    if instance.autokill != Autokill():
        shown["autokill"] = {
            "time_ms": instance.autokill.time_ms,
            "num_requests": instance.autokill.num_requests,
        }
    if instance.retained_until is not None:
        shown["retained_until"] = timestamp(instance.retained_until)
    return shown


def _of_saved(instance: Instance) -> dict[str, Any]:
    """What only templates and checkpoints have."""
    shown: dict[str, Any] = {}
    if instance.template_seconds is not None:
        shown["template_time_us"] = round(instance.template_seconds * 1e6)
    if instance.autokill.time_ms:
        shown[f"{instance.state}_autokill"] = {"time_ms": instance.autokill.time_ms}
    return shown


def _snapshot(instance: Instance) -> dict[str, str] | None:
    """Of the memory: a template's, a checkpoint's, or what a stateful instance sleeps on."""
    asleep = instance.state == STANDBY and instance.scale_to_zero.stateful and instance.start_count
    if instance.state in _SAVED or asleep:
        return {"uuid": str(uuid5(_SNAPSHOTS, instance.uuid))}
    return None


def _schedule(schedule: dict[str, Any]) -> dict[str, Any]:
    next_at = read_calendar_event(schedule["when"]).next_after(utc_now())
    return {**schedule, **({"next_at": timestamp(next_at)} if next_at else {})}


def uptime_seconds(instance: Instance) -> float:
    """Over all runs."""
    if instance.booted_at is None:
        return instance.uptime_seconds
    return instance.uptime_seconds + trio.current_time() - instance.booted_at


def _private_fqdn(instance: Instance) -> str:
    return f"{instance.name}.internal"


def run_times(instance: Instance) -> dict[str, Any]:
    """When it started and stopped last, and how long its boot took."""
    shown: dict[str, Any] = {}
    if instance.started_at is not None:
        shown["started_at"] = timestamp(instance.started_at)
    if instance.stopped_at is not None:
        shown["stopped_at"] = timestamp(instance.stopped_at)
    if instance.boot_seconds is not None:
        shown["boot_time_us"] = round(instance.boot_seconds * 1e6)
        if instance.booted_at is None or (
            trio.current_time() - instance.booted_at >= instance.silent_seconds
        ):
            network_seconds = instance.boot_seconds + instance.silent_seconds
            shown["net_time_us"] = round(network_seconds * 1e6)
    return shown


def _machine_times(instance: Instance) -> dict[str, int]:
    """The virtual machine's own share of the boot, in an order that can be: made up."""
    if instance.boot_seconds is None:
        return {}
    boot_us = round(instance.boot_seconds * 1e6)
    return {
        "vmm_start_time_us": boot_us // 8,
        "vmm_load_time_us": boot_us // 4,
        "vmm_ready_time_us": boot_us // 2,
    }


def _stop(instance: Instance) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if trio.current_time() >= instance.stop_known_at:
        stop = instance.stop
        told = {"stop_reason": stop.reason, "stop_code": stop.code, "exit_code": stop.exit_code}
        shown = {name: value for name, value in told.items() if value is not None}
    if instance.restart is not None:
        shown["restart"] = {
            "attempt": instance.restart.attempt,
            "next_at": timestamp(instance.restart.next_at),
        }
    return shown


def _scale_to_zero(instance: Instance) -> dict[str, Any]:
    scaling = instance.scale_to_zero
    if scaling.policy == "off":
        return {"enabled": False, "policy": "off"}
    return {
        "enabled": True,
        "policy": scaling.policy,
        "stateful": scaling.stateful,
        "cooldown_time_ms": scaling.cooldown_time_ms,
        "notify_time_ms": scaling.notify_time_ms,
    }


def _service_group(instance: Instance) -> dict[str, Any] | None:
    group = instance.service_group
    if group is None:
        return None
    return {
        "uuid": group.uuid,
        "name": group.name,
        "domains": shown_domains(group),
    }


def _plugin(plugin: dict[str, Any]) -> dict[str, Any]:
    """Without its token."""
    shown = {name: value for name, value in plugin.items() if name != "authorization"}
    kind = plugin.get("authorization", {}).get("type", "userdb")
    return shown if kind == "userdb" else {**shown, "authorization": {"type": kind}}


def _update(update: Update) -> dict[str, Any]:
    operation = update.operation
    shown: dict[str, Any] = {
        "prop": operation.prop,
        "op": operation.op,
        "status": "failed" if update.error else "pending",
    }
    if operation.has_value:
        shown["value"] = operation.value
    if update.error:
        shown["error"] = update.error
    return shown

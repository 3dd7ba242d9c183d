"""Instances as the API shows them. What is not set is left out."""

from __future__ import annotations

from typing import Any

import trio

from kraftlet_trio.simulators.cloud.listing import timestamp
from kraftlet_trio.simulators.cloud.records import Instance, Update
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
        "private_fqdn": _private_fqdn(instance),
        "private_ip": instance.private_ip,
        "image": instance.image.resolved,
        "memory_mb": instance.memory_mb,
        "vcpus": instance.vcpus,
        "start_count": instance.start_count,
        "uptime_ms": round(uptime_seconds(instance) * 1000),
        "restart_policy": instance.restart_policy,
        "scale_to_zero": _scale_to_zero(instance),
        "hostname": instance.hostname or instance.name,
        "network_interfaces": [
            {"name": f"{instance.name}-eth0", "private_ip": instance.private_ip}
        ],
        "delete_lock": instance.delete_lock,
        "type": "micro",
        **run_times(instance),
        **_stop(instance),
    }
    optional = {
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
        shown["net_time_us"] = shown["boot_time_us"]
    return shown


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

"""Changes to instances: at once while stopped, else queued until the next stop."""

from __future__ import annotations

from typing import Any

from kraftlet_trio.cloud.objects import ScaleToZero
from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.images import ImageName
from kraftlet_trio.simulators.cloud.instance_options import (
    SCHED_PRIORITIES,
    read_autokill,
    read_dependency,
    read_schedule,
)
from kraftlet_trio.simulators.cloud.instance_spec import (
    DEFAULT_MEMORY_MB,
    DEFAULT_VCPUS,
    read_credentials,
    read_image,
    read_memory,
    read_plugin,
    read_rom,
    read_scale_to_zero,
    read_vcpus,
)
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.operations import Operation, text_key
from kraftlet_trio.simulators.cloud.records import Autokill, Instance, Update
from kraftlet_trio.simulators.cloud.validation import (
    valid_annotations,
    valid_arguments,
    valid_environment,
    valid_host_label,
    valid_tags,
)


def update_instance(account: Account, instance: Instance, operation: Operation) -> None:
    """Carry out *operation*, or queue it. Raises ``ItemError`` or ``BadRequest`` if it is wrong."""
    changes = _changes(account, instance, operation)
    if operation.prop == "autokill":
        account.perishables.add(instance.uuid)
    if instance.is_live and operation.prop not in account.settings.properties_patched_at_once:
        instance.updates.append(Update(operation=operation))
    else:
        _assign(instance, changes)


def apply_queued_updates(account: Account, instance: Instance) -> None:
    """The instance came to rest: what was queued happens now, in order; what fails stays listed."""
    failed = []
    for update in instance.updates:
        if update.error:
            failed.append(update)
            continue
        try:
            _assign(instance, _changes(account, instance, update.operation))
        except ItemError as error:
            update.error = error.message
            failed.append(update)
    instance.updates = failed


def _assign(instance: Instance, changes: dict[str, Any]) -> None:
    for attribute, value in changes.items():
        setattr(instance, attribute, value)


def _changes(account: Account, instance: Instance, operation: Operation) -> dict[str, Any]:
    """The new values of the attributes that *operation* touches."""
    limits = account.limits
    match operation.prop:
        case "image":
            if operation.op != "set" or operation.clears:
                raise operation.no_such_op()
            url, credentials = read_image(operation.value), read_credentials(operation.value)
            return {"image": ImageName.parse(url, credentials)}
        case "args":
            return {
                "args": None
                if operation.clears
                else valid_arguments(operation.on_texts(instance.args or ()))
            }
        case "env":
            return {"env": valid_environment(operation.on_text_map(instance.env))}
        case "memory_mb":
            return {
                "memory_mb": operation.on_scalar(
                    lambda members: read_memory(members, "value", limits), DEFAULT_MEMORY_MB
                )
            }
        case "vcpus":
            return {
                "vcpus": operation.on_scalar(
                    lambda members: read_vcpus(members, "value", limits), DEFAULT_VCPUS
                )
            }
        case "scale_to_zero":
            return {"scale_to_zero": _scale_to_zero(instance, operation)}
        case "tags":
            return {"tags": valid_tags(operation.on_texts(instance.tags))}
        case "delete_lock":
            return {
                "delete_lock": operation.on_scalar(
                    lambda members: members.flag("value"), default=False
                )
            }
        case "hostname":
            host = operation.on_scalar(lambda members: members.text("value"), "")
            return {"hostname": host and valid_host_label(host)}
        case "annotations":
            return {"annotations": valid_annotations(operation.on_text_map(instance.annotations))}
        case "roms" | "plugins" as prop:
            items: tuple[dict[str, Any], ...] = getattr(instance, prop)
            return {
                prop: operation.on_items(
                    items,
                    read=read_rom if prop == "roms" else read_plugin,
                    key=lambda item: str(item["name"]),
                    read_key=text_key,
                )
            }
        case "schedules":
            schedules = operation.on_items(
                instance.schedules,
                read=read_schedule,
                key=lambda item: str(item["name"]),
                read_key=text_key,
            )
            return {"schedules": schedules}
        case "autokill":
            return {"autokill": operation.on_scalar(_autokill, Autokill())}
        case "dependencies":
            return {"dependencies": _dependencies(account, instance, operation)}
        case "sched_priority":
            priority = operation.on_scalar(
                lambda members: members.choice("value", SCHED_PRIORITIES), "normal"
            )
            if priority != "normal":
                raise ItemError(
                    ErrorCode.NOT_ALLOWED, "Scheduling priorities are not enabled for your account"
                )
            return {}
        case prop:
            raise invalid(f"Property '{prop}' cannot be updated")


def _autokill(members: Members) -> Autokill | None:
    child = members.child("value")
    return None if child is None else read_autokill(child)


def _dependencies(account: Account, instance: Instance, operation: Operation) -> tuple[str, ...]:
    def found(members: Members) -> str:
        return account.instances.find(read_dependency(members)).uuid

    return operation.on_items(
        instance.dependencies,
        read=found,
        key=lambda uuid: uuid,
        read_key=lambda value: found(Members(value, "a dependency")),
    )


def _scale_to_zero(instance: Instance, operation: Operation) -> ScaleToZero:
    changed = operation.on_scalar(
        lambda members: (
            None if (child := members.child("value")) is None else read_scale_to_zero(child)
        ),
        ScaleToZero(),
    )
    if changed.policy != "off" and instance.service_group is None and not instance.plugins:
        raise invalid("'scale_to_zero' needs 'service_group'")
    return changed

"""Endpoints under /v1/instances/templates: instances that others are made from."""

from __future__ import annotations

from kraftlet_trio.cloud.objects import RUNNING, STANDBY, STOPPED
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud import instance_view
from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.calls import Call, Cloud, perform_each, perform_operations
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope, success
from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.listing import read_records
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.operations import Operation
from kraftlet_trio.simulators.cloud.records import Autokill, Collection, Instance
from kraftlet_trio.simulators.cloud.service_spec import read_autokill_ms
from kraftlet_trio.simulators.cloud.validation import valid_tags

KIND = "instances"
TEMPLATE = "template"


def convert_to_template(cloud: Cloud, instance: Instance, autokill_ms: int) -> None:
    """End it as an instance, for good. Raises ``ItemError`` if that cannot be."""
    account = cloud.account
    if instance.state not in (STOPPED, RUNNING, STANDBY):
        raise ItemError(ErrorCode.WRONG_STATE, f"Instance '{instance.name}' is {instance.state}")
    if "delete-on-stop" in instance.features:
        raise invalid(f"Instance '{instance.name}' is deleted when it stops")
    account.templates.check_free(instance.name)
    for attachment in instance.attachments:
        if len(attachment.volume.attachments) > 1:
            volume = attachment.volume
            raise ItemError(ErrorCode.ATTACHED, f"Volume '{volume.name}' is attached elsewhere")
        account.volume_templates.check_free(attachment.volume.name)
    instance.template_seconds = instance_view.uptime_seconds(instance)
    cloud.lifecycle.force_stop(instance)
    account.make_template(instance)
    instance.autokill = Autokill(time_ms=autokill_ms)
    if autokill_ms:
        account.perishables.add(instance.uuid)


async def create_templates(cloud: Cloud, call: Call) -> Response:
    """Conversion is done at once, so there is nothing to wait for."""

    def read(members: Members) -> tuple[Identifier, int]:
        target = call.target(members)
        members.integer("timeout_s", -1)
        autokill_ms = read_autokill_ms(members)
        members.done()
        return target, autokill_ms

    def act(item: tuple[Identifier, int]) -> Outcome:
        target, autokill_ms = item
        instance = cloud.account.instances.find(target)
        convert_to_template(cloud, instance, autokill_ms)
        return success(**instance_view.identity(instance))

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


async def read_templates(cloud: Cloud, call: Call) -> Response:
    return _read(cloud, call, cloud.account.templates)


async def update_templates(cloud: Cloud, call: Call) -> Response:
    return await _update(cloud, call, cloud.account.templates)


async def delete_templates(cloud: Cloud, call: Call) -> Response:
    return await _delete(cloud, call, cloud.account.templates)


async def read_checkpoints(cloud: Cloud, call: Call) -> Response:
    return _read(cloud, call, cloud.account.checkpoints)


async def update_checkpoints(cloud: Cloud, call: Call) -> Response:
    return await _update(cloud, call, cloud.account.checkpoints)


async def delete_checkpoints(cloud: Cloud, call: Call) -> Response:
    return await _delete(cloud, call, cloud.account.checkpoints)


def _read(cloud: Cloud, call: Call, saved: Collection[Instance]) -> Response:
    outcomes = read_records(
        call, saved, instance_view.details, cloud.settings, tags=lambda each: each.tags
    )
    return envelope(KIND, outcomes, began=call.began)


async def _update(cloud: Cloud, call: Call, saved: Collection[Instance]) -> Response:
    def update(record: Instance, operation: Operation) -> None:
        match operation.prop:
            case "tags":
                record.tags = valid_tags(operation.on_texts(record.tags))
            case "delete_lock":
                record.delete_lock = operation.on_scalar(
                    lambda members: members.flag("value"), default=False
                )
            case "autokill":
                time_ms = operation.on_scalar(
                    lambda members: read_autokill_ms(members.renamed("value", "autokill")), 0
                )
                record.autokill = Autokill(time_ms=time_ms)
                cloud.account.perishables.add(record.uuid)
            case prop:
                raise invalid(f"Property '{prop}' cannot be updated")

    outcomes = await perform_operations(call, saved, update)
    return envelope(KIND, outcomes, began=call.began)


async def _delete(cloud: Cloud, call: Call, saved: Collection[Instance]) -> Response:
    def act(target: Identifier) -> Outcome:
        record = saved.find(target)
        if record.delete_lock:
            raise ItemError(ErrorCode.NOT_ALLOWED, "Deletion protection enabled")
        forget_saved(cloud.account, saved, record)
        return success(uuid=record.uuid, name=record.name)

    outcomes = await perform_each(call, call.items(), call.only_target, act)
    return envelope(KIND, outcomes, began=call.began)


def forget_saved(account: Account, saved: Collection[Instance], record: Instance) -> None:
    """Remove a template or checkpoint; the volume templates that it holds are let go of."""
    for attachment in list(record.attachments):
        account.detach(attachment)
    saved.remove(record)
    record.deleted = True
    record.notify()

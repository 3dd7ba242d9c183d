"""Endpoints under /v1/volumes, and what instances need of volumes."""

from __future__ import annotations

from typing import Any

import attrs

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.objects import QuotaUse
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud.account import Account, random_suffix
from kraftlet_trio.simulators.cloud.actions import new_uuid
from kraftlet_trio.simulators.cloud.calls import Call, Cloud, perform_each, perform_operations
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope, success
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier, read_identifier
from kraftlet_trio.simulators.cloud.listing import read_records, timestamp
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.operations import Operation
from kraftlet_trio.simulators.cloud.records import Attachment, Volume
from kraftlet_trio.simulators.cloud.references import reference
from kraftlet_trio.simulators.cloud.validation import valid_mount_path, valid_tags
from kraftlet_trio.simulators.cloud.volume_spec import QUOTA_POLICIES, VolumeSpec, read_new_volume

KIND = "volumes"


def check_new_volume(account: Account, spec: VolumeSpec) -> None:
    """Raises ``ItemError`` if the account may not have it, or its name is taken."""
    if spec.host_path and not account.settings.managed_volumes:
        raise ItemError(ErrorCode.NOT_ALLOWED, "Managed volumes are not enabled for your account")
    if spec.filesystem not in account.settings.filesystems:
        raise ItemError(
            ErrorCode.NOT_ALLOWED,
            f"Filesystem '{spec.filesystem}' is not enabled for your account",
        )
    if spec.name is not None:
        account.volumes.check_free(spec.name)


def add_volume(account: Account, spec: VolumeSpec, *, persistent: bool) -> Volume:
    """Add the volume, which has been checked."""
    name = spec.name
    while name is None or account.volumes.has_name(name):
        name = f"vol-{random_suffix(5)}"
    volume = Volume(
        uuid=new_uuid(),
        name=name,
        created_at=utc_now(),
        formatted_at=account.formatted_at(),
        size_mb=spec.size_mb,
        persistent=persistent,
        quota_policy=spec.quota_policy,
        filesystem=spec.filesystem,
        access_mode=spec.access_mode,
        tags=spec.tags,
        filesystem_args=dict(spec.filesystem_args),
        host_path=spec.host_path,
        uid=spec.uid,
        gid=spec.gid,
    )
    account.volumes.add(volume)
    return volume


def from_template(account: Account, spec: VolumeSpec) -> VolumeSpec:
    """What *spec* leaves open is its template's. Raises ``ItemError`` if that is larger."""
    if spec.template is None:
        return spec
    template = account.volume_templates.find(spec.template)
    if spec.size_mb and spec.size_mb < template.size_mb:
        raise invalid(f"The volume is smaller than its template '{template.name}'")
    return attrs.evolve(
        spec, size_mb=spec.size_mb or template.size_mb, filesystem=template.filesystem
    )


async def create_volumes(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def act(spec: VolumeSpec) -> Outcome:
        spec = from_template(account, spec)
        check_new_volume(account, spec)
        account.check_quota(QuotaUse(volumes=1, total_volume_mb=spec.size_mb))
        volume = add_volume(account, spec, persistent=True)
        if spec.template is not None:
            template = account.volume_templates.find(spec.template)
            cloud.runtime.copy_volume(template.uuid, volume.uuid)
        return success(uuid=volume.uuid, name=volume.name, state=volume.state)

    outcomes = await perform_each(
        call, [call.object()], lambda members: read_new_volume(members, account.limits), act
    )
    return envelope(KIND, outcomes, began=call.began)


async def read_volumes(cloud: Cloud, call: Call) -> Response:
    outcomes = read_records(
        call, cloud.account.volumes, details, cloud.settings, tags=lambda volume: volume.tags
    )
    return envelope(KIND, outcomes, began=call.began)


async def update_volumes(cloud: Cloud, call: Call) -> Response:
    outcomes = await perform_operations(
        call,
        cloud.account.volumes,
        lambda volume, operation: _update(cloud.account, volume, operation),
    )
    return envelope(KIND, outcomes, began=call.began)


def _update(account: Account, volume: Volume, operation: Operation) -> None:
    match operation.prop:
        case "size_mb":
            if operation.clears:
                raise operation.no_such_op()
            limits = account.limits
            size_mb = operation.on_scalar(
                lambda members: members.integer(
                    "value", limits.min_volume_mb, limits.max_volume_mb
                ),
                volume.size_mb,
            )
            if volume.host_path:
                raise invalid(f"Volume '{volume.name}' is managed and has no size")
            if size_mb < volume.size_mb:
                raise invalid(f"Volume '{volume.name}' cannot shrink")
            if volume.mounted_by and not account.settings.mounted_volumes_grow:
                raise ItemError(ErrorCode.FAILED, f"Volume '{volume.name}' is mounted: EBUSY")
            account.check_quota(QuotaUse(total_volume_mb=size_mb - volume.size_mb))
            volume.size_mb = size_mb
        case "tags":
            volume.tags = valid_tags(operation.on_texts(volume.tags))
        case "quota_policy":
            volume.quota_policy = operation.on_scalar(
                lambda members: members.choice("value", QUOTA_POLICIES), "static"
            )
        case "delete_lock":
            volume.delete_lock = operation.on_scalar(
                lambda members: members.flag("value"), default=False
            )
        case prop:
            raise invalid(f"Property '{prop}' cannot be updated")


def check_deletable(account: Account, volume: Volume) -> None:
    """Raises ``ItemError``."""
    if volume.delete_lock:
        raise ItemError(ErrorCode.NOT_ALLOWED, "Deletion protection enabled")
    if volume.attachments:
        raise ItemError(ErrorCode.ATTACHED, f"Volume '{volume.name}' is attached")
    account.check_not_busy(volume)


async def delete_volumes(cloud: Cloud, call: Call) -> Response:
    def act(target: Identifier) -> Outcome:
        volume = cloud.account.volumes.find(target)
        check_deletable(cloud.account, volume)
        cloud.account.volumes.remove(volume)
        cloud.runtime.forget_volume(volume.uuid)
        return success(uuid=volume.uuid, name=volume.name)

    outcomes = await perform_each(call, call.items(), call.only_target, act)
    return envelope(KIND, outcomes, began=call.began)


@attrs.frozen(kw_only=True)
class _Attach:
    volume: Identifier
    instance: Identifier
    at: str
    readonly: bool


async def attach_volumes(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def read(members: Members) -> _Attach:
        volume = call.target(members)
        instance = members.child("attach_to")
        if instance is None:
            raise BadRequest("Missing member 'attach_to'")
        attach = _Attach(
            volume=volume,
            instance=read_identifier(instance),
            at=valid_mount_path(members.required_text("at")),
            readonly=members.flag("readonly") or False,
        )
        instance.done()
        members.done()
        return attach

    def act(attach: _Attach) -> Outcome:
        volume = account.volumes.find(attach.volume)
        instance = account.instances.find(attach.instance)
        if instance.uuid in volume.attachments:
            raise ItemError(ErrorCode.ATTACHED, f"Volume '{volume.name}' is attached already")
        account.check_can_attach(volume, readonly=attach.readonly)
        if any(each.at.rstrip("/") == attach.at.rstrip("/") for each in instance.attachments):
            raise invalid(f"'{attach.at}' is taken by another volume")
        account.attach(volume, instance, at=attach.at, readonly=attach.readonly)
        return success(uuid=volume.uuid, name=volume.name)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


async def detach_volumes(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def read(members: Members) -> tuple[Identifier, Identifier | None]:
        volume, instance = call.target(members), members.child("from")
        members.done()
        if instance is None:
            return volume, None
        identifier = read_identifier(instance)
        instance.done()
        return volume, identifier

    def act(item: tuple[Identifier, Identifier | None]) -> Outcome:
        volume = account.volumes.find(item[0])
        for attachment in _attachments(account, volume, item[1]):
            account.detach_once_stopped(attachment)
        return success(uuid=volume.uuid, name=volume.name)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


def _attachments(account: Account, volume: Volume, source: Identifier | None) -> list[Attachment]:
    """Those to detach: that of one instance, or all."""
    if source is None:
        found = list(volume.attachments.values())
    else:
        instance = account.instances.find(source)
        found = [each for each in volume.attachments.values() if each.instance is instance]
    if not found:
        raise ItemError(ErrorCode.NOT_ATTACHED, f"Volume '{volume.name}' is not attached")
    return found


def details(volume: Volume) -> dict[str, Any]:
    return {
        "uuid": volume.uuid,
        "name": volume.name,
        "state": volume.state,
        "created_at": timestamp(volume.created_at),
        "size_mb": volume.size_mb,
        "free_mb": volume.size_mb,
        "persistent": volume.persistent,
        "quota_policy": volume.quota_policy,
        "filesystem": volume.filesystem,
        "access_mode": volume.access_mode,
        "delete_lock": volume.delete_lock,
        "attached_to": [reference(each.instance) for each in volume.attachments.values()],
        "mounted_by": [
            {**reference(each.instance), "readonly": each.readonly} for each in volume.mounted_by
        ],
        "tags": list(volume.tags),
        **({"args": volume.filesystem_args} if volume.filesystem_args else {}),
        **(
            {"host_path": volume.host_path, "uid": volume.uid, "gid": volume.gid}
            if volume.host_path
            else {}
        ),
    }

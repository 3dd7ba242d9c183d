"""Endpoints that copy volumes, and that make templates to copy from."""

from __future__ import annotations

import attrs
import trio

from kraftlet_trio.cloud.objects import QuotaUse
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud.calls import Call, Cloud, perform_each, perform_operations
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope, success
from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.listing import read_records
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.operations import Operation
from kraftlet_trio.simulators.cloud.records import Volume
from kraftlet_trio.simulators.cloud.validation import valid_name, valid_tags
from kraftlet_trio.simulators.cloud.volume_spec import ACCESS_MODES, QUOTA_POLICIES, VolumeSpec
from kraftlet_trio.simulators.cloud.volumes import (
    KIND,
    add_volume,
    check_deletable,
    check_new_volume,
    details,
)


@attrs.frozen(kw_only=True)
class _Clone:
    source: Identifier
    name: str | None
    quota_policy: str | None
    tags: tuple[str, ...]
    access_mode: str | None


async def clone_volumes(cloud: Cloud, call: Call) -> Response:
    """The clone is there at once, and ready once its source is no longer busy with it."""
    account = cloud.account

    def read(members: Members) -> _Clone:
        source, name = call.target(members), members.text("vol_name")
        clone = _Clone(
            source=source,
            name=None if name is None else valid_name(name),
            quota_policy=members.choice("quota_policy", QUOTA_POLICIES),
            tags=valid_tags(members.texts("tags") or ()),
            access_mode=members.choice("access_mode", ACCESS_MODES),
        )
        members.done()
        return clone

    def act(clone: _Clone) -> Outcome:
        source = account.volumes.find(clone.source)
        _check_can_be_cloned(source)
        spec = VolumeSpec(
            name=clone.name,
            size_mb=source.size_mb,
            quota_policy=clone.quota_policy or source.quota_policy,
            filesystem=source.filesystem,
            access_mode=clone.access_mode or source.access_mode,
            tags=clone.tags,
            filesystem_args=source.filesystem_args,
        )
        if spec.access_mode == "rwx" and spec.filesystem != "virtiofs":
            raise invalid("Access mode 'rwx' needs filesystem 'virtiofs'")
        check_new_volume(account, spec)
        account.check_quota(QuotaUse(volumes=1, total_volume_mb=spec.size_mb))
        volume = add_volume(account, spec, persistent=True)
        cloud.runtime.copy_volume(source.uuid, volume.uuid)
        ready_at = trio.current_time() + cloud.settings.clone_seconds
        volume.formatted_at = source.busy_until = ready_at
        return success(uuid=volume.uuid, name=volume.name, state=volume.state)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


def _check_can_be_cloned(volume: Volume) -> None:
    if volume.host_path:
        raise invalid(f"Volume '{volume.name}' is managed and cannot be cloned")
    if any(not each.readonly for each in volume.mounted_by):
        raise ItemError(ErrorCode.FAILED, f"Volume '{volume.name}' is mounted: EBUSY")
    now = trio.current_time()
    if now < volume.busy_until or now < volume.formatted_at:
        raise ItemError(ErrorCode.FAILED, f"Volume '{volume.name}' is busy: EBUSY")


async def create_volume_templates(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def act(target: Identifier) -> Outcome:
        volume = account.volumes.find(target)
        if volume.attachments:
            raise ItemError(ErrorCode.ATTACHED, f"Volume '{volume.name}' is attached")
        account.check_not_busy(volume)
        account.volume_templates.check_free(volume.name)
        account.make_volume_template(volume)
        return success(uuid=volume.uuid, name=volume.name, state=volume.state)

    outcomes = await perform_each(call, call.items(), call.only_target, act)
    return envelope(KIND, outcomes, began=call.began)


async def read_volume_templates(cloud: Cloud, call: Call) -> Response:
    outcomes = read_records(
        call,
        cloud.account.volume_templates,
        details,
        cloud.settings,
        tags=lambda volume: volume.tags,
    )
    return envelope(KIND, outcomes, began=call.began)


async def update_volume_templates(cloud: Cloud, call: Call) -> Response:
    outcomes = await perform_operations(call, cloud.account.volume_templates, _update)
    return envelope(KIND, outcomes, began=call.began)


def _update(volume: Volume, operation: Operation) -> None:
    match operation.prop:
        case "tags":
            volume.tags = valid_tags(operation.on_texts(volume.tags))
        case "delete_lock":
            volume.delete_lock = operation.on_scalar(
                lambda members: members.flag("value"), default=False
            )
        case prop:
            raise invalid(f"Property '{prop}' cannot be updated")


async def delete_volume_templates(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def act(target: Identifier) -> Outcome:
        volume = account.volume_templates.find(target)
        check_deletable(account, volume)
        account.volume_templates.remove(volume)
        cloud.runtime.forget_volume(volume.uuid)
        return success(uuid=volume.uuid, name=volume.name)

    outcomes = await perform_each(call, call.items(), call.only_target, act)
    return envelope(KIND, outcomes, began=call.began)

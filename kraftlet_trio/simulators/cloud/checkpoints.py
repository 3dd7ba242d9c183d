"""Checkpoints: an instance as it was, to make others from, and where instances come from."""

from __future__ import annotations

import attrs
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.objects import RUNNING, STANDBY, STARTING, STOPPED
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud import instance_view
from kraftlet_trio.simulators.cloud.account import random_suffix
from kraftlet_trio.simulators.cloud.actions import new_uuid
from kraftlet_trio.simulators.cloud.calls import (
    Call,
    Cloud,
    Waiting,
    perform_each,
    wait_seconds,
)
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope, success, timed_out
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError
from kraftlet_trio.simulators.cloud.identifiers import Identifier, read_identifier
from kraftlet_trio.simulators.cloud.inheritance import copied_volume
from kraftlet_trio.simulators.cloud.listing import timestamp
from kraftlet_trio.simulators.cloud.logs import Log
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.records import Ancestor, Autokill, Collection, Instance
from kraftlet_trio.simulators.cloud.service_spec import read_autokill_ms
from kraftlet_trio.simulators.cloud.validation import valid_name, valid_tags
from kraftlet_trio.simulators.cloud.volumes import add_volume

KIND = "instances"
CHECKPOINT = "checkpoint"


@attrs.frozen(kw_only=True)
class _CheckpointSpec:
    source: Identifier
    name: str | None
    timeout_s: int
    tags: tuple[str, ...]
    autokill_ms: int


async def create_checkpoints(cloud: Cloud, call: Call) -> Response:
    account = cloud.account

    def read(members: Members) -> _CheckpointSpec:
        source, name = members.child("from"), members.text("name")
        if source is None:
            raise BadRequest("Missing member 'from'")
        spec = _CheckpointSpec(
            source=read_identifier(source),
            name=None if name is None else valid_name(name),
            timeout_s=members.integer("timeout_s", -1) or 0,
            tags=valid_tags(members.texts("tags") or ()),
            autokill_ms=read_autokill_ms(members),
        )
        source.done()
        members.done()
        return spec

    def act(spec: _CheckpointSpec) -> Outcome | Waiting:
        source = account.instances.find(spec.source)
        if source.state not in (RUNNING, STANDBY, STOPPED):
            raise ItemError(
                ErrorCode.WRONG_STATE, f"Cannot checkpoint VM in state '{source.state}'"
            )
        if spec.name is not None:
            account.checkpoints.check_free(spec.name)
        checkpoint = _add_checkpoint(cloud, source, spec)
        cloud.nursery.start_soon(_settle, checkpoint, cloud.settings.checkpoint_seconds)
        if not spec.timeout_s:
            return success(**instance_view.identity(checkpoint))
        seconds = wait_seconds(spec.timeout_s, cloud.settings)
        return lambda: _wait_until_settled(checkpoint, seconds)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


def _add_checkpoint(cloud: Cloud, source: Instance, spec: _CheckpointSpec) -> Instance:
    account = cloud.account
    name = spec.name
    while name is None or account.checkpoints.has_name(name):
        name = f"{source.name[:57]}-{random_suffix(5)}"
    uuid, created_at = new_uuid(), utc_now()
    checkpoint = Instance(
        uuid=uuid,
        name=name,
        created_at=created_at,
        image=source.image,
        memory_mb=source.memory_mb,
        vcpus=source.vcpus,
        private_ip="",
        log=Log(account.settings.log_bytes),
        args=source.args,
        env=dict(source.env),
        restart_policy=source.restart_policy,
        scale_to_zero=source.scale_to_zero,
        roms=source.roms,
        plugins=source.plugins,
        tags=spec.tags,
        annotations=dict(source.annotations),
        features=source.features,
        schedules=source.schedules,
        autokill=Autokill(time_ms=spec.autokill_ms),
        idle_since=trio.current_time(),
        lineage=(Ancestor(uuid, name, created_at), *source.lineage),
        state=STARTING,
    )
    for attachment in source.attachments:
        mount = copied_volume(attachment)
        assert mount.new is not None
        volume = add_volume(account, mount.new, persistent=True)
        cloud.runtime.copy_volume(attachment.volume.uuid, volume.uuid)
        account.attach(volume, checkpoint, at=mount.at, readonly=mount.readonly)
        account.make_volume_template(volume)
    account.checkpoints.add(checkpoint)
    source.lineage = checkpoint.lineage
    if spec.autokill_ms:
        account.perishables.add(uuid)
    return checkpoint


async def _settle(checkpoint: Instance, seconds: float) -> None:
    await trio.sleep(seconds)
    checkpoint.state = CHECKPOINT
    checkpoint.notify()


async def _wait_until_settled(checkpoint: Instance, seconds: float) -> Outcome:
    with trio.move_on_after(seconds):
        while checkpoint.state == STARTING and not checkpoint.deleted:
            await checkpoint.changed.wait()
    outcome = success if checkpoint.state == CHECKPOINT else timed_out
    return outcome(**instance_view.identity(checkpoint))


async def read_instance_history(cloud: Cloud, call: Call) -> Response:
    return await _read_history(call, cloud.account.instances)


async def read_checkpoint_history(cloud: Cloud, call: Call) -> Response:
    return await _read_history(call, cloud.account.checkpoints)


async def _read_history(call: Call, records: Collection[Instance]) -> Response:
    """Checkpoints in the lineage, not changes of state."""

    def act(target: Identifier) -> Outcome:
        record = records.find(target)
        return success(
            uuid=record.uuid,
            name=record.name,
            history=[
                {
                    "uuid": each.uuid,
                    "name": each.name,
                    "created_at": timestamp(each.created_at),
                }
                for each in record.lineage
            ],
        )

    outcomes = await perform_each(call, call.items_or_query(), call.only_target, act)
    return envelope(KIND, outcomes, began=call.began)

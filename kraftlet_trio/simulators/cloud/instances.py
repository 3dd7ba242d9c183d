"""Endpoints under /v1/instances: create, read, change, delete."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain

import attrs
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.objects import RUNNING, STANDBY, STARTING, STOPPED, QuotaUse
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud import instance_view
from kraftlet_trio.simulators.cloud.account import Account, may_be_shared, random_suffix
from kraftlet_trio.simulators.cloud.actions import new_uuid
from kraftlet_trio.simulators.cloud.calls import (
    Call,
    Cloud,
    Waiting,
    perform_each,
    perform_operations,
    wait_seconds,
)
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope, success, timed_out
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.images import ImageName
from kraftlet_trio.simulators.cloud.inheritance import inherited, with_templates_of_volumes
from kraftlet_trio.simulators.cloud.instance_runs import wait_until_running
from kraftlet_trio.simulators.cloud.instance_spec import InstanceSpec, read_instance
from kraftlet_trio.simulators.cloud.instance_updates import update_instance
from kraftlet_trio.simulators.cloud.listing import read_records
from kraftlet_trio.simulators.cloud.logs import Log
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.origins import find_source
from kraftlet_trio.simulators.cloud.records import Autokill, Instance
from kraftlet_trio.simulators.cloud.service_groups import add_group, check_new_group
from kraftlet_trio.simulators.cloud.templates import TEMPLATE, convert_to_template
from kraftlet_trio.simulators.cloud.volumes import add_volume, check_new_volume

KIND = "instances"


async def create_instances(cloud: Cloud, call: Call) -> Response:
    body = call.body()
    if body is None:
        raise BadRequest("A request body is needed")
    account = cloud.account
    items = body if isinstance(body, list) else [body]
    outcomes = await perform_each(
        call,
        items,
        lambda members: read_instance(members, limits=account.limits, zone=account.zone),
        lambda spec: _create(cloud, spec),
    )
    warnings = []
    if any("wait_timeout_ms" in item for item in items):
        warnings.append("Field 'wait_timeout_ms' is deprecated, use 'timeout_s'")
    return envelope(KIND, outcomes, began=call.began, warnings=warnings)


def _create(cloud: Cloud, spec: InstanceSpec) -> list[Outcome] | Waiting:
    first = spec.preparing
    if first is not None and not cloud.account.templates.has_name(first.name or ""):
        return lambda: _create_prepared(cloud, spec, first)
    return _create_now(cloud, spec)


async def _create_prepared(
    cloud: Cloud, spec: InstanceSpec, first: InstanceSpec
) -> Outcome | list[Outcome]:
    """Make the template, as its guest asks for once it is ready, then the instances of it."""
    assert spec.origin is not None
    assert spec.origin.preparation is not None
    first = with_templates_of_volumes(cloud.account, first)
    _check_create(cloud.account, first)
    instance = _add_instance(cloud, first, first.name or "")
    cloud.lifecycle.start_if_possible(instance)
    with trio.move_on_after(spec.origin.preparation.timeout_s or math.inf):
        while instance.state == STARTING:
            await instance.changed.wait()
        await trio.sleep(cloud.settings.prepare_seconds)
        if instance.state == RUNNING:
            convert_to_template(cloud, instance, spec.origin.preparation.autokill_ms)
    if instance.state != TEMPLATE:
        if not instance.deleted:
            cloud.lifecycle.delete(instance, retain=False)
        return timed_out(**instance_view.identity(instance))
    created = _create_now(cloud, spec)
    return created if isinstance(created, list) else await created()


def _create_now(cloud: Cloud, spec: InstanceSpec) -> list[Outcome] | Waiting:
    account = cloud.account
    if (origin := spec.origin) is not None:
        source = find_source(account, origin)
        spec = inherited(spec, source)
        if origin.kind != "branch_from":
            source.idle_since = trio.current_time()
    spec = with_templates_of_volumes(account, spec)
    _check_create(account, spec)
    instances = [
        _add_instance(cloud, spec, _name(account, spec, replica))
        for replica in range(spec.replicas + 1)
    ]
    for instance in instances:
        if spec.autostart:
            cloud.lifecycle.start_if_possible(instance)
    if spec.timeout_s and len(instances) == 1:
        [only] = instances
        seconds = wait_seconds(spec.timeout_s, cloud.settings)
        return lambda: wait_until_running(only, seconds, instance_view.created)
    return [success(**instance_view.created(instance)) for instance in instances]


def _check_create(account: Account, spec: InstanceSpec) -> None:
    """Everything that can fail, so that nothing is left of a create that does."""
    if spec.name is not None:
        account.instances.check_free(spec.name)
        if account.settings.retained_names_stay_reserved and any(
            each.name == spec.name for each in account.retained
        ):
            raise ItemError(ErrorCode.ALREADY_EXISTS, f"Instance '{spec.name}' already exists")
    if spec.join_group is not None:
        account.groups.find(spec.join_group)
    for dependency in spec.dependencies:
        account.instances.find(dependency)
    copies = spec.replicas + 1
    new_volumes = [mount.new for mount in spec.volumes if mount.new is not None]
    account.check_quota(
        QuotaUse(
            instances=copies,
            service_groups=copies if spec.new_group else 0,
            services=copies * len(spec.new_group.services) if spec.new_group else 0,
            volumes=copies * len(new_volumes),
            total_volume_mb=copies * sum(volume.size_mb for volume in new_volumes),
        )
    )
    if spec.new_group is not None:
        check_new_group(account, spec.new_group)
    for mount in spec.volumes:
        if mount.new is not None:
            check_new_volume(account, mount.new)
        elif mount.existing is not None:
            volume = account.volumes.find(mount.existing)
            account.check_can_attach(volume, readonly=mount.readonly)
            if spec.autostart or _begins_in_standby(spec):
                account.check_can_mount(volume, readonly=mount.readonly, by=None)
            if (
                copies > 1
                and _begins_in_standby(spec)
                and not may_be_shared(volume, readonly=mount.readonly)
            ):
                raise invalid(f"Volume '{volume.name}' cannot be used by several instances")


def _begins_in_standby(spec: InstanceSpec) -> bool:
    """There it holds its volumes."""
    return spec.scale_to_zero.policy != "off" and not spec.autostart


def _name(account: Account, spec: InstanceSpec, replica: int) -> str:
    if spec.name is not None and replica == 0:
        return spec.name
    base = spec.name or ImageName.parse(spec.image).repository.rpartition("/")[2] or "instance"
    while account.instances.has_name(name := f"{base[:57]}-{random_suffix(5)}"):
        pass
    return name


def _add_instance(cloud: Cloud, spec: InstanceSpec, name: str) -> Instance:
    account = cloud.account
    instance = Instance(
        uuid=new_uuid(),
        name=name,
        created_at=utc_now(),
        image=ImageName.parse(spec.image, spec.image_credentials),
        memory_mb=spec.memory_mb,
        vcpus=spec.vcpus,
        private_ip=account.take_address(),
        log=Log(account.settings.log_bytes),
        args=spec.args,
        env=dict(spec.env),
        restart_policy=spec.restart_policy,
        scale_to_zero=spec.scale_to_zero,
        roms=spec.roms,
        plugins=spec.plugins,
        tags=spec.tags,
        annotations=dict(spec.annotations),
        features=spec.features,
        hostname=spec.hostname,
        schedules=spec.schedules,
        autokill=spec.autokill,
        dependencies=tuple(account.instances.find(each).uuid for each in spec.dependencies),
        gateway=spec.gateway,
        nameserver=spec.nameserver,
        lineage=spec.lineage,
        state=STANDBY if _begins_in_standby(spec) else STOPPED,
    )
    if spec.join_group is not None:
        instance.service_group = account.groups.find(spec.join_group)
    elif spec.new_group is not None:
        instance.service_group = add_group(account, spec.new_group, persistent=False)
    if instance.service_group is not None:
        instance.service_group.instances[instance.uuid] = instance
    for mount in spec.volumes:
        if mount.existing is not None:
            volume = account.volumes.find(mount.existing)
        else:
            assert mount.new is not None
            volume = add_volume(account, mount.new, persistent=False)
            if mount.copy_of is not None:
                cloud.runtime.copy_volume(mount.copy_of, volume.uuid)
        account.attach(
            volume, instance, at=mount.at, readonly=mount.readonly, from_the_beginning=True
        )
    account.instances.add(instance)
    if spec.autokill != Autokill():
        account.perishables.add(instance.uuid)
    return instance


@attrs.frozen
class _WithRetained:
    """All instances, those too that can only be read."""

    _account: Account

    def __iter__(self) -> Iterator[Instance]:
        return chain(self._account.instances, self._account.retained)

    def find(self, identifier: Identifier) -> Instance:
        for instance in self._account.retained:
            if identifier.uuid == instance.uuid:
                return instance
        return self._account.instances.find(identifier)


async def read_instances(cloud: Cloud, call: Call) -> Response:
    outcomes = read_records(
        call,
        _WithRetained(cloud.account),
        instance_view.details,
        cloud.settings,
        tags=lambda instance: instance.tags,
    )
    return envelope(KIND, outcomes, began=call.began)


async def update_instances(cloud: Cloud, call: Call) -> Response:
    outcomes = await perform_operations(
        call,
        cloud.account.instances,
        lambda instance, operation: update_instance(cloud.account, instance, operation),
    )
    return envelope(KIND, outcomes, began=call.began)


async def delete_instances(cloud: Cloud, call: Call) -> Response:
    def read(members: Members) -> tuple[Identifier, bool]:
        target = call.target(members)
        members.integer("timeout_s", -1)
        retain = not members.flag("dont_retain")
        members.done()
        return target, retain

    def act(item: tuple[Identifier, bool]) -> Outcome:
        target, retain = item
        instance = cloud.account.instances.find(target)
        previous = instance.state
        cloud.lifecycle.delete(instance, retain=retain)
        return success(uuid=instance.uuid, name=instance.name, previous_state=previous)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)

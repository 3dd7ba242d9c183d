"""Endpoints under /v1/instances: create, read, change, delete."""

from __future__ import annotations

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.objects import STANDBY, STOPPED, QuotaUse
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud import instance_view
from kraftlet_trio.simulators.cloud.account import Account, random_suffix
from kraftlet_trio.simulators.cloud.actions import new_uuid
from kraftlet_trio.simulators.cloud.calls import (
    Call,
    Cloud,
    Waiting,
    perform_each,
    perform_operations,
    wait_seconds,
)
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope, success
from kraftlet_trio.simulators.cloud.errors import BadRequest
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.images import ImageName
from kraftlet_trio.simulators.cloud.instance_runs import wait_until_running
from kraftlet_trio.simulators.cloud.instance_spec import InstanceSpec, read_instance
from kraftlet_trio.simulators.cloud.instance_updates import update_instance
from kraftlet_trio.simulators.cloud.listing import read_records
from kraftlet_trio.simulators.cloud.logs import Log
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.records import Instance
from kraftlet_trio.simulators.cloud.service_groups import add_group, check_new_group
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
    account = cloud.account
    _check_create(account, spec)
    instances = [
        _add_instance(account, spec, _name(account, spec, replica))
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
    if spec.join_group is not None:
        account.groups.find(spec.join_group)
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
            if spec.autostart:
                account.check_can_mount(volume, readonly=mount.readonly, by=None)


def _name(account: Account, spec: InstanceSpec, replica: int) -> str:
    if spec.name is not None and replica == 0:
        return spec.name
    base = spec.name or ImageName.parse(spec.image).repository.rpartition("/")[2] or "instance"
    while account.instances.has_name(name := f"{base[:57]}-{random_suffix(5)}"):
        pass
    return name


def _add_instance(account: Account, spec: InstanceSpec, name: str) -> Instance:
    scales = spec.scale_to_zero.policy != "off"
    instance = Instance(
        uuid=new_uuid(),
        name=name,
        created_at=utc_now(),
        image=ImageName.parse(spec.image),
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
        state=STANDBY if scales and not spec.autostart else STOPPED,
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
        account.attach(volume, instance, at=mount.at, readonly=mount.readonly)
    account.instances.add(instance)
    return instance


async def read_instances(cloud: Cloud, call: Call) -> Response:
    outcomes = read_records(
        call,
        cloud.account.instances,
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
    def read(members: Members) -> Identifier:
        target = call.target(members)
        members.integer("timeout_s", -1)
        members.flag("dont_retain")
        members.done()
        return target

    def act(target: Identifier) -> Outcome:
        instance = cloud.account.instances.find(target)
        previous = instance.state
        cloud.lifecycle.delete(instance)
        return success(uuid=instance.uuid, name=instance.name, previous_state=previous)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)

"""Endpoints under /v1/instances that start and stop, wait, and show logs and metrics."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import attrs
import trio

from kraftlet_trio.cloud.objects import (
    DELETED,
    DRAINING,
    RUNNING,
    STANDBY,
    STARTING,
    STOPPED,
    STOPPING,
)
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud import instance_metrics, instance_view
from kraftlet_trio.simulators.cloud.calls import (
    Call,
    Cloud,
    Waiting,
    drain_seconds,
    perform_each,
    wait_seconds,
)
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope, failure, success, timed_out
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.instance_spec import read_timeout
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.records import Instance
from kraftlet_trio.simulators.cloud.runtime import Usage

KIND = "instances"
STATES = (
    STOPPED,
    STARTING,
    RUNNING,
    DRAINING,
    STOPPING,
    STANDBY,
    "template",
    "checkpoint",
    DELETED,
)


async def start_instances(cloud: Cloud, call: Call) -> Response:
    def read(members: Members) -> tuple[Identifier, int]:
        target, timeout_s = call.target(members), read_timeout(members)
        members.done()
        return target, timeout_s

    def act(item: tuple[Identifier, int]) -> Outcome | Waiting:
        target, timeout_s = item
        instance = cloud.account.instances.find(target)
        previous = instance.state
        cloud.lifecycle.start(instance)

        def shown(instance: Instance) -> dict[str, Any]:
            return {**instance_view.identity(instance), "previous_state": previous}

        if timeout_s:
            seconds = wait_seconds(timeout_s, cloud.settings)
            return lambda: wait_until_running(instance, seconds, shown)
        return success(**shown(instance))

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


@attrs.frozen(kw_only=True)
class _Stop:
    target: Identifier
    force: bool
    drain_timeout_ms: int | None
    if_state: str | None


async def stop_instances(cloud: Cloud, call: Call) -> Response:
    def read(members: Members) -> _Stop:
        stop = _Stop(
            target=call.target(members),
            force=members.flag("force") or False,
            drain_timeout_ms=members.integer("drain_timeout_ms", -1),
            if_state=members.choice("ifstate", STATES),
        )
        members.flag("quick")
        dump = members.flag("dump") or False
        members.done()
        if stop.force and stop.drain_timeout_ms:
            raise BadRequest("'drain_timeout_ms' cannot be used together with 'force'")
        if dump and not stop.force:
            raise BadRequest("'dump' needs 'force'")
        return stop

    def act(stop: _Stop) -> Outcome:
        instance = cloud.account.instances.find(stop.target)
        previous = instance.state
        if stop.if_state in (None, previous):
            if stop.force:
                cloud.lifecycle.force_stop(instance)
            else:
                grace_seconds = drain_seconds(stop.drain_timeout_ms, cloud.settings)
                drains = bool(stop.drain_timeout_ms)
                cloud.lifecycle.stop(instance, grace_seconds=grace_seconds, drains=drains)
        return success(**instance_view.identity(instance), previous_state=previous)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


async def suspend_instances(cloud: Cloud, call: Call) -> Response:
    def read(members: Members) -> tuple[Identifier, int | None]:
        target, drain_ms = call.target(members), members.integer("drain_timeout_ms", -1)
        members.done()
        return target, drain_ms

    def act(item: tuple[Identifier, int | None]) -> Outcome:
        target, drain_ms = item
        instance = cloud.account.instances.find(target)
        previous = instance.state
        grace_seconds = drain_seconds(drain_ms, cloud.settings)
        cloud.lifecycle.suspend(instance, grace_seconds=grace_seconds, drains=bool(drain_ms))
        return success(**instance_view.identity(instance), previous_state=previous)

    outcomes = await perform_each(call, call.items(), read, act)
    return envelope(KIND, outcomes, began=call.began)


async def wait_for_instances(cloud: Cloud, call: Call) -> Response:
    """States and timeouts come from the body alone; the query only identifies."""

    def read(members: Members) -> tuple[Identifier, str, int]:
        target = call.target(members)
        state = members.choice("state", STATES) or RUNNING
        timeout_s = read_timeout(members, deprecated="timeout_ms")
        members.done()
        return target, state, timeout_s

    def act(item: tuple[Identifier, str, int]) -> Waiting:
        target, state, timeout_s = item
        instance = cloud.account.instances.find(target)
        seconds = wait_seconds(timeout_s, cloud.settings)
        return lambda: _wait_for_state(instance, state, seconds)

    outcomes = await perform_each(call, call.items_or_query(), read, act)
    return envelope(KIND, outcomes, began=call.began)


async def _wait_for_state(instance: Instance, state: str, seconds: float) -> Outcome:
    await _wait_for(instance, lambda: instance.state == state, seconds)
    if instance.deleted and not state == instance.state == DELETED:
        error = ItemError(ErrorCode.NOT_FOUND, f"No instance with uuid '{instance.uuid}'")
        return failure(error, uuid=instance.uuid, name=instance.name)
    outcome = success if instance.state == state else timed_out
    return outcome(**instance_view.identity(instance))


async def wait_until_running(
    instance: Instance, seconds: float, shown: Callable[[Instance], dict[str, Any]]
) -> Outcome:
    """The outcome of a start that is waited for; one that stops again looks like a lapse."""
    on_its_way = (STARTING,)
    await _wait_for(instance, lambda: instance.state not in on_its_way, seconds)
    if instance.deleted:
        return timed_out(**{**shown(instance), "state": "deleted"})
    outcome = success if instance.state == RUNNING else timed_out
    return outcome(**shown(instance))


async def _wait_for(instance: Instance, reached: Callable[[], bool], seconds: float) -> None:
    """Until *reached*, the instance's deletion, or the end of the time."""
    with trio.move_on_after(seconds):
        while not (reached() or instance.deleted):
            await instance.changed.wait()


async def read_logs(cloud: Cloud, call: Call) -> Response:
    """Offsets and limits come from the body alone; the query only identifies."""

    def read(members: Members) -> tuple[Identifier, int, int]:
        target = call.target(members)
        most = cloud.settings.log_bytes_a_read
        offset = members.integer("offset") or 0
        limit = members.integer("limit", 0)
        members.done()
        return target, offset, most if limit is None else min(limit, most)

    def act(item: tuple[Identifier, int, int]) -> Outcome:
        target, offset, limit = item
        instance = cloud.account.instances.find(target)
        begin, output = instance.log.read(offset, limit)
        return success(
            **instance_view.identity(instance),
            output=b64encode(output).decode(),
            available={"start": instance.log.start, "end": instance.log.end},
            range={"start": begin, "end": begin + len(output)},
        )

    outcomes = await perform_each(call, call.items_or_query(), read, act)
    return envelope(KIND, outcomes, began=call.began)


async def read_metrics(cloud: Cloud, call: Call) -> Response:
    """Of all instances if none is identified; JSON only for who asks for it."""
    everything = [{"uuid": instance.uuid} for instance in cloud.account.instances]

    measured: list[tuple[Instance, Usage]] = []

    def act(target: Identifier) -> Outcome:
        instance = cloud.account.instances.find(target)
        usage = cloud.runtime.usage(instance.uuid)
        measured.append((instance, usage))
        values = instance_metrics.as_json(instance, usage)
        return success(uuid=instance.uuid, name=instance.name, **values)

    outcomes = await perform_each(call, call.items_or_query() or everything, call.only_target, act)
    if "application/json" not in call.request.headers.get("accept", ""):
        return Response(
            headers={"content-type": instance_metrics.PROMETHEUS_CONTENT_TYPE},
            body=instance_metrics.as_prometheus(measured),
        )
    return envelope(KIND, outcomes, began=call.began)

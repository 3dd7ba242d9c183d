"""Where the kubelet port learns what containers use: one request to the platform for all of them.

Whoever asks while a request is under way waits for it, and who asks within a second gets the same
answer. Instances in standby are asked about like all others, which does not wake them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import attrs
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError, CloudUnavailable
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubelet_api.usage import NodeUsage, Run, RunningContainer, UsageHistory
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.container_state import Running, container_run, is_alive
from kraftlet_trio.mapping.container_status import container_id, container_status_of
from kraftlet_trio.mapping.names import container_of
from kraftlet_trio.mapping.quantities import MIB

FRESH_SECONDS = 1.0
READ_SECONDS = 8.0
"""Scrapers wait for 10 s."""


@attrs.frozen
class _Answer:
    came_at: float
    """On Trio's clock."""
    about: frozenset[Run]
    usage: NodeUsage | None
    error: CloudError | None


@attrs.define
class UsageSource:
    _cloud: CloudClient
    _pods: Store[Pod]
    _feed: InstanceFeed
    _history: UsageHistory = attrs.field(factory=UsageHistory, init=False)
    _last: _Answer | None = attrs.field(default=None, init=False)
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def read(self) -> NodeUsage:
        """A sample of all containers that run, not older than a second.

        Raises ``CloudError``.
        """
        async with self._turn:
            running = tuple(running_containers(self._pods, self._feed, utc_now()))
            about = frozenset(container.run for container in running)
            answer = self._last
            if answer is None or not self._is_fresh(answer, about):
                answer = self._last = await self._ask(running, about)
        if answer.usage is None:
            assert answer.error is not None
            raise answer.error
        return answer.usage

    def _is_fresh(self, answer: _Answer, about: frozenset[Run]) -> bool:
        return trio.current_time() - answer.came_at < FRESH_SECONDS and about <= answer.about

    async def _ask(self, running: tuple[RunningContainer, ...], about: frozenset[Run]) -> _Answer:
        usage: NodeUsage | None = None
        failure: CloudError | None = None
        try:
            usage = await self._sample(running, about)
        except CloudError as error:
            failure = error
        return _Answer(trio.current_time(), about, usage, failure)

    async def _sample(
        self, running: tuple[RunningContainer, ...], about: frozenset[Run]
    ) -> NodeUsage:
        if not about:
            return self._history.sample((), {}, utc_now())
        with trio.move_on_after(READ_SECONDS):
            metrics = await self._cloud.read_metrics(sorted(uuid for uuid, _ in about))
            return self._history.sample(running, {one.uuid: one for one in metrics}, utc_now())
        raise CloudUnavailable(f"read metrics: no answer within {READ_SECONDS:.0f} s")


def running_containers(
    pods: Store[Pod], feed: InstanceFeed, now: datetime
) -> Iterator[RunningContainer]:
    """One for each container whose instance runs, sleeps, or wakes up again."""
    for pod in pods.values():
        metadata = pod.metadata
        instances: dict[str | None, Instance] = {}
        for instance in feed.of_pod(metadata.uid).values():
            # Of two instances for one container the first counts.
            instances.setdefault(container_of(instance.tags), instance)
        for container in (*pod.spec.init_containers, *pod.spec.containers):
            found = instances.get(container.name)
            if found is None:
                continue
            started_at = _started_at(pod, container.name, found, now)
            if started_at is not None:
                yield RunningContainer(
                    namespace=metadata.namespace,
                    pod=metadata.name,
                    pod_uid=metadata.uid,
                    container=container.name,
                    image=container.image,
                    instance_uuid=found.uuid,
                    instance_name=found.name,
                    started_at=started_at,
                    memory_limit_bytes=found.memory_mb * MIB,
                    vcpus=found.vcpus,
                )


def _started_at(pod: Pod, name: str, instance: Instance, now: datetime) -> datetime | None:
    """When the container's present run began; None where it does not run.

    The status knows better than the instance, whose times are those of its last waking up.
    """
    if not is_alive(instance):
        return None
    status = container_status_of(pod.status, name)
    if status is not None and status.container_id == container_id(instance):
        running = status.state.running
        if running is not None and running.started_at is not None:
            return running.started_at
    if instance.started_at is not None and isinstance(
        container_run(instance, now, deleting=False), Running
    ):
        # Cut like the status that will say so.
        return instance.started_at.replace(microsecond=0)
    return None

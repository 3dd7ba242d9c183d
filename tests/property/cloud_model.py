"""A model of the cloud, as far as one Pod's instances go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import Instance, InstanceServiceGroup, InstanceUpdate
from tests.builders import NOW

USER = cloud.STOP_PLATFORM | cloud.STOP_USER
EXITED = cloud.STOP_KERNEL | cloud.STOP_APPLICATION


@attrs.define
class Cloud:
    """The Pod's instances, each by uuid; ``start_count`` tells one run from another."""

    now: datetime = NOW
    instances: dict[str, Instance] = attrs.field(factory=dict)
    groups: set[str] = attrs.field(factory=set)
    runs: Counter[str] = attrs.field(factory=Counter)
    """How often each container ran, if only for an instant."""
    unexplained: dict[str, dict[str, int]] = attrs.field(factory=dict)
    """What the platform has yet to say of a stop."""
    resuming: set[str] = attrs.field(factory=set)
    _made: int = 0

    def of(self, container: str) -> Instance | None:
        return next((one for one in self.instances.values() if one.name == container), None)

    def create(
        self, container: str, *, autostart: bool, group: str | None, tags: tuple[str, ...] = ()
    ) -> Instance:
        present = self.of(container)
        if present is not None:
            return present  # the name is taken: adopted
        self._made += 1
        instance = Instance(
            uuid=f"uuid-{self._made}",
            name=container,
            state=cloud.STARTING if autostart else cloud.STOPPED,
            created_at=self.now,
            private_ip=f"10.0.0.{self._made % 250 + 1}",
            service_group=InstanceServiceGroup(name=group) if group else None,
            tags=tags,
        )
        self.instances[instance.uuid] = instance
        return instance

    def update(self, uuid: str, tags: tuple[str, ...]) -> None:
        """Tags change at once, the image with the next run."""
        waits = self.instances[uuid].state != cloud.STOPPED
        pending = (InstanceUpdate(prop="image", status="pending"),) if waits else ()
        self._change(uuid, tags=tags, updates=pending)

    def start(self, uuid: str) -> None:
        if self.instances[uuid].state == cloud.STOPPED:
            self.unexplained.pop(uuid, None)
            self._change(
                uuid, state=cloud.STARTING, stop_reason=None, exit_code=None, stop_code=None
            )

    def stop(self, uuid: str) -> None:
        match self.instances[uuid].state:
            case cloud.RUNNING:
                self._change(uuid, state=cloud.DRAINING)
            case cloud.STARTING if uuid not in self.resuming:
                self._run(uuid, state=cloud.STOPPING)
            case cloud.STARTING | cloud.DRAINING:
                self._change(uuid, state=cloud.STOPPING)
            case cloud.STANDBY:
                self._stopped(uuid, stop_reason=USER)

    def kill(self, uuid: str) -> None:
        if self.instances[uuid].state != cloud.STOPPED:
            self._stopped(uuid, stop_reason=USER | cloud.STOP_FORCED)

    def delete(self, uuid: str) -> None:
        self.instances.pop(uuid, None)

    def happenings(self, instance: Instance) -> Iterator[str]:
        """What may happen to an instance of its own accord."""
        yield "vanish"
        match instance.state:
            case cloud.STARTING if instance.uuid in self.resuming:
                yield "boot"
            case cloud.STARTING:
                yield from ("boot", "boot", "lose image", "refuse")
            case cloud.RUNNING:
                yield from ("exit 0", "exit 3", "crash", "run out of memory", "sleep")
                yield from ("be stopped", "be killed", "exit 0 and explain later")
            case cloud.STANDBY:
                yield "wake"
            case cloud.DRAINING:
                yield from ("drain", "sleep")
            case cloud.STOPPING:
                yield from ("exit 0", "exit 3", "be killed", "exit 0 and explain later")
            case cloud.STOPPED if instance.uuid in self.unexplained:
                yield "explain"

    def happen(self, uuid: str, what: str) -> None:
        """Each end takes its second: times are whole seconds to the API server."""
        stopping = USER if self.instances[uuid].state == cloud.STOPPING else 0
        match what:
            case "vanish":
                del self.instances[uuid]
            case "boot" if uuid in self.resuming:
                self.resuming.discard(uuid)
                self._change(uuid, state=cloud.RUNNING)
            case "boot":
                self._run(uuid, state=cloud.RUNNING)
            case "lose image":
                self._stopped(uuid, stop_reason=cloud.STOP_PLATFORM, stop_code=1)
            case "refuse":
                self._run(uuid)
                self._stopped(uuid, stop_reason=cloud.STOP_PLATFORM, stop_code=0)
            case "exit 0":
                self._stopped(uuid, stop_reason=EXITED | stopping, exit_code=0)
            case "exit 3":
                self._stopped(uuid, stop_reason=EXITED | stopping, exit_code=3)
            case "exit 0 and explain later":
                self._stopped(uuid)
                self.unexplained[uuid] = {"stop_reason": EXITED | stopping, "exit_code": 0}
            case "explain":
                self._change(uuid, **self.unexplained.pop(uuid))
            case "crash":
                self._stopped(uuid, stop_reason=cloud.STOP_KERNEL, stop_code=0x7F01)
            case "run out of memory":
                self._stopped(uuid, stop_reason=cloud.STOP_KERNEL, stop_code=0x0C7F04)
            case "be stopped":
                self._change(uuid, state=cloud.STOPPING)
            case "be killed":
                self._stopped(uuid, stop_reason=USER | cloud.STOP_FORCED)
            case "be started":
                self.start(uuid)
            case "sleep":
                self._change(uuid, state=cloud.STANDBY, stop_reason=39)
            case "wake":
                self.resuming.add(uuid)
                self._change(uuid, state=cloud.STARTING, stop_reason=None)
            case "drain":
                self._change(uuid, state=cloud.STOPPING)

    def course(self, instance: Instance, *, finite: bool) -> str | None:
        """What happens to it next if nothing disturbs it; *finite* ones exit."""
        match instance.state:
            case cloud.STARTING:
                return "boot"
            case cloud.RUNNING if finite:
                return "exit 0"
            case cloud.DRAINING:
                return "drain"
            case cloud.STOPPING:
                return "exit 0"
            case cloud.STOPPED if instance.uuid in self.unexplained:
                return "explain"
        return None

    def _run(self, uuid: str, **changes: object) -> None:
        instance = self.instances[uuid]
        self.runs[instance.name] += 1
        self._change(
            uuid,
            start_count=instance.start_count + 1,
            started_at=self.now,
            stopped_at=None,
            **changes,
        )

    def _stopped(self, uuid: str, **why: int) -> None:
        self.now += timedelta(seconds=1)
        self.resuming.discard(uuid)
        stopped = {"state": cloud.STOPPED, "stopped_at": self.now, "stop_reason": None}
        self._change(uuid, **stopped | {"updates": ()} | why)

    def _change(self, uuid: str, **changes: object) -> None:
        self.instances[uuid] = attrs.evolve(self.instances[uuid], **changes)

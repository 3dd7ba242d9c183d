"""The way from a public port of a service group to a running member of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

from kraftlet_trio.cloud.objects import DRAINING, RUNNING, STANDBY, STARTING, Service
from kraftlet_trio.simulators.cloud.balancing import Await, Pass, Refuse, choose
from kraftlet_trio.simulators.cloud.lifecycle import Lifecycle
from kraftlet_trio.simulators.cloud.records import Instance, ServiceGroup
from kraftlet_trio.simulators.cloud.runtime import Runtime
from kraftlet_trio.simulators.cloud.settings import CloudSettings

_CONNECT_AGAIN_SECONDS = 0.02
_CONNECT_SECONDS = 5.0


class Unavailable(Exception):
    """No member of the group can take it. The text is for whoever asked."""


@attrs.frozen(kw_only=True)
class Route:
    """One service of a group, as it is now."""

    group: ServiceGroup
    service: Service
    lifecycle: Lifecycle
    runtime: Runtime
    settings: CloudSettings

    async def member(self) -> Instance:
        """A member that runs, woken up if need be. Raises :class:`Unavailable`.

        Nothing is awaited after the choice: who takes the member up at once is counted by the
        next choice.
        """
        with trio.move_on_after(self.settings.queue_seconds):
            while True:
                match choose(
                    self.group.instances.values(),
                    soft_limit=self.group.soft_limit,
                    hard_limit=self.group.hard_limit,
                ):
                    case Pass(instance, wake):
                        if wake is not None:
                            self.lifecycle.wake(wake)
                        return instance
                    case Await(instance):
                        with instance.traffic.queued():
                            await self._change_after_waking(instance)
                    case Refuse(overloaded):
                        raise Unavailable(
                            "all instances are at the hard limit"
                            if overloaded
                            else "no instance is running"
                        )
        raise Unavailable("no instance came up in time")

    async def _change_after_waking(self, instance: Instance) -> None:
        changed = instance.changed
        if not self.lifecycle.wake(instance):
            raise Unavailable("an instance cannot be woken")
        await changed.wait()

    async def connect(self, instance: Instance) -> trio.abc.Stream:
        """A connection to the service's port inside *instance*, which runs.

        One that has just booted may need a moment to listen, and is given that.
        Raises ``OSError``, then also where nobody listens.
        """
        port = self.service.destination_port or self.service.port
        while True:
            try:
                with trio.fail_after(_CONNECT_SECONDS):
                    return await self.runtime.connect(instance.uuid, instance.private_ip, port)
            except trio.TooSlowError as error:
                raise TimeoutError("the instance does not answer") from error
            except OSError:
                patience = self.settings.port_opens_within_seconds
                booted_at = instance.booted_at
                if booted_at is None or trio.current_time() >= booted_at + patience:
                    raise
            await trio.sleep(_CONNECT_AGAIN_SECONDS)

    async def awake(self, instance: Instance) -> None:
        """Until *instance*, which an open connection leads to, runs again.

        Raises :class:`Unavailable` if it does not.
        """
        with trio.move_on_after(self.settings.queue_seconds), instance.traffic.queued():
            while instance.state in (STANDBY, STARTING) or instance.is_falling_asleep:
                await self._change_after_waking(instance)
        if instance.state not in (RUNNING, DRAINING):
            raise Unavailable("the instance is gone")

    @contextmanager
    def counted(self, instance: Instance) -> Iterator[None]:
        with instance.traffic.connection(request="http" in self.service.handlers):
            yield

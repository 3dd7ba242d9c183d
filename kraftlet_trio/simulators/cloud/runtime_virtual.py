"""Guests that follow a script: the catalogue's, or a test's. They use no resources but a task."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

import attrs
import trio
from trio.testing import memory_stream_pair

from kraftlet_trio.http.messages import Handler
from kraftlet_trio.simulators.cloud.images import ImageEntry
from kraftlet_trio.simulators.cloud.runtime import Crashed, Ending, Exited, Guest, Usage
from kraftlet_trio.simulators.cloud.scripted_ports import Health, ScriptedPort
from kraftlet_trio.simulators.cloud.scripted_sandbox import CommandScript, ScriptedSandbox
from kraftlet_trio.simulators.cloud.settings import CloudSettings


@attrs.define
class VirtualRuntime:
    """Every image runs; those without a script run until they are stopped."""

    settings: CloudSettings = attrs.field(factory=CloudSettings)
    network: IPv4Network = attrs.field(default=IPv4Network("10.0.0.0/8"), init=False)
    sandbox_handler: Handler | None = None
    """What answers for the sandbox plugin of every instance, in place of *commands*."""
    commands: CommandScript | None = None
    """What commands do in every instance. None: there is no sandbox plugin."""
    _running: dict[str, _Script] = attrs.field(factory=dict, init=False)

    @contextmanager
    def opened(self) -> Iterator[None]:
        yield

    def can_run(self, _image: ImageEntry | None) -> bool:
        return True

    async def run(self, guest: Guest, *, stop: trio.Event, entered: Callable[[], None]) -> Ending:
        script = self._running[guest.uuid] = _Script(guest)
        try:
            for line in guest.image.log:
                guest.log.append(line.encode() + b"\n")
            async with trio.open_nursery() as connections:
                script.connections = connections
                entered()
                ending = await script.play(stop, self.settings.stop_seconds)
                connections.cancel_scope.cancel()
            return ending
        finally:
            if self._running.get(guest.uuid) is script:
                del self._running[guest.uuid]

    def end(self, uuid: str, ending: Ending) -> None:
        """Make the running instance *uuid* end that way. ``KeyError`` if it does not run."""
        self._running[uuid].end(ending)

    def port(self, uuid: str, number: int) -> ScriptedPort:
        """A port of the running instance *uuid*, to be turned; its next run begins with a new one.

        ``KeyError`` if it does not run or its image has no such port.
        """
        return self._running[uuid].ports[number]

    def freeze(self, _uuid: str) -> bool:
        return False  # a script has no memory: it begins anew

    def thaw(self, uuid: str) -> None:
        raise AssertionError(f"never frozen: {uuid}")

    async def connect(self, uuid: str, _address: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if uuid not in self._running:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "the guest does not run")
        return self._running[uuid].connect(port)

    def usage(self, uuid: str) -> Usage:
        script = self._running.get(uuid)
        if script is None:
            return Usage()
        return Usage(rss_bytes=16 * 1024 * 1024, cpu_seconds=script.cpu_seconds())

    def sandbox(self, uuid: str) -> Handler | None:
        script = self._running.get(uuid)
        if script is None or self.sandbox_handler is not None:
            return None if script is None else self.sandbox_handler
        return None if self.commands is None else script.sandbox(self.commands)

    def copy_volume(self, source: str, copy: str) -> None:
        pass

    def forget_volume(self, uuid: str) -> None:
        pass


@attrs.define(eq=False)
class _Script:
    _guest: Guest
    _ending: Ending | None = attrs.field(default=None, init=False)
    _cut: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    connections: trio.Nursery | None = attrs.field(default=None, init=False)
    ports: dict[int, ScriptedPort] = attrs.field(factory=dict, init=False)
    _sandbox: ScriptedSandbox | None = attrs.field(default=None, init=False)
    _began: float = attrs.field(factory=trio.current_time, init=False)

    def __attrs_post_init__(self) -> None:
        self.ports = {
            number: ScriptedPort(protocol) for number, protocol in self._guest.image.ports.items()
        }

    def connect(self, number: int) -> trio.abc.Stream:
        port = self.ports.get(number)
        listens_at = self._began + self._guest.image.listens_after_seconds
        if (
            port is None
            or port.health is Health.CLOSED
            or self.connections is None
            or trio.current_time() < listens_at
        ):
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"the scripted guest does not listen on port {number}"
            )
        ours, theirs = memory_stream_pair()
        self.connections.start_soon(port.serve, theirs)
        return ours

    def sandbox(self, commands: CommandScript) -> Handler:
        if self._sandbox is None:
            self._sandbox = ScriptedSandbox(self._guest, commands)
        return self._sandbox.handle

    def cpu_seconds(self) -> float:
        return self._guest.image.busy_cpus * (trio.current_time() - self._began)

    def end(self, ending: Ending) -> None:
        self._ending = ending
        self._cut.cancel()

    async def play(self, stop: trio.Event, stop_seconds: float) -> Ending:
        with self._cut:
            with trio.move_on_after(self._run_seconds()):
                await stop.wait()
            if not stop.is_set():
                return self._scripted_ending()
            await trio.sleep(math.inf if self._guest.image.ignores_stop else stop_seconds)
            return Exited(self._guest.image.stop_exit_code)
        assert self._ending is not None  # who cuts it short says how it ends
        return self._ending

    def _run_seconds(self) -> float:
        image = self._guest.image
        if image.run_seconds is not None:
            return image.run_seconds
        return 0.0 if self._guest.start_count <= len(image.exits) else math.inf

    def _scripted_ending(self) -> Ending:
        image, number = self._guest.image, self._guest.start_count
        if number <= len(image.exits):
            return Exited(image.exits[number - 1])
        if image.crash_code is not None:
            return Crashed(image.crash_code)
        return Exited(image.exit_code)

"""Guests that follow a script: the catalogue's, or a test's. They use no resources but a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

import attrs
import trio

from kraftlet_trio.http.messages import Handler
from kraftlet_trio.simulators.cloud.images import ImageEntry
from kraftlet_trio.simulators.cloud.runtime import Crashed, Ending, Exited, Guest, Usage
from kraftlet_trio.simulators.cloud.settings import CloudSettings


@attrs.define
class VirtualRuntime:
    """Every image runs; those without a script run until they are stopped."""

    settings: CloudSettings = attrs.field(factory=CloudSettings)
    network: IPv4Network = attrs.field(default=IPv4Network("10.0.0.0/8"), init=False)
    sandbox_handler: Handler | None = None
    """What answers for the sandbox plugin of every instance: a script has none of its own."""
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
            entered()
            return await script.play(stop, self.settings.stop_seconds)
        finally:
            if self._running.get(guest.uuid) is script:
                del self._running[guest.uuid]

    def end(self, uuid: str, ending: Ending) -> None:
        """Make the running instance *uuid* end that way. ``KeyError`` if it does not run."""
        self._running[uuid].end(ending)

    def freeze(self, _uuid: str) -> bool:
        return False  # a script has no memory: it begins anew

    def thaw(self, uuid: str) -> None:
        raise AssertionError(f"never frozen: {uuid}")

    async def connect(self, _uuid: str, _address: str, port: int) -> trio.abc.Stream:
        raise ConnectionRefusedError(f"a scripted guest does not listen on port {port}")

    def usage(self, uuid: str) -> Usage:
        return Usage(rss_bytes=16 * 1024 * 1024 if uuid in self._running else 0)

    def sandbox(self, uuid: str) -> Handler | None:
        return self.sandbox_handler if uuid in self._running else None

    def copy_volume(self, source: str, copy: str) -> None:
        pass

    def forget_volume(self, uuid: str) -> None:
        pass


@attrs.define(eq=False)
class _Script:
    _guest: Guest
    _ending: Ending | None = attrs.field(default=None, init=False)
    _cut: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

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

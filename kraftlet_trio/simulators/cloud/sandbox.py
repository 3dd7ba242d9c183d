"""Commands inside a guest, with their input and output, as the sandbox plugin keeps them.

Records and output stay until they are deleted, or the guest's run ends. A command's own group
of processes ends with it: what it left in the background does not go on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import attrs
import trio

from kraftlet_trio.simulators.cloud.actions import new_uuid

MOST_OUTPUT_BYTES = 64 * 1024 * 1024
"""Kept of each stream; what comes behind that is dropped, so that a command can go on."""
_REAP_SECONDS = 5.0
_LAST_OUTPUT_SECONDS = 1.0


class ProgramNotFound(Exception):
    """There is no such program to run."""


class StdinClosed(Exception):
    """The command reads no more input."""


class SandboxPlace(Protocol):
    """Where commands run: the surroundings of a guest's own process."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Of commands that are given none."""

    def path(self, guest_path: str) -> Path:
        """Where a path of the guest lies on this machine. Raises ``OSError``."""

    async def open_process(
        self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str]
    ) -> trio.Process:
        """Start a process that leads a group of its own, with pipes to all three streams.

        Raises:
            ProgramNotFound: nothing to run under that name.
            OSError: it cannot be started.
        """


@attrs.define(eq=False)
class Output:
    """What a command wrote to one of its streams; ``data`` is None once deleted."""

    data: bytearray | None = attrs.field(factory=bytearray)
    _reading: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def delete(self) -> None:
        """Free the memory; the pipe is closed, so that who goes on writing gets SIGPIPE."""
        self.data = None
        self._reading.cancel()

    async def collect(self, stream: trio.abc.ReceiveStream) -> None:
        """Until the stream ends or :meth:`delete`."""
        async with stream:
            with self._reading, suppress(trio.BrokenResourceError):
                async for chunk in stream:
                    if self.data is not None and len(self.data) < MOST_OUTPUT_BYTES:
                        self.data += chunk


@attrs.define(eq=False, kw_only=True)
class Command:
    uuid: str = attrs.field(factory=new_uuid)
    cmdline: str | list[str]
    """A line for the shell, or an argument vector, as it was given."""
    cwd: str
    env: Mapping[str, str]
    exit_code: int | None = None
    """Minus a signal's number if that ended it; None while it runs."""
    stdout: Output = attrs.field(factory=Output)
    stderr: Output = attrs.field(factory=Output)
    ended: trio.Event = attrs.field(factory=trio.Event)
    process: trio.Process

    async def write_stdin(self, data: bytes, *, eof: bool) -> None:
        """Raises :class:`StdinClosed` if there is anything to write and nobody to read it."""
        stdin = self.process.stdin
        assert stdin is not None
        try:
            if self.ended.is_set():
                raise trio.ClosedResourceError
            await stdin.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if data or not eof:
                raise StdinClosed from error
        if eof:
            await stdin.aclose()

    def send_signal(self, number: int) -> None:
        """To all of its processes. ``ProcessLookupError`` once it ended."""
        if self.ended.is_set():
            raise ProcessLookupError
        os.killpg(self.process.pid, number)

    async def run_to_end(self) -> None:
        """Collect the output until it ends. Leaves none of its processes, cancelled or not."""
        process = self.process
        assert process.stdout is not None
        assert process.stderr is not None
        swept = False
        try:
            async with trio.open_nursery() as nursery:
                drained = trio.Event()
                nursery.start_soon(self._collect, drained)
                await process.wait()
                self._kill_group()
                swept = True
                with trio.move_on_after(_LAST_OUTPUT_SECONDS):
                    await drained.wait()
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(_REAP_SECONDS, shield=True):
                if not swept:
                    self._kill_group()
                    await process.wait()
                for stream in (process.stdin, process.stdout, process.stderr):
                    if stream is not None:
                        await stream.aclose()
            self.exit_code = process.returncode
            self.ended.set()

    async def _collect(self, drained: trio.Event) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.stdout.collect, self.process.stdout)
            nursery.start_soon(self.stderr.collect, self.process.stderr)
        drained.set()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):  # nobody may be left in it
            os.killpg(self.process.pid, signal.SIGKILL)


class Sandbox:
    """The commands of one run of a guest."""

    def __init__(self, place: SandboxPlace, nursery: trio.Nursery) -> None:
        self.place = place
        self.commands: dict[str, Command] = {}
        """By UUID, in the order of their start."""
        self._nursery = nursery

    async def start(
        self, cmdline: str | list[str], *, cwd: str, env: Mapping[str, str] | None
    ) -> Command:
        """Start a command; it ends with the guest's run at the latest.

        Raises:
            ProgramNotFound: nothing to run under that name.
            OSError: it cannot be started.
        """
        argv = ["/bin/sh", "-c", cmdline] if isinstance(cmdline, str) else cmdline
        given = self.place.environment if env is None else env
        process = await self.place.open_process(argv, cwd=cwd, env=given)
        command = Command(cmdline=cmdline, cwd=cwd, env=given, process=process)
        self.commands[command.uuid] = command
        self._nursery.start_soon(command.run_to_end, name=f"command {command.uuid}")
        return command


@asynccontextmanager
async def opened_sandbox(place: SandboxPlace) -> AsyncIterator[Sandbox]:
    """A sandbox whose commands end with the block."""
    async with trio.open_nursery() as nursery:
        yield Sandbox(place, nursery)
        nursery.cancel_scope.cancel()

"""One guest that is a process: from its supervisor's start until nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio

from kraftlet_trio.simulators.cloud.guests import supervisor
from kraftlet_trio.simulators.cloud.isolation import python_command, python_environment
from kraftlet_trio.simulators.cloud.logs import Log
from kraftlet_trio.simulators.cloud.process_usage import children, descendants, usage_of
from kraftlet_trio.simulators.cloud.runtime import (
    Crashed,
    Ending,
    Exited,
    Killed,
    Surroundings,
    Usage,
)

_REAP_SECONDS = 5.0
_FORCED_REAP_SECONDS = 1.0
_LAST_OUTPUT_SECONDS = 1.0
_MEMORY_LOOK_SECONDS = 0.25
_MOST_SWEEPS = 20

_APPLICATION_LEVEL = 0x7F00
"""Bits 8 to 14 of a stop code: the application was running."""
_REASONS = {signal.SIGABRT: 1, signal.SIGFPE: 2, signal.SIGILL: 3, signal.SIGBUS: 4}
_SEGMENTATION_FAULT = 5
_OUT_OF_MEMORY = 0x000C7F04


class CannotStart(Exception):
    """Why the application did not begin to run."""


@attrs.define(eq=False)
class ProcessGuest:
    """A guest whose supervisor runs."""

    _process: trio.Process
    _isolated: bool
    _log: Log
    _memory_bytes: int
    _environment: Mapping[str, str]
    _root: Path
    _ran_out_of_memory: bool = attrs.field(default=False, init=False)

    @property
    def reaper(self) -> int | None:
        """The parent of the application's processes; isolated, the first in their namespaces.

        None once it has ended.
        """
        if not self._isolated:
            return self._process.pid
        return next(iter(children(self._process.pid)), None)

    def surroundings(self) -> Surroundings:
        if not self._isolated:
            return Surroundings(
                command_prefix=(), root=self._root, cwd=self._root, env=self._environment
            )
        target = str(self.reaper)
        words = ("nsenter", "--target", target, "--mount", "--pid", "--net", "--uts", "--ipc", "--")
        root = Path("/proc", target, "root")
        return Surroundings(command_prefix=words, root=root, cwd=None, env=self._environment)

    def processes(self) -> list[int]:
        """All of the application, by their ids outside of it."""
        reaper = self.reaper
        return [] if reaper is None else descendants(reaper)

    def usage(self) -> Usage:
        return usage_of(self.processes())

    def freeze(self) -> None:
        """Stop all processes, those too that are forked meanwhile."""
        frozen: set[int] = set()
        for _ in range(_MOST_SWEEPS):
            more = set(self.processes()) - frozen
            if not more:
                return
            _signal(more, signal.SIGSTOP)
            frozen |= more

    def thaw(self) -> None:
        _signal(self.processes(), signal.SIGCONT)

    async def run_to_end(self, stop: trio.Event) -> Ending:
        """Follow it, once, until it has ended by itself or was told to; see to :meth:`end`, too."""
        async with trio.open_nursery() as nursery:
            drained = trio.Event()
            nursery.start_soon(self._terminate_once, stop)
            nursery.start_soon(self._kill_when_out_of_memory)
            nursery.start_soon(self._copy_output, drained)
            await self._process.wait()
            with trio.move_on_after(_LAST_OUTPUT_SECONDS):
                await drained.wait()
            nursery.cancel_scope.cancel()
        return self._ending(asked=stop.is_set())

    def _ending(self, *, asked: bool) -> Ending:
        returncode = self._process.returncode or 0
        if self._ran_out_of_memory:
            return Crashed(_OUT_OF_MEMORY)
        if returncode >= 0:
            return Exited(returncode)
        return Killed() if asked else Crashed(_stop_code(-returncode))

    async def end(self) -> None:
        """Leave nothing of it, within a few seconds. Nothing happens if that is so already.

        The supervisor kills all when it is let go, and ends; if not, it is killed with them.
        """
        assert self._process.stdin is not None
        with trio.move_on_after(_REAP_SECONDS, shield=True):
            await self._process.stdin.aclose()
            await self._process.wait()
        if self._process.returncode is None:
            _signal([*descendants(self._process.pid), self._process.pid], signal.SIGKILL)
            with trio.move_on_after(_FORCED_REAP_SECONDS, shield=True):
                await self._process.wait()
        assert self._process.stdout is not None
        with trio.CancelScope(shield=True):
            await self._process.stdout.aclose()  # a descriptor's close does not wait

    async def _terminate_once(self, stop: trio.Event) -> None:
        await stop.wait()
        _signal([self._process.pid], signal.SIGTERM)

    async def _kill_when_out_of_memory(self) -> None:
        """Look now and then: what a guest may use is an agreement between both, not a fence."""
        while True:
            await trio.sleep(_MEMORY_LOOK_SECONDS)
            used = self.usage().rss_bytes
            if used > self._memory_bytes:
                self._ran_out_of_memory = True
                mib = 1024 * 1024
                line = f"Out of memory: {used // mib} MiB of {self._memory_bytes // mib} MiB\n"
                self._log.append(line.encode())
                await self.end()
                return

    async def _copy_output(self, drained: trio.Event) -> None:
        assert self._process.stdout is not None
        with suppress(trio.ClosedResourceError):
            async for data in self._process.stdout:
                self._log.append(bytes(data))
        drained.set()


async def start_guest(
    orders: dict[str, Any], *, log: Log, memory_bytes: int, inherited: tuple[int, ...]
) -> ProcessGuest:
    """Start a supervisor with *orders*; returns once the application runs.

    Raises :class:`CannotStart`; then, or when cancelled, nothing is left.
    """
    report_end, reports_end = os.pipe()
    async with trio.lowlevel.FdStream(report_end) as report:
        with os.fdopen(reports_end, "wb", buffering=0) as reports:
            process = await trio.lowlevel.open_process(
                [*python_command(supervisor.__name__), str(reports.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=python_environment(),
                pass_fds=(reports.fileno(), *inherited),
                start_new_session=True,
            )
        isolated = orders["isolation"] is not None
        guest = ProcessGuest(
            process, isolated, log, memory_bytes, orders["env"], Path(orders["root"])
        )
        try:
            if said := await _told(process, orders, report):
                raise CannotStart(said)
        except BaseException:
            await guest.end()
            raise
    return guest


async def _told(process: trio.Process, orders: dict[str, Any], report: trio.abc.Stream) -> str:
    """What the supervisor has to say about *orders*: nothing once the application runs."""
    assert process.stdin is not None
    said = b""
    try:
        await process.stdin.send_all(json.dumps(orders).encode() + b"\n")
        async for data in report:
            said += data
    except trio.BrokenResourceError:
        return "the supervisor has ended"
    return said.decode(errors="replace")


def _signal(pids: set[int] | list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it may have ended
            os.kill(pid, number)


def _stop_code(number: int) -> int:
    """How the platform would put a death by that signal: killing is what lack of memory does."""
    if number == signal.SIGKILL:
        return _OUT_OF_MEMORY
    return _APPLICATION_LEVEL | _REASONS.get(signal.Signals(number), _SEGMENTATION_FAULT)

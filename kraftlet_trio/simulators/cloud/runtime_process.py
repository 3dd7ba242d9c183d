"""Guests that are processes of this machine: real output, exit codes, files and ports.

What a guest finds:

- its own process group and, as working directory, an empty root directory that goes with the run;
- ``UKC_SIM_ROOT``: that directory; ``HOME`` is the same;
- ``UKC_SIM_IP``: the instance's private address, one of the loopback network's, to bind to;
- each volume as a symbolic link at its mount path below the root directory, and in a variable:
  ``UKC_SIM_MOUNT_VAR_LIB`` for a volume at ``/var/lib``. Read-only mounts are not enforced;
- the files of ROMs below the root directory.

It is not isolated in any other way: run only what you would run yourself.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path

import attrs
import trio

from kraftlet_trio.simulators.cloud.images import ImageEntry
from kraftlet_trio.simulators.cloud.instance_spec import rom_file_content
from kraftlet_trio.simulators.cloud.logs import Log
from kraftlet_trio.simulators.cloud.process_usage import group_usage
from kraftlet_trio.simulators.cloud.runtime import Crashed, Ending, Exited, Guest, Killed, Usage

_CANNOT_START = 127
"""What a shell says of a command that it does not find."""
_REAP_SECONDS = 5.0
_LAST_OUTPUT_SECONDS = 1.0

_APPLICATION_LEVEL = 0x7F00
"""Bits 8 to 14 of a stop code: the application was running."""
_REASONS = {signal.SIGABRT: 1, signal.SIGFPE: 2, signal.SIGILL: 3, signal.SIGBUS: 4}
_SEGMENTATION_FAULT = 5
_OUT_OF_MEMORY = 0x000C7F04


@attrs.define
class ProcessRuntime:
    """Runs the catalogue's commands; an image without one cannot be pulled."""

    network: IPv4Network = attrs.field(default=IPv4Network("127.64.0.0/10"), init=False)
    _directory: Path | None = attrs.field(default=None, init=False)
    _leaders: dict[str, int] = attrs.field(factory=dict, init=False)
    """Process ids of running guests, by the instance's UUID."""

    @contextmanager
    def opened(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix="ukc-simulator-") as directory:
            self._directory = Path(directory)
            yield

    def can_run(self, image: ImageEntry | None) -> bool:
        return image is not None and image.command is not None

    async def run(self, guest: Guest, *, stop: trio.Event, entered: Callable[[], None]) -> Ending:
        root = self._root(guest)
        try:
            try:
                environment = self._prepare(guest, root)
                command = guest.image.command_line(guest.args)
                if not command:
                    raise FileNotFoundError("neither the image nor the instance has a command")
                process = await trio.lowlevel.open_process(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=root,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                guest.log.append(f"cannot start: {error}\n".encode())
                entered()
                return Exited(_CANNOT_START)
            self._leaders[guest.uuid] = process.pid
            entered()
            return await _run_to_end(process, guest.log, stop)
        finally:
            self._leaders.pop(guest.uuid, None)
            shutil.rmtree(root, ignore_errors=True)

    def freeze(self, uuid: str) -> bool:
        return self._signal_all(uuid, signal.SIGSTOP)

    def thaw(self, uuid: str) -> None:
        self._signal_all(uuid, signal.SIGCONT)

    def _signal_all(self, uuid: str, number: signal.Signals) -> bool:
        leader = self._leaders.get(uuid)
        if leader is None:
            return False
        _signal_group(leader, number)
        return True

    async def connect(self, _uuid: str, address: str, port: int) -> trio.abc.Stream:
        return await trio.open_tcp_stream(address, port)

    def usage(self, uuid: str) -> Usage:
        leader = self._leaders.get(uuid)
        return Usage() if leader is None else group_usage(leader)

    def copy_volume(self, source: str, copy: str) -> None:
        if (content := self._volume(source)).exists():
            shutil.copytree(content, self._volume(copy), symlinks=True)

    def forget_volume(self, uuid: str) -> None:
        shutil.rmtree(self._volume(uuid), ignore_errors=True)

    def _root(self, guest: Guest) -> Path:
        assert self._directory is not None
        return self._directory / "guests" / f"{guest.uuid}-{guest.start_count}"

    def _volume(self, uuid: str) -> Path:
        assert self._directory is not None
        return self._directory / "volumes" / uuid

    def _prepare(self, guest: Guest, root: Path) -> dict[str, str]:
        """Make the guest's files; returns its environment. Raises ``OSError``."""
        root.mkdir(parents=True)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(root),
            **guest.image.env,
            **guest.env,
            "UKC_SIM_ROOT": str(root),
            "UKC_SIM_IP": guest.private_ip,
        }
        for mount in sorted(guest.mounts, key=lambda mount: len(mount.at)):
            volume = self._volume(mount.volume_uuid)
            volume.mkdir(parents=True, exist_ok=True)
            _link(_below(root, mount.at), volume)
            environment[_variable(mount.at)] = str(volume)
        for rom in guest.roms:
            for file in rom.get("files", ()):
                path = _below(_below(root, rom.get("at", "/")), file["path"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(rom_file_content(file["encoding"], file["data"]))
        return environment


def _below(root: Path, path: str) -> Path:
    return root / path.strip("/")


def _link(link: Path, target: Path) -> None:
    """A mount inside another volume leaves its link there for the next run to find."""
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target, target_is_directory=True)


def _variable(at: str) -> str:
    return "UKC_SIM_MOUNT_" + re.sub(r"[^A-Za-z0-9]+", "_", at.strip("/")).upper()


async def _run_to_end(process: trio.Process, log: Log, stop: trio.Event) -> Ending:
    """Follow *process* until it ends, with its group killed in any case.

    Once only: a group that is empty gives its number back, perhaps to somebody else.
    """
    swept = False
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_terminate_once, stop, process)
            drained = trio.Event()
            nursery.start_soon(_copy_output, process, log, drained)
            await process.wait()
            _signal_group(process.pid, signal.SIGKILL)
            swept = True
            with trio.move_on_after(_LAST_OUTPUT_SECONDS):
                await drained.wait()
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(_REAP_SECONDS, shield=True):
            if not swept:
                _signal_group(process.pid, signal.SIGKILL)
                await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()
    return _ending(process.returncode or 0, asked=stop.is_set())


def _ending(returncode: int, *, asked: bool) -> Ending:
    if returncode >= 0:
        return Exited(returncode)
    return Killed() if asked else Crashed(_stop_code(-returncode))


async def _terminate_once(stop: trio.Event, process: trio.Process) -> None:
    await stop.wait()
    _signal_group(process.pid, signal.SIGTERM)


async def _copy_output(process: trio.Process, log: Log, drained: trio.Event) -> None:
    assert process.stdout is not None
    async for data in process.stdout:
        log.append(bytes(data))
    drained.set()


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # nobody may be left in it
        os.killpg(leader, number)


def _stop_code(number: int) -> int:
    """How the platform would put a death by that signal: killing is what lack of memory does."""
    if number == signal.SIGKILL:
        return _OUT_OF_MEMORY
    return _APPLICATION_LEVEL | _REASONS.get(signal.Signals(number), _SEGMENTATION_FAULT)

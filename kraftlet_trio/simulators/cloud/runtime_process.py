"""Guests that are processes of this machine: real output, exit codes, files and ports.

Every guest has a supervisor (``guests/supervisor.py``) that ends with the simulator, and its
process group, root directory and log. What it finds depends on whether it is isolated:

===================  ============================================  ==============================
..                   isolated (Linux, as root, with ``ip``)        not isolated
===================  ============================================  ==============================
root directory       its own ``/``: the image's or the machine's   a new directory, where it
                     files, changes kept in memory for the run     starts, ``HOME``
``UKC_SIM_ROOT``     ``/``                                         that directory
address              on ``eth0``, of 10.64.0.0/16; all ports free  one of the loopback's 127.64/10,
``UKC_SIM_IP``       that address                                  which it has to bind to
volume at ``/data``  mounted there, read-only if said so           a link ``data`` below the root;
                                                                   always writable
``UKC_SIM_MOUNT_…``  ``/data``                                     the volume's directory, in
                                                                   ``UKC_SIM_MOUNT_DATA``
ROM                  mounted where it says, read-only              files below the root, read-only
network              reaches other guests alone                    the machine's
processes            sees, and can signal, its own                 the machine's
===================  ============================================  ==============================

``UKC_SIM_NAME`` is the instance's name. The memory limit is kept by looking at the processes now
and then. Neither way is a fence around malice: run only what you would run yourself.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from kraftlet_trio.http.messages import Handler
from kraftlet_trio.simulators.cloud.images import ImageEntry
from kraftlet_trio.simulators.cloud.instance_spec import rom_file_content
from kraftlet_trio.simulators.cloud.isolation import GUESTS, Isolation
from kraftlet_trio.simulators.cloud.process_guest import CannotStart, ProcessGuest, start_guest
from kraftlet_trio.simulators.cloud.runtime import Ending, Exited, Guest, Mount, Surroundings, Usage
from kraftlet_trio.simulators.cloud.sandbox import opened_sandbox
from kraftlet_trio.simulators.cloud.sandbox_api import SandboxApi
from kraftlet_trio.simulators.cloud.sandbox_place import SurroundingsPlace

log = structlog.get_logger()

_CANNOT_START = 127
"""What a shell says of a command that it does not find."""
_PREFIX = "ukc-simulator-"
_LOCK = "lock"
_LOOPBACK = IPv4Network("127.64.0.0/10")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@attrs.define
class ProcessRuntime:
    """Runs the catalogue's commands; an image without one cannot be pulled."""

    isolation: Isolation | None = None
    """None: guests share the machine's network, files and processes."""
    volumes: Path | None = None
    """Keeps the volumes' content there. None: it goes with the simulator."""
    _directory: Path | None = attrs.field(default=None, init=False)
    _guests: dict[str, ProcessGuest] = attrs.field(factory=dict, init=False)
    _sandboxes: dict[str, Handler] = attrs.field(factory=dict, init=False)
    """Those running, by the instance's UUID."""

    @property
    def network(self) -> IPv4Network:
        return GUESTS if self.isolation else _LOOPBACK

    @contextmanager
    def opened(self) -> Iterator[None]:
        with ExitStack() as stack:
            self._directory = stack.enter_context(_own_directory())
            if self.isolation is not None:
                stack.enter_context(self.isolation.opened())
            yield

    def can_run(self, image: ImageEntry | None) -> bool:
        return (
            image is not None
            and image.entrypoint is not None
            and (image.root == "/" or self.isolation is not None)
        )

    async def run(self, guest: Guest, *, stop: trio.Event, entered: Callable[[], None]) -> Ending:
        directory = self._run_directory(guest)
        try:
            try:
                running = await self._start(guest, directory)
            except (OSError, CannotStart) as error:
                guest.log.append(f"cannot start: {error}\n".encode())
                entered()
                return Exited(_CANNOT_START)
            try:
                self._guests[guest.uuid] = running
                async with opened_sandbox(SurroundingsPlace(running.surroundings())) as sandbox:
                    self._sandboxes[guest.uuid] = SandboxApi(sandbox).handle
                    entered()
                    return await running.run_to_end(stop)
            finally:
                await running.end()
        finally:
            self._guests.pop(guest.uuid, None)
            self._sandboxes.pop(guest.uuid, None)
            shutil.rmtree(directory, ignore_errors=True)

    async def connect(self, _uuid: str, address: str, port: int) -> trio.abc.Stream:
        if self.isolation is not None:
            return await self.isolation.connect(address, port)
        return await trio.open_tcp_stream(address, port)

    def freeze(self, uuid: str) -> bool:
        if (guest := self._guests.get(uuid)) is None:
            return False
        guest.freeze()
        return True

    def thaw(self, uuid: str) -> None:
        if (guest := self._guests.get(uuid)) is not None:
            guest.thaw()

    def usage(self, uuid: str) -> Usage:
        guest = self._guests.get(uuid)
        return Usage() if guest is None else guest.usage()

    def sandbox(self, uuid: str) -> Handler | None:
        return self._sandboxes.get(uuid)

    def copy_volume(self, source: str, copy: str) -> None:
        if (content := self._volume(source)).exists():
            shutil.copytree(content, self._volume(copy), symlinks=True)

    def forget_volume(self, uuid: str) -> None:
        shutil.rmtree(self._volume(uuid), ignore_errors=True)

    def surroundings(self, uuid: str) -> Surroundings:
        """Of the running guest. ``KeyError`` if it does not run."""
        return self._guests[uuid].surroundings()

    async def _start(self, guest: Guest, directory: Path) -> ProcessGuest:
        """Raises ``OSError`` or ``CannotStart``."""
        command = guest.image.command_line(guest.args)
        if not command:
            raise CannotStart("neither the image nor the instance has a command")
        root = directory / "root"
        root.mkdir(parents=True)
        mounts = self._mounts(guest, directory)
        orders: dict[str, Any] = {
            "argv": command,
            "user": guest.image.user,
            "root": str(root),
        }
        environment = {
            "PATH": os.environ.get("PATH", os.defpath) if guest.image.root == "/" else _PATH,
            **guest.image.env,
            **guest.env,
            "UKC_SIM_NAME": guest.name,
            "UKC_SIM_IP": guest.private_ip,
        }
        if self.isolation is not None:
            home, cwd = "/root", guest.image.working_dir or "/"
            environment |= {"UKC_SIM_ROOT": "/"}
            environment |= {_variable(mount.at): mount.at for mount in guest.mounts}
            orders["isolation"] = self.isolation.orders(
                address=guest.private_ip,
                hostname=guest.hostname,
                root=guest.image.root,
                scratch=root,
                mounts=mounts,
            )
        else:
            home, cwd = str(root), str(_below(root, guest.image.working_dir))
            environment |= {"UKC_SIM_ROOT": str(root)}
            environment |= {
                _variable(mount.at): str(self._content(mount)) for mount in guest.mounts
            }
            for mount in mounts:
                _link(_below(root, mount["at"]), Path(mount["source"]))
            orders["isolation"] = None
        orders |= {"cwd": cwd, "env": {"HOME": home, **environment}}
        return await start_guest(
            orders,
            log=guest.log,
            memory_bytes=guest.memory_mb * 1024 * 1024,
            inherited=() if self.isolation is None else (self.isolation.hub,),
        )

    def _mounts(self, guest: Guest, directory: Path) -> list[dict[str, Any]]:
        """What is to be found where in the guest, those further out first; all of it is there."""
        mounts = []
        for mount in guest.mounts:
            content = self._content(mount)
            if not mount.host_path:
                content.mkdir(parents=True, exist_ok=True)
            elif not content.is_dir():
                raise CannotStart(f"there is no directory {content} on this machine")
            mounts.append({"source": str(content), "at": mount.at, "readonly": mount.readonly})
        for number, rom in enumerate(guest.roms):
            if "at" not in rom:
                continue  # a raw device on the platform, for which there is no like
            content = directory / "roms" / str(number)
            _write_rom(content, rom)
            mounts.append({"source": str(content), "at": rom["at"], "readonly": True})
        return sorted(mounts, key=lambda mount: mount["at"].count("/"))

    def _run_directory(self, guest: Guest) -> Path:
        assert self._directory is not None
        return self._directory / "guests" / f"{guest.uuid}-{guest.start_count}"

    def _content(self, mount: Mount) -> Path:
        return Path(mount.host_path) if mount.host_path else self._volume(mount.volume_uuid)

    def _volume(self, uuid: str) -> Path:
        if self.volumes is not None:
            return self.volumes / uuid
        assert self._directory is not None
        return self._directory / "volumes" / uuid


@contextmanager
def _own_directory() -> Iterator[Path]:
    """A new directory for as long as this lasts.

    Those of simulators that were killed go first: a directory is in use as long as somebody holds
    its lock, which the system takes from whoever ends.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            log.info("removing what a killed simulator left", directory=str(path.parent))
            shutil.rmtree(path.parent, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as directory,
        Path(directory, _LOCK).open("wb") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(directory)


def _write_rom(content: Path, rom: Mapping[str, Any]) -> None:
    content.mkdir(parents=True)
    for file in rom.get("files", ()):
        path = _below(content, file["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rom_file_content(file["encoding"], file["data"]))
        path.chmod(0o444)


def _below(root: Path, path: str) -> Path:
    return root / path.strip("/")


def _link(link: Path, target: Path) -> None:
    """A mount inside another volume leaves its link there for the next run to find."""
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target, target_is_directory=True)


def _variable(at: str) -> str:
    return "UKC_SIM_MOUNT_" + re.sub(r"[^A-Za-z0-9]+", "_", at.strip("/")).upper()

"""What runs inside an instance, behind an interface: scripts, or real processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from kraftlet_trio.http.messages import Handler
from kraftlet_trio.simulators.cloud.images import ImageEntry
from kraftlet_trio.simulators.cloud.logs import Log


@attrs.frozen
class Exited:
    """The application returned by itself."""

    exit_code: int


@attrs.frozen
class Crashed:
    """The guest's kernel ended; the bits of *stop_code* say how."""

    stop_code: int


@attrs.frozen
class Killed:
    """The application did not end by itself when it was asked to stop."""


Ending = Exited | Crashed | Killed


@attrs.frozen(kw_only=True)
class Mount:
    """A volume inside a guest."""

    volume_uuid: str
    at: str
    readonly: bool
    host_path: str = ""
    """The directory that it is, for a managed volume."""


@attrs.frozen(kw_only=True)
class Guest:
    """One run of an instance, as its runtime sees it."""

    uuid: str
    name: str
    image: ImageEntry
    start_count: int
    """1 for the first run."""
    args: Sequence[str] | None
    """None: those of the image."""
    env: Mapping[str, str]
    memory_mb: int
    hostname: str
    private_ip: str
    mounts: Sequence[Mount]
    roms: Sequence[Mapping[str, Any]]
    """As in a create request."""
    log: Log


@attrs.frozen(kw_only=True)
class Usage:
    """What a running guest uses now. CPU time is that of its present run."""

    rss_bytes: int = 0
    cpu_seconds: float = 0.0


@attrs.frozen(kw_only=True)
class Surroundings:
    """What it takes to do something beside a running guest's application."""

    command_prefix: tuple[str, ...]
    """Put before a command's words, it runs the command where the application runs."""
    root: Path
    """The guest's ``/``, as seen from outside. Links in it may be absolute, so they lead astray."""
    cwd: Path | None
    """Where to start a command: None if the prefix takes care of that."""
    env: Mapping[str, str]
    """The application's."""


class Runtime(Protocol):
    """Runs guests. All methods but :meth:`run` return at once."""

    @property
    def network(self) -> IPv4Network:
        """Private addresses are taken from it."""

    def opened(self) -> AbstractContextManager[None]:
        """Holds what outlives a run, such as the volumes' content. All runs happen inside."""

    def can_run(self, image: ImageEntry | None, /) -> bool:
        """Whether that image can be pulled; None is one that the catalogue does not know."""

    async def run(self, guest: Guest, *, stop: trio.Event, entered: Callable[[], None]) -> Ending:
        """Run *guest* to its end.

        Calls *entered* once its entry point is reached. Once *stop* is set, asks it to end and
        goes on waiting for that. When cancelled, leaves nothing of the guest running.
        """

    async def connect(self, uuid: str, address: str, port: int, /) -> trio.abc.Stream:
        """To a port of the running instance with that UUID. Raises ``OSError``."""

    def freeze(self, uuid: str, /) -> bool:
        """Hold the running guest still, with its memory; False if it cannot be kept so."""

    def thaw(self, uuid: str) -> None:
        """Let a frozen guest go on."""

    def usage(self, uuid: str) -> Usage:
        """Of the instance with that UUID; zeros if it does not run."""

    def sandbox(self, uuid: str) -> Handler | None:
        """The sandbox plugin's interface inside that running instance, if there is any."""

    def copy_volume(self, source: str, copy: str) -> None:
        """A new volume begins with what the volume *source* holds now."""

    def forget_volume(self, uuid: str) -> None:
        """The volume is deleted: let go of its content."""

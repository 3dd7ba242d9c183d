"""Namespaces for process guests: each its own network address, PIDs and view of the files.

All of it needs root and Linux. The guests' networks meet in a hub, a network namespace that the
simulator makes for itself; nothing is added to the machine's own network. It is held by an open
descriptor alone, so it goes when the simulator ends, in whatever way it does. The simulator
reaches a guest by a socket that was made inside the hub; guests reach each other, and no one else.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

import kraftlet_trio
from kraftlet_trio.simulators.cloud.guests import hub, linux

log = structlog.get_logger()

GUESTS = IPv4Network("10.64.0.0/16")
_HUB_ADDRESS = IPv4Address("10.65.0.1")
"""Outside of what guests are given, inside of the network they all are in."""
_PREFIX_LENGTH = 15
_BRIDGE = "guests"
PACKAGE = Path(kraftlet_trio.__file__).parents[1]
"""Where this package is imported from."""


class IsolationUnavailable(Exception):
    """The text says what it lacks."""


@attrs.define(eq=False)
class Isolation:
    """The hub while it is :meth:`opened`, and the way to it."""

    _hub: int | None = attrs.field(default=None, init=False)
    _links: Iterator[int] = attrs.field(factory=count, init=False)

    @property
    def hub(self) -> int:
        """Descriptor of the hub's network namespace."""
        assert self._hub is not None
        return self._hub

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Raises :class:`IsolationUnavailable`."""
        self._hub = _make_hub()
        try:
            yield
        finally:
            os.close(self._hub)
            self._hub = None

    def orders(
        self,
        *,
        address: str,
        hostname: str,
        root: str,
        scratch: Path,
        mounts: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """What a supervisor is told; it inherits the descriptor of the hub."""
        return {
            "hub": self.hub,
            "bridge": _BRIDGE,
            "link": f"guest{next(self._links)}",
            "address": f"{address}/{_PREFIX_LENGTH}",
            "gateway": str(_HUB_ADDRESS),
            "hostname": hostname,
            "root": root,
            "scratch": str(scratch),
            "mounts": list(mounts),
            "needs": sorted({str(PACKAGE), sys.prefix, sys.base_prefix}),
        }

    async def connect(self, address: str, port: int) -> trio.abc.Stream:
        """To a port of a guest. Raises ``OSError``."""
        connection = trio.socket.from_stdlib_socket(self._socket())
        try:
            await connection.connect((address, port))
        except BaseException:
            connection.close()
            raise
        return trio.SocketStream(connection)

    def _socket(self) -> socket.socket:
        """A socket belongs to the network namespace of the thread that made it, for good."""
        made: list[socket.socket | OSError] = []

        def make() -> None:
            try:
                linux.setns(self.hub, linux.CLONE_NEWNET)
                made.append(socket.socket())
            except OSError as error:
                made.append(error)

        # A thread of its own, for it cannot go back; it takes some ten microseconds.
        thread = threading.Thread(target=make, name="socket in the hub")
        thread.start()
        thread.join()
        [outcome] = made
        if isinstance(outcome, OSError):
            raise outcome
        return outcome


def find_isolation() -> Isolation | None:
    """Isolation if this machine and our rights allow it; a log line says which it is, and why."""
    isolation = Isolation()
    try:
        with isolation.opened():
            pass
    except IsolationUnavailable as lack:
        log.info("guests are not isolated", reason=str(lack))
        return None
    log.info("guests are isolated", network=str(GUESTS))
    return isolation


def _make_hub() -> int:
    if sys.platform != "linux":
        raise IsolationUnavailable("namespaces are Linux's")
    if os.geteuid() != 0:
        raise IsolationUnavailable("only root may make namespaces")
    if shutil.which("ip") is None:
        raise IsolationUnavailable("the command ip is missing")
    with tempfile.TemporaryDirectory(prefix="ukc-simulator-hub-") as scratch:
        address = f"{_HUB_ADDRESS}/{_PREFIX_LENGTH}"
        with subprocess.Popen(
            [*python_command(hub.__name__), _BRIDGE, address, scratch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=python_environment(),
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline().strip()
            if said != hub.READY:
                raise IsolationUnavailable(said or "no namespaces can be made")
            return os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def python_command(module: str) -> list[str]:
    """Runs a module of this package, without the time that site-packages take."""
    return [sys.executable, "-P", "-S", "-m", module]


def python_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(PACKAGE)}

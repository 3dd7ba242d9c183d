"""Child processes that cannot outlive the test run, with their output in a file."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from tests.e2e.bed.waiting import eventually

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent() -> None:
    """For a child to call before it becomes its program."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A loopback port that nobody listens on, below the range the kernel gives to clients."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


@attrs.define
class Process:
    """A running child. Its output, both streams, is appended to ``log``."""

    name: str
    log: Path
    _child: subprocess.Popen[bytes]
    _log_start: int

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> Process:
        with log.open("ab") as output:
            log_start = output.tell()
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                preexec_fn=die_with_parent,
            )
        return cls(name, log, child, log_start)

    @property
    def pid(self) -> int:
        return self._child.pid

    def alive(self) -> bool:
        return self._child.poll() is None

    def output(self) -> str:
        """What this run wrote so far; earlier runs with the same log are left out."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def assert_alive(self) -> None:
        """Raises RuntimeError, not AssertionError: waiting longer would not help."""
        if not self.alive():
            raise RuntimeError(
                f"{self.name} ended with {self._child.returncode}:\n{self.output()[-4000:]}"
            )

    def wait_for_line(self, marker: str, *, timeout: float = 20.0) -> str:
        """The first complete line of output that contains *marker*."""

        def look() -> str | None:
            lines = self.output().splitlines(keepends=True)
            found = next((line for line in lines if marker in line and line.endswith("\n")), None)
            if found is None:
                self.assert_alive()
            return found

        look.__doc__ = f"{self.name} prints a line with {marker!r}"
        return eventually(look, timeout=timeout).rstrip("\n")

    def kill(self) -> None:
        """SIGKILL: no last words. Returns when it is gone."""
        self._child.kill()
        self._child.wait()

    def stop(self, *, timeout: float = 15.0) -> int:
        """SIGTERM, and SIGKILL after *timeout* seconds. Returns the exit code."""
        self._child.terminate()
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._child.returncode

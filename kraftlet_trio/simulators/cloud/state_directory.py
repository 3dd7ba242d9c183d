"""The directory in which a simulated account outlives its process.

::

    lock            held by the simulator that uses the directory
    account.json    all resources; see ``state_format``
    logs/UUID       an instance's console: the offset of the first byte, a newline, the bytes
    volumes/UUID/   a volume's content, where instances are processes

A file is never changed in place: its successor is complete on the disk before it takes the name,
so that whatever kills the simulator leaves the one or the other.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from kraftlet_trio.simulators.cloud.logs import Log
from kraftlet_trio.simulators.cloud.state_format import SavedAccount, StateError

_ACCOUNT = "account.json"


@attrs.frozen(eq=False)
class StateDirectory:
    path: Path
    saved: SavedAccount | None
    """What an earlier simulator left."""

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[StateDirectory]:
        """The directory, made if need be, and kept from others. Raises :class:`StateError`."""
        try:
            for name in ("logs", "volumes"):
                (path / name).mkdir(parents=True, exist_ok=True)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(f"cannot keep a state in {path}: {error}") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateError(f"another simulator keeps its state in {path}") from error
            yield cls(path, _read_account(path / _ACCOUNT))
        finally:
            os.close(lock)

    @property
    def volumes(self) -> Path:
        """For a runtime that keeps their content."""
        return self.path / "volumes"

    def read_log(self, uuid: str, capacity: int) -> Log:
        """An instance's log; an empty one if there is none. Raises :class:`StateError`."""
        try:
            start, _, kept = (self.path / "logs" / uuid).read_bytes().partition(b"\n")
            return Log.resumed(capacity, int(start), kept)
        except FileNotFoundError:
            return Log(capacity)
        except (OSError, ValueError) as error:
            raise StateError(f"cannot use {self.path / 'logs' / uuid}: {error}") from error

    def write(self, account: bytes | None, logs: Mapping[str, tuple[int, bytes]]) -> None:
        """Replace the files of *account* and *logs* (offset and bytes). Raises ``OSError``."""
        for uuid, (start, kept) in logs.items():
            _replace(self.path / "logs" / uuid, b"%d\n" % start + kept)
        if account is not None:
            _replace(self.path / _ACCOUNT, account)

    def forget_log(self, uuid: str) -> None:
        (self.path / "logs" / uuid).unlink(missing_ok=True)

    def sweep(self, *, instances: Iterable[str], volumes: Iterable[str]) -> None:
        """Remove what belongs to none of these."""
        for path in (self.path / "logs").iterdir():
            if path.name not in instances:
                path.unlink()
        for path in (self.path / "volumes").iterdir():
            if path.name not in volumes:
                shutil.rmtree(path, ignore_errors=True)


def _read_account(path: Path) -> SavedAccount | None:
    try:
        return SavedAccount.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error}") from error
    except StateError as error:
        raise StateError(f"cannot use {path}: {error}; move it away to begin anew") from error


def _replace(path: Path, content: bytes) -> None:
    successor = path.with_name(path.name + ".new")
    with successor.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    successor.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

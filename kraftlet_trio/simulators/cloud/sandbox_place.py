"""Where the sandbox plugin's commands and files are: beside a guest that is a real process."""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import trio

from kraftlet_trio.simulators.cloud.runtime import Surroundings
from kraftlet_trio.simulators.cloud.sandbox import ProgramNotFound

_MOST_LINKS = 40
_IN_DIRECTORY = 'cd "$0" && exec "$@"'


@attrs.frozen
class SurroundingsPlace:
    """The surroundings of a running guest, isolated or not."""

    _surroundings: Surroundings

    @property
    def environment(self) -> Mapping[str, str]:
        return self._surroundings.env

    def path(self, guest_path: str) -> Path:
        """Raises ``OSError`` where links in it form a circle."""
        root = self._surroundings.root
        if self._shares_files:
            return root / posixpath.normpath(f"/{guest_path}").lstrip("/")
        return _followed(root, guest_path)

    @property
    def _shares_files(self) -> bool:
        """Whether the guest sees this machine's files where they are."""
        return self._surroundings.cwd is not None

    async def open_process(
        self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str]
    ) -> trio.Process:
        directory = self.path(cwd)
        if not directory.is_dir():
            raise FileNotFoundError(f"no directory {cwd}")
        self._check_exists(argv[0], env, directory)
        words = list(argv)
        if not self._shares_files:
            words = [
                *self._surroundings.command_prefix,
                *("/bin/sh", "-c", _IN_DIRECTORY, cwd),
                *words,
            ]
        # A prefix is looked up here, the words behind it there.
        program = words[0]
        if self._surroundings.command_prefix:
            program = shutil.which(program) or program
        elif "/" not in program:
            program = shutil.which(program, path=self._search(env)) or program
        return await trio.lowlevel.open_process(
            words,
            executable=program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory if self._shares_files else None,
            env=dict(env),
            start_new_session=True,
        )

    def _search(self, env: Mapping[str, str]) -> str:
        return env.get("PATH") or self.environment.get("PATH") or os.defpath

    def _check_exists(self, program: str, env: Mapping[str, str], directory: Path) -> None:
        if "/" in program:
            candidates = [program]
        else:
            candidates = [f"{part}/{program}" for part in self._search(env).split(":") if part]
        for candidate in candidates:
            path = directory / candidate if self._shares_files else self.path(candidate)
            if path.is_file() and os.access(path, os.X_OK):
                return
        raise ProgramNotFound(program)


def _followed(root: Path, path: str) -> Path:
    """*path* below *root* with its links followed as they are meant: the root is theirs."""
    done: list[str] = []
    ahead = path.split("/")[::-1]
    links = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        here = root.joinpath(*done, part)
        if not here.is_symlink():
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError("too many links")
        target = os.readlink(here)
        if target.startswith("/"):
            done.clear()
        ahead += target.split("/")[::-1]
    return root.joinpath(*done)

"""Commands and files inside an instance, through the sandbox plugin that is attached to it.

The plugin answers by HTTP statuses, unlike the platform. A request to it wakes an instance in
standby and counts as traffic. The platform's proxy ends one after 60 s, so waits are cut to less.
Nothing here is tried again: a command whose start went unanswered may be running.

Source: the platform's reference of the sandbox plugin.
"""

from __future__ import annotations

import binascii
import signal
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import attrs
import orjson
import trio

from kraftlet_trio.cloud.errors import CloudError, CloudRefused, CloudUnavailable
from kraftlet_trio.cloud.session import Call, CloudSession, RawAnswer

PLUGIN = "sandbox"
ANSWER_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 30.0
MOST_WRITE_BYTES = 1024 * 1024
"""Of a file in one request; the plugin takes 2 MiB of JSON."""
MOST_STDIN_BYTES = 32 * 1024
_LONGEST_WRITE_SECONDS = 55.0
_FIRST_LOOK_SECONDS = 0.25
_LONGEST_LOOK_SECONDS = 2.0
_CLEAN_UP_SECONDS = 5.0
_KILLED_WITHIN_SECONDS = 2.0


class SandboxMissing(CloudError):
    """The instance does not run, or has no sandbox plugin."""


class CommandNotFound(CloudRefused):
    """There is no such program in the instance."""


class CommandGone(CloudRefused):
    """The plugin no longer knows the command, or has nothing more of what was asked for."""


class CommandTimedOut(CloudError):
    """The command went on for longer than it may, and was killed."""


@attrs.frozen(kw_only=True)
class CommandResult:
    exit_code: int
    """Of the program, or 128 + the number of the signal that ended it."""
    output: bytes
    """The beginning of what it wrote to its standard output, and behind that its errors."""


@attrs.frozen(kw_only=True)
class CommandLogs:
    """A part of what a command wrote."""

    stdout: bytes
    stderr: bytes
    stdout_available: int
    """How many bytes there are in all, so far."""
    stderr_available: int


@attrs.frozen
class SandboxClient:
    """Typed calls to the sandbox plugins of instances, which are named by UUID.

    Every call ends in time and raises ``CloudError``: ``SandboxMissing``, ``CloudUnavailable``
    where nothing is known, ``CloudUnauthorized`` for the token, else a ``CloudRefused``.
    """

    _session: CloudSession

    async def run(
        self, uuid: str, argv: Sequence[str], *, timeout_seconds: float | None, most_bytes: int
    ) -> CommandResult:
        """Run a command to its end and free what the plugin keeps of it.

        Raises ``CommandTimedOut`` where it takes longer than *timeout_seconds*, the way there and
        back not counted, and ``CommandNotFound``.
        """
        command = await self.start(uuid, argv)
        try:
            if not await self._ended(uuid, command, timeout_seconds):
                raise CommandTimedOut(
                    f"command timed out: {quoted(argv)} timed out after {timeout_seconds:g}s"
                )
            logs = await self.logs(uuid, command, most_bytes=most_bytes)
            exit_code = await self.exit_code(uuid, command)
        finally:
            with trio.move_on_after(_CLEAN_UP_SECONDS, shield=True):
                await self.free(uuid, command)
        if exit_code is None:
            raise CloudUnavailable(f"run {quoted(argv)}: it ended without an exit code")
        return CommandResult(exit_code=exit_code, output=(logs.stdout + logs.stderr)[:most_bytes])

    async def wait_ready(self, uuid: str, within_seconds: float) -> None:
        """Until the plugin answers: it may be waking up, or starting with its instance.

        Raises ``CloudError`` where it does not in that time, and at once for any reason but these.
        """
        give_up_at = trio.current_time() + within_seconds
        pause = _FIRST_LOOK_SECONDS
        about = "list commands"
        while True:
            try:
                _data(await self._ask(uuid, about, "GET", "commands"), about)
                return
            except (SandboxMissing, CloudUnavailable):
                if trio.current_time() + pause > give_up_at:
                    raise
            await trio.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK_SECONDS)

    async def start(
        self,
        uuid: str,
        command: Sequence[str] | str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """The command's own UUID; its input is open. A text is for the shell.

        *env* is the whole environment; without one it is the plugin's own.
        """
        body: dict[str, Any] = {"cmd": command if isinstance(command, str) else list(command)}
        if cwd is not None:
            body["cwd"] = cwd
        if env is not None:
            body["env"] = dict(env)
        about = f"run {command if isinstance(command, str) else quoted(command)}"
        answer = await self._ask(uuid, about, "POST", "commands", body)
        if answer.status == 400:
            raise CommandNotFound(f"{about}: {_message(answer) or 'executable file not found'}")
        command_uuid = _data(answer, about).get("uuid")
        if not isinstance(command_uuid, str):
            raise CloudUnavailable(f"{about}: the answer does not name the command")
        return command_uuid

    async def exit_code(self, uuid: str, command: str) -> int | None:
        """None while it runs; 128 + the number of the signal that ended it."""
        about = f"read command {command}"
        data = _data(await self._ask(uuid, about, "GET", _path(command)), about)
        code = data.get("exitcode")
        if not isinstance(code, int):
            return None
        return code if code >= 0 else 128 - code

    async def wait(self, uuid: str, command: str, seconds: float) -> bool:
        """Wait so long, 30 s at most, for its end; whether it came."""
        seconds = min(seconds, LONGEST_WAIT_SECONDS)
        about = f"wait for command {command}"
        answer = await self._ask(
            uuid,
            about,
            "POST",
            _path(command, "wait_timeout"),
            {"timeout_s": float(seconds)},
            within_seconds=seconds + ANSWER_SECONDS,
        )
        if answer.status == 408:
            return False
        _data(answer, about)
        return True

    async def logs(
        self,
        uuid: str,
        command: str,
        *,
        stdout_from: int = 0,
        stderr_from: int = 0,
        most_bytes: int,
    ) -> CommandLogs:
        """At most *most_bytes* of each stream, from these offsets on."""
        about = f"read output of command {command}"
        ranges = {
            "stdout": {"offset": stdout_from, "limit": most_bytes},
            "stderr": {"offset": stderr_from, "limit": most_bytes},
        }
        data = _data(await self._ask(uuid, about, "GET", _path(command, "logs"), ranges), about)
        return CommandLogs(
            stdout=_bytes(data.get("stdout"), about),
            stderr=_bytes(data.get("stderr"), about),
            stdout_available=int(data.get("stdout_available") or 0),
            stderr_available=int(data.get("stderr_available") or 0),
        )

    async def write_stdin(self, uuid: str, command: str, data: bytes, *, eof: bool = False) -> None:
        """At most 32 KiB. Raises ``CommandGone`` where it reads no more input.

        A command that reads nothing of it for some 55 s is ``CloudUnavailable``.
        """
        about = f"write input of command {command}"
        body = {"data": b64encode(data).decode(), "eof": eof}
        answer = await self._ask(
            uuid,
            about,
            "POST",
            _path(command, "stdin"),
            body,
            within_seconds=_LONGEST_WRITE_SECONDS,
        )
        _data(answer, about)

    async def send_signal(self, uuid: str, command: str, number: int) -> None:
        """Raises ``CommandGone`` where it ended already."""
        about = f"send signal {number} to command {command}"
        body = {"signal": int(number)}
        _data(await self._ask(uuid, about, "POST", _path(command, "signal"), body), about)

    async def delete(self, uuid: str, command: str) -> None:
        """Free its record and output. Raises ``CloudRefused`` while it runs."""
        about = f"delete command {command}"
        answer = await self._ask(uuid, about, "DELETE", _path(command))
        if answer.status != 404:
            _data(answer, about)

    async def free(self, uuid: str, command: str) -> None:
        """End it if need be, and have the plugin forget it, as far as that can be done."""
        try:
            try:
                await self.delete(uuid, command)
            except CloudRefused:
                await self.send_signal(uuid, command, signal.SIGKILL)
                await self.wait(uuid, command, _KILLED_WITHIN_SECONDS)
                await self.delete(uuid, command)
        except CloudError:
            return  # it goes with the instance's run at the latest

    async def read_file(self, uuid: str, path: str) -> bytes:
        """Raises ``CloudRefused`` where it cannot be read."""
        about = f"read file {path}"
        data = _data(await self._ask(uuid, about, "POST", "fs/read", {"path": path}), about)
        return _bytes(data.get("contents"), about)

    async def write_file(self, uuid: str, path: str, data: bytes, *, append: bool = False) -> None:
        """At most 1 MiB; more is appended piece by piece. Raises ``CloudRefused``."""
        about = f"write file {path}"
        body = {
            "path": path,
            "append": append,
            "encoding": "base64",
            "data": b64encode(data).decode(),
        }
        _data(await self._ask(uuid, about, "POST", "fs/write", body), about)

    async def make_directory(self, uuid: str, path: str, *, parents: bool = False) -> None:
        """Raises ``CloudRefused``."""
        about = f"make directory {path}"
        body = {"path": path, "parents": parents}
        _data(await self._ask(uuid, about, "POST", "fs/mkdir", body), about)

    async def _ended(self, uuid: str, command: str, seconds: float | None) -> bool:
        """Whether it ended within its time; None is for ever."""
        left = float("inf") if seconds is None else seconds
        while True:
            slice_seconds = min(left, LONGEST_WAIT_SECONDS)
            if await self.wait(uuid, command, slice_seconds):
                return True
            left -= slice_seconds
            if left <= 0:
                return False

    async def _ask(
        self,
        uuid: str,
        about: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        within_seconds: float = ANSWER_SECONDS,
    ) -> RawAnswer:
        call = Call(
            about=about,
            method=method,
            path=f"/v1/instances/{quote(uuid, safe='')}/plugins/{PLUGIN}/{path}",
            body=body,
        )
        answer = await self._session.ask_plugin(call, within_seconds=within_seconds)
        # A 404 of the plugin itself is about a command; every other one is the route's.
        if answer.status == 404 and (answer.is_html or path == "commands"):
            raise SandboxMissing(
                f"{about}: the instance does not answer for the sandbox plugin; it does not run, "
                "or the plugin is not attached"
            )
        return answer


def quoted(argv: Sequence[str]) -> str:
    """A command line for messages, as Kubernetes writes it."""
    return '"' + " ".join(argv) + '"'


def _path(command: str, *rest: str) -> str:
    return "/".join(("commands", quote(command, safe=""), *rest))


def _data(answer: RawAnswer, about: str) -> Mapping[str, Any]:
    """The payload of a success; empty where there is none."""
    if answer.status in (404, 410):
        raise CommandGone(f"{about}: {_message(answer) or 'it is gone'}")
    document = _document(answer)
    if answer.is_html or answer.status in (408, 429, 502, 503, 504):
        raise CloudUnavailable(f"{about}: HTTP status {answer.status}")
    if answer.status >= 400:
        raise CloudRefused(f"{about}: {_message(answer) or f'HTTP status {answer.status}'}")
    data = document.get("data")
    return data if isinstance(data, dict) else {}


def _message(answer: RawAnswer) -> str:
    document = _document(answer)
    parts = [document, *(document.get("errors") or ())]
    texts = [part.get("message") for part in parts if isinstance(part, dict)]
    return next((str(text) for text in texts if text), "")


def _document(answer: RawAnswer) -> Mapping[str, Any]:
    try:
        document = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _bytes(text: object, about: str) -> bytes:
    try:
        return b64decode(text if isinstance(text, str) else "", validate=True)
    except binascii.Error as error:
        raise CloudUnavailable(f"{about}: the answer is not base64") from error

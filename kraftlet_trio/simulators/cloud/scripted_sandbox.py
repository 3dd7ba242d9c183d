"""The sandbox plugin's commands inside a scripted guest, which runs none: a script says what
becomes of them. Paths and answers are those of ``sandbox_api``; there are no files.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import attrs
import trio

from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.simulators.cloud.actions import new_uuid
from kraftlet_trio.simulators.cloud.envelope import refusal
from kraftlet_trio.simulators.cloud.runtime import Guest
from kraftlet_trio.simulators.cloud.sandbox_api import answer


@attrs.frozen(kw_only=True)
class ScriptedCommand:
    """What becomes of a command."""

    exit_code: int = 0
    output: bytes = b""
    seconds: float = 0.0
    """How long it takes."""
    copies_input: bool = False
    """To its output, as ``cat`` does, until that ends. Others read none."""


CommandScript = Callable[[Guest, Sequence[str]], ScriptedCommand | None]
"""What a command does in a guest; None where there is no such program."""


@attrs.define
class _Started:
    argv: Sequence[str]
    command: ScriptedCommand
    ends_at: float
    killed_by: int = 0
    copied: bytearray = attrs.field(factory=bytearray)

    @property
    def output(self) -> bytes:
        if self.command.copies_input:
            return bytes(self.copied)
        return self.command.output if self.has_ended else b""

    @property
    def has_ended(self) -> bool:
        return trio.current_time() >= self.ends_at


@attrs.define
class ScriptedSandbox:
    """Answers for one run of a guest."""

    _guest: Guest
    _script: CommandScript
    commands: dict[str, _Started] = attrs.field(factory=dict, init=False)

    async def handle(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        match (request.method, *request.path.strip("/").split("/")):
            case "GET", "commands":
                return answer({"commands": list(self.commands)})
            case "POST", "commands":
                return self._start(request.json()["cmd"])
            case method, "commands", uuid, *rest:
                if uuid not in self.commands:
                    return Response(status=HTTPStatus.NOT_FOUND)
                return await self._answer_for(method, uuid, "/".join(rest), request)
        return refusal(HTTPStatus.NOT_FOUND, "No such API endpoint")

    def _start(self, cmd: str | list[str]) -> Response:
        argv = ["/bin/sh", "-c", cmd] if isinstance(cmd, str) else cmd
        command = self._script(self._guest, argv)
        if command is None:
            return refusal(HTTPStatus.BAD_REQUEST, f"Program not found: {argv[0]}")
        uuid = new_uuid()
        seconds = math.inf if command.copies_input else command.seconds
        self.commands[uuid] = _Started(argv, command, trio.current_time() + seconds)
        return answer({"uuid": uuid})

    async def _answer_for(self, method: str, uuid: str, rest: str, request: Request) -> Response:
        started = self.commands[uuid]
        match method, rest:
            case "GET", "":
                return answer({"uuid": uuid, "cmdline": started.argv, "exitcode": _code(started)})
            case "GET", "logs":
                return answer(_logs(started, request))
            case "POST", "wait_timeout":
                with trio.move_on_after(request.json()["timeout_s"]):
                    await trio.sleep_until(started.ends_at)
                if started.has_ended:
                    return answer()
                return refusal(HTTPStatus.REQUEST_TIMEOUT, "The command is still running")
            case "POST", "stdin":
                if started.has_ended:
                    return refusal(HTTPStatus.GONE, "The command reads no more input")
                _read(started, request.json())
                return answer()
            case "POST", "signal":
                if started.has_ended:
                    return refusal(HTTPStatus.GONE, "The command has ended")
                started.killed_by = request.json()["signal"]
                started.ends_at = trio.current_time()
                return answer()
            case "DELETE", "":
                if not started.has_ended:
                    return refusal(HTTPStatus.CONFLICT, "The command is running")
                del self.commands[uuid]
                return answer()
        return refusal(HTTPStatus.NOT_FOUND, "No such API endpoint")


def _code(started: _Started) -> int | None:
    if not started.has_ended:
        return None
    return -started.killed_by if started.killed_by else started.command.exit_code


def _read(started: _Started, given: dict[str, Any]) -> None:
    if started.command.copies_input:
        started.copied += b64decode(given["data"])
        if given["eof"]:
            started.ends_at = trio.current_time()


def _logs(started: _Started, request: Request) -> dict[str, Any]:
    ranges = request.json() if request.body else {"stdout": {"offset": 0}}
    output = started.output
    offset, limit = ranges["stdout"]["offset"], ranges["stdout"].get("limit")
    shown = output[offset:] if limit is None else output[offset : offset + limit]
    return {
        "stdout": b64encode(shown).decode(),
        "stderr": "",
        "stdout_available": len(output),
        "stderr_available": 0,
    }

"""The HTTP interface of the sandbox plugin: commands (platform reference, sandbox plugin).

Unlike the platform's, its failures are HTTP statuses.
"""

from __future__ import annotations

import binascii
import math
import re
import signal
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import attrs
import trio

from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.simulators.cloud.envelope import refusal
from kraftlet_trio.simulators.cloud.errors import BadRequest, ItemError
from kraftlet_trio.simulators.cloud.members import Members, text_map, texts
from kraftlet_trio.simulators.cloud.sandbox import (
    Command,
    Output,
    ProgramNotFound,
    Sandbox,
    StdinClosed,
)
from kraftlet_trio.simulators.cloud.sandbox_files import FILE_ENDPOINTS

_MOST_BODY_BYTES = 2 * 1024 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

_CommandEndpoint = Callable[[Sandbox, Command, Request], Awaitable[Response]]


@attrs.frozen
class SandboxApi:
    """Answers for one run of a guest. Paths are those below the plugin's route."""

    sandbox: Sandbox

    async def handle(self, request: Request) -> Response:
        if len(request.body) > _MOST_BODY_BYTES:
            return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request body too large")
        try:
            return await self._route(request)
        except BadRequest as error:
            return refusal(HTTPStatus.BAD_REQUEST, str(error))
        except ItemError as error:
            return refusal(HTTPStatus.BAD_REQUEST, error.message)

    async def _route(self, request: Request) -> Response:
        match request.path.strip("/").split("/"):
            case ["commands"]:
                match request.method:
                    case "GET":
                        return answer({"commands": list(self.sandbox.commands)})
                    case "POST":
                        return await _start(self.sandbox, request)
            case ["commands", uuid, *rest]:
                endpoint = _COMMAND_ENDPOINTS.get((request.method, "/".join(rest)))
                command = self.sandbox.commands.get(uuid)
                if endpoint is not None and command is None:
                    return Response(status=HTTPStatus.NOT_FOUND)
                if endpoint is not None and command is not None:
                    return await endpoint(self.sandbox, command, request)
            case ["fs", action] if request.method == "POST" and action in FILE_ENDPOINTS:
                members = Members(_body(request), "the request")
                return await FILE_ENDPOINTS[action](self.sandbox.place, members)
        return refusal(HTTPStatus.NOT_FOUND, "No such API endpoint")


def answer(data: Any = None) -> Response:
    return json_response({"status": "success", "data": data, "op_time_us": 0})


def _body(request: Request) -> Any:
    try:
        return request.json()
    except ValueError as error:
        raise BadRequest("The request body is not JSON") from error


async def _start(sandbox: Sandbox, request: Request) -> Response:
    members = Members(_body(request), "the request")
    cmdline, env = members.raw("cmd"), members.raw("env")
    cwd = members.text("cwd") or "/"
    members.done()
    if not isinstance(cmdline, str):
        cmdline = list(texts(cmdline, "cmd"))
    if not cmdline:
        raise BadRequest("'cmd' is empty")
    if any("\0" in word for word in ([cmdline] if isinstance(cmdline, str) else cmdline)):
        raise BadRequest("'cmd' has a NUL character")
    environment = None if env is None else text_map(env, "env")
    try:
        command = await sandbox.start(cmdline, cwd=cwd, env=environment)
    except ProgramNotFound as error:
        raise BadRequest(f"Program not found: {error}") from error
    except (OSError, ValueError) as error:
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"Cannot start: {error}")
    return answer({"uuid": command.uuid})


async def _show(_sandbox: Sandbox, command: Command, _request: Request) -> Response:
    return answer(
        {
            "uuid": command.uuid,
            "cmdline": command.cmdline,
            "cwd": command.cwd,
            "env": dict(command.env),
            "exitcode": command.exit_code,
        }
    )


async def _delete(sandbox: Sandbox, command: Command, _request: Request) -> Response:
    if not command.ended.is_set():
        return refusal(HTTPStatus.CONFLICT, "The command is running")
    del sandbox.commands[command.uuid]
    return answer()


async def _logs(_sandbox: Sandbox, command: Command, request: Request) -> Response:
    ranges: dict[str, tuple[int, int | None]] = {"stdout": (0, None), "stderr": (0, None)}
    if request.body:
        members = Members(_body(request), "the request")
        ranges = {name: _log_range(members, name) for name in ranges}
        members.done()
    shown: dict[str, Any] = {}
    for name, output in (("stdout", command.stdout), ("stderr", command.stderr)):
        if output.data is None:
            return Response(status=HTTPStatus.GONE)
        offset, limit = ranges[name]
        end = None if limit is None else offset + limit
        shown[name] = b64encode(output.data[offset:end]).decode()
        shown[f"{name}_available"] = len(output.data)
    return answer(shown)


def _log_range(members: Members, name: str) -> tuple[int, int | None]:
    child = members.child(name)
    if child is None:
        raise BadRequest(f"Missing member '{name}'")
    offset, limit = child.integer("offset", 0), child.integer("limit", 0)
    child.done()
    if offset is None:
        raise BadRequest("Missing member 'offset'")
    return offset, limit


async def _raw_stdout(_sandbox: Sandbox, command: Command, request: Request) -> Response:
    return _raw(command.stdout, request)


async def _raw_stderr(_sandbox: Sandbox, command: Command, request: Request) -> Response:
    return _raw(command.stderr, request)


def _raw(output: Output, request: Request) -> Response:
    if output.data is None:
        return Response(status=HTTPStatus.GONE)
    headers = {"content-type": "application/octet-stream", "accept-ranges": "bytes"}
    total = len(output.data)
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    if wanted is None or wanted[0] == "bytes=-":  # other units and forms are to be ignored
        return Response(headers=headers, body=bytes(output.data))
    first, last = wanted.groups()
    if first:
        begin, end = int(first), min(int(last), total - 1) if last else total - 1
    else:
        begin, end = max(total - int(last), 0), total - 1
    if begin > end:
        headers["content-range"] = f"bytes */{total}"
        return Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
    headers["content-range"] = f"bytes {begin}-{end}/{total}"
    body = bytes(output.data[begin : end + 1])
    return Response(status=HTTPStatus.PARTIAL_CONTENT, headers=headers, body=body)


async def _delete_logs(_sandbox: Sandbox, command: Command, _request: Request) -> Response:
    command.stdout.delete()
    command.stderr.delete()
    return answer()


async def _stdin(_sandbox: Sandbox, command: Command, request: Request) -> Response:
    members = Members(_body(request), "the request")
    text, eof = members.required_text("data"), members.flag("eof") or False
    members.done()
    try:
        data = b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadRequest("'data' is not base64") from error
    try:
        await command.write_stdin(data, eof=eof)
    except StdinClosed:
        return refusal(HTTPStatus.GONE, "The command reads no more input")
    return answer()


async def _signal(_sandbox: Sandbox, command: Command, request: Request) -> Response:
    members = Members(_body(request), "the request")
    number = _signal_number(members.raw("signal"))
    members.done()
    try:
        command.send_signal(number)
    except ProcessLookupError:
        return refusal(HTTPStatus.GONE, "The command has ended")
    return answer()


def _signal_number(value: object) -> int:
    """From a number, or a name with or without SIG."""
    try:
        match value:
            case bool():
                raise ValueError
            case int():
                return signal.Signals(value)
            case str():
                return signal.Signals[f"SIG{value.upper().removeprefix('SIG')}"]
            case _:
                raise ValueError
    except (KeyError, ValueError) as error:
        raise BadRequest("'signal' is no signal") from error


async def _wait(_sandbox: Sandbox, command: Command, _request: Request) -> Response:
    await command.ended.wait()
    return answer()


async def _wait_timeout(_sandbox: Sandbox, command: Command, request: Request) -> Response:
    members = Members(_body(request), "the request")
    seconds = members.raw("timeout_s")
    members.done()
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds >= 0:
        raise BadRequest("'timeout_s' must be a number that is not negative")
    with trio.move_on_after(min(seconds, math.inf)):
        await command.ended.wait()
    if command.ended.is_set():
        return answer()
    return refusal(HTTPStatus.REQUEST_TIMEOUT, "The command is still running")


_COMMAND_ENDPOINTS: dict[tuple[str, str], _CommandEndpoint] = {
    ("GET", ""): _show,
    ("DELETE", ""): _delete,
    ("GET", "logs"): _logs,
    ("DELETE", "logs"): _delete_logs,
    ("GET", "logs/raw/stdout"): _raw_stdout,
    ("GET", "logs/raw/stderr"): _raw_stderr,
    ("POST", "stdin"): _stdin,
    ("POST", "signal"): _signal,
    ("POST", "wait"): _wait,
    ("POST", "wait_timeout"): _wait_timeout,
}

"""The file half of the sandbox plugin: one regular file at a time, without permissions."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path

import trio

from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.simulators.cloud.envelope import refusal
from kraftlet_trio.simulators.cloud.errors import BadRequest
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.sandbox import SandboxPlace

FileEndpoint = Callable[[SandboxPlace, Members], Awaitable[Response]]


def _success(data: object = None) -> Response:
    return json_response({"status": "success", "data": data, "op_time_us": 0})


def _unreadable(error: OSError) -> Response:
    return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, error.strerror or str(error))


def _path(place: SandboxPlace, members: Members) -> Path:
    path = members.required_text("path")
    if not path or "\0" in path:
        raise BadRequest("'path' is no path")
    try:
        return place.path(path)
    except OSError as error:
        raise BadRequest(f"'path' leads nowhere: {error}") from error


async def _make_directory(place: SandboxPlace, members: Members) -> Response:
    path, parents = _path(place, members), members.flag("parents") or False
    members.done()
    try:
        await trio.Path(path).mkdir(parents=parents, exist_ok=parents)
    except OSError as error:
        return _unreadable(error)
    return _success()


async def _read(place: SandboxPlace, members: Members) -> Response:
    path = _path(place, members)
    members.done()
    try:
        contents = await trio.Path(path).read_bytes()
    except OSError as error:
        return _unreadable(error)
    return _success({"contents": b64encode(contents).decode()})


async def _read_raw(place: SandboxPlace, members: Members) -> Response:
    path = _path(place, members)
    members.done()
    try:
        contents = await trio.Path(path).read_bytes()
    except OSError as error:
        return _unreadable(error)
    return Response(headers={"content-type": "application/octet-stream"}, body=contents)


async def _write(place: SandboxPlace, members: Members) -> Response:
    path, append, data = _path(place, members), members.flag("append") or False, _data(members)
    members.done()
    try:
        await trio.to_thread.run_sync(partial(_put, path, data, append=append))
    except OSError as error:
        return _unreadable(error)
    return _success()


async def _upload(place: SandboxPlace, members: Members) -> Response:
    path, filename = _path(place, members), members.required_text("filename")
    parents, data = members.flag("parents") or False, _data(members)
    members.done()
    if "/" in filename or "\0" in filename:
        raise BadRequest("'filename' is no file name")
    try:
        if await trio.Path(path).is_dir():
            path = path / filename
        elif parents:
            await trio.Path(path.parent).mkdir(parents=True, exist_ok=True)
        await trio.to_thread.run_sync(partial(_put, path, data, append=False))
    except OSError as error:
        return _unreadable(error)
    return _success()


def _put(path: Path, data: bytes, *, append: bool) -> None:
    with path.open("ab" if append else "wb") as file:
        file.write(data)


def _data(members: Members) -> bytes:
    encoding = members.choice("encoding", ("utf-8", "base64")) or "utf-8"
    text = members.required_text("data")
    try:
        return text.encode() if encoding == "utf-8" else b64decode(text, validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadRequest(f"'data' is not {encoding}") from error


FILE_ENDPOINTS: dict[str, FileEndpoint] = {
    "mkdir": _make_directory,
    "read": _read,
    "read_raw": _read_raw,
    "write": _write,
    "upload": _upload,
}

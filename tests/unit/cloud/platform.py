"""Answers as the platform writes them, for handlers scripted by a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.http.server import serve

Script = Callable[[Request], Response]


def success(key: str, *items: dict[str, Any]) -> Response:
    """All items done."""
    return json_response(
        {
            "status": "success",
            "data": {key: [{"status": "success", **item} for item in items]},
            "op_time_us": 99,
        }
    )


def failure(key: str, *, error: int | None = None, message: str, **item: Any) -> Response:
    """One item, failed: still HTTP 200."""
    outcome = {"status": "error", "message": message, **item}
    if error is not None:
        outcome["error"] = error
    return json_response(
        {"status": "error", "message": "Failed to perform all operations", "data": {key: [outcome]}}
    )


def mixed(key: str, *items: dict[str, Any]) -> Response:
    return json_response({"status": "partial_success", "data": {key: list(items)}})


class Recorder:
    """Answers from a script and remembers what was asked."""

    def __init__(self, *answers: Response | Exception, script: Script | None = None) -> None:
        self._answers = list(answers)
        self._script = script
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if self._script:
            return self._script(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def in_memory(handler: Any, token: Callable[[], str] = lambda: "t0k") -> AsyncIterator[Any]:
    async with trio.open_nursery() as nursery:
        access = CloudAccess(base_url="http://platform.test", token=token)
        async with CloudClient(access, transport=MemoryTransport(handler, nursery)) as client:
            yield client
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def over_http(handler: Any, token: Callable[[], str] = lambda: "t0k") -> AsyncIterator[Any]:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve, handler, host="127.0.0.1", port=0))
        access = CloudAccess(base_url=f"http://127.0.0.1:{port}", token=token)
        async with CloudClient(access) as client:
            yield client
        nursery.cancel_scope.cancel()

"""Scripted faults: what goes wrong with which requests, and how often."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs
import trio

from kraftlet_trio.http.messages import ConnectionDropped, Handler, Request, Response
from kraftlet_trio.simulators.cloud.envelope import refusal


@attrs.frozen
class AnswerStatus:
    """Answer with this status instead of doing anything."""

    status: int
    message: str = "injected fault"
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class AnswerHtml:
    """Answer as the metro's proxy does when what is behind it does not."""

    status: int = 502


@attrs.frozen
class DropBefore:
    """Cut the connection, with nothing done."""


@attrs.frozen
class CommitThenDrop:
    """Do what was asked, then cut the connection instead of answering."""


@attrs.frozen
class Delay:
    """Wait, then go on as usual."""

    seconds: float


Effect = AnswerStatus | AnswerHtml | DropBefore | CommitThenDrop | Delay


@attrs.define
class Fault:
    """*effect* strikes the next *times* requests whose method and path match as a whole."""

    effect: Effect
    method: str = ".*"
    path: str = ".*"
    times: float = 1
    """``math.inf``: until it is removed."""

    def matches(self, request: Request) -> bool:
        return bool(
            self.times > 0
            and re.fullmatch(self.method, request.method)
            and re.fullmatch(self.path, request.path)
        )


class Faults:
    """The faults in force; for one request, the first that matches."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(
        self, effect: Effect, *, method: str = ".*", path: str = ".*", times: float = 1
    ) -> Fault:
        fault = Fault(effect, method, path, times)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    async def handle(self, request: Request, handler: Handler) -> Response:
        """Answer *request* by *handler*, unless a fault has it otherwise."""
        fault = next((fault for fault in self._faults if fault.matches(request)), None)
        if fault is None:
            return await handler(request)
        fault.times -= 1
        match fault.effect:
            case AnswerStatus(status, message, headers):
                answer = refusal(status, message)
                return attrs.evolve(answer, headers={**answer.headers, **headers})
            case AnswerHtml(status):
                return Response(
                    status=status,
                    headers={"content-type": "text/html"},
                    body=f"<html><body><h1>{status}</h1></body></html>".encode(),
                )
            case DropBefore():
                raise ConnectionDropped
            case CommitThenDrop():
                await handler(request)
                raise ConnectionDropped
            case Delay(seconds):
                await trio.sleep(seconds)
                return await handler(request)

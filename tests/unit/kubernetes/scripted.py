"""An API server that answers from a script, and the documents it speaks in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import httpx
import orjson
import trio

from kraftlet_trio.http.messages import ConnectionDropped, Request, Response, json_response

Answer = Response | Exception | type[Exception]

UNREACHABLE = httpx.ConnectError("connection refused")
LOST = ConnectionDropped


@attrs.define
class ScriptedApi:
    """Gives one answer a request, in turn; the last one again and again."""

    answers: list[Answer]
    requests: list[Request] = attrs.field(factory=list)
    asked_at: list[float] = attrs.field(factory=list)

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        self.asked_at.append(trio.current_time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Response):
            return answer
        raise answer


def status(
    code: int,
    reason: str = "",
    *,
    message: str = "no",
    retry_after: int | None = None,
    causes: Iterable[dict[str, str]] = (),
) -> Response:
    answer = json_response(status_document(code, reason, message=message, causes=causes), code)
    headers = dict(answer.headers)
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    return attrs.evolve(answer, headers=headers)


def status_document(
    code: int, reason: str, *, message: str = "no", causes: Iterable[dict[str, str]] = ()
) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {"causes": list(causes)},
        "code": code,
    }


def pod(name: str = "web", *, uid: str = "", version: str = "1", **labels: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid or f"uid-of-{name}",
            "resourceVersion": version,
            "labels": labels,
        },
    }


def listing(*items: dict[str, Any], version: str, rest: str = "") -> Response:
    metadata = {"resourceVersion": version}
    if rest:
        metadata["continue"] = rest
    return json_response({"kind": "PodList", "metadata": metadata, "items": list(items)})


def event(type_: str, value: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": type_, "object": value}) + b"\n"


def bookmark(version: str) -> bytes:
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": version}})


def watch_of(*pieces: bytes, then: Exception | None = None, lasts: float = 100.0) -> Response:
    """A watch that sends *pieces*, stays open for *lasts* seconds, then ends or breaks off."""

    async def stream(send: Any) -> None:
        for piece in pieces:
            await send(piece)
        await trio.sleep(lasts)
        if then is not None:
            raise then

    return Response(headers={"content-type": "application/json"}, stream=stream)

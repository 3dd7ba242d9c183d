"""What the node answers on its kubelet port: health and metrics."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kraftlet_trio.http.messages import Request, Response


@attrs.frozen
class KubeletAPI:
    """A request handler; holds nothing that a caller without credentials may not see."""

    is_ready: Callable[[], bool]
    """Whether the node is registered and its informers have listed."""

    async def handle(self, request: Request) -> Response:
        match request.method, request.path:
            case "GET", "/healthz" if self.is_ready():
                return _text("ok")
            case "GET", "/healthz":
                return _text("starting", status=503)
            case "GET", "/metrics":
                return Response(
                    headers={"content-type": CONTENT_TYPE_LATEST}, body=generate_latest()
                )
            case _:
                return _text(f"{request.path} is not served by this node", status=404)


def _text(text: str, status: int = 200) -> Response:
    return Response(
        status=status,
        headers={"content-type": "text/plain; charset=utf-8"},
        body=f"{text}\n".encode(),
    )

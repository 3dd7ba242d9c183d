"""What the node answers on its kubelet port: health and metrics."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kraftlet_trio.http.messages import Request, Response


async def answer(request: Request) -> Response:
    """A request handler; shows nothing that a caller without credentials may not see."""
    match request.method, request.path:
        case "GET", "/healthz":
            # The port opens once informers have listed, so an answer at all is good news.
            return _text("ok")
        case "GET", "/metrics":
            return Response(headers={"content-type": CONTENT_TYPE_LATEST}, body=generate_latest())
        case _:
            return _text(f"{request.path} is not served by this node", status=404)


def _text(text: str, status: int = 200) -> Response:
    return Response(
        status=status,
        headers={"content-type": "text/plain; charset=utf-8"},
        body=f"{text}\n".encode(),
    )

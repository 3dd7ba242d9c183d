"""Short answers, in the kubelet's words."""

from __future__ import annotations

from kraftlet_trio.http.messages import Response

PLAIN = "text/plain; charset=utf-8"


def text(body: str, status: int = 200) -> Response:
    return Response(status=status, headers={"content-type": PLAIN}, body=body.encode())


def not_found() -> Response:
    return text("404 page not found\n", 404)


def method_not_allowed(*allowed: str) -> Response:
    headers = {"content-type": PLAIN, "allow": ", ".join(allowed)}
    return Response(status=405, headers=headers, body=b"405: Method Not Allowed")

"""The upgrade of a request to one of the streaming protocols, as clients of kubelets ask for it.

Over WebSocket, or over SPDY/3.1, whose protocols are named in a header of Kubernetes' own.

Source: Kubernetes, staging/src/k8s.io/streaming, pkg/httpstream and pkg/streaming.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus

import structlog

from kraftlet_trio.http.messages import Request, Response, Upgraded
from kraftlet_trio.streaming.forwarding import PortDial
from kraftlet_trio.streaming.remote_command import CommandHandler, WantedStreams
from kraftlet_trio.streaming.spdy_command import COMMAND_PROTOCOLS, serve_spdy_command
from kraftlet_trio.streaming.spdy_port_forward import PORT_FORWARD_PROTOCOL, serve_spdy_port_forward
from kraftlet_trio.streaming.websocket_command import (
    WEBSOCKET_COMMAND_PROTOCOLS,
    serve_websocket_command,
)
from kraftlet_trio.streaming.websocket_handshake import (
    Refused,
    open_websocket,
    wants_websocket,
)
from kraftlet_trio.streaming.websocket_port_forward import (
    MOST_PORTS,
    TUNNEL_PROTOCOL,
    WEBSOCKET_PORT_PROTOCOLS,
    serve_websocket_port_forward,
    serve_websocket_tunnel,
)

log = structlog.get_logger()

SPDY = "SPDY/3.1"
_OFFERED = "x-stream-protocol-version"
_CHOSEN = "X-Stream-Protocol-Version"
_ACCEPTED = "x-accepted-stream-protocol-versions"


def upgrade_to_command(
    request: Request, wanted: WantedStreams, handler: CommandHandler
) -> Response:
    """The answer to a request whose client is to be joined to *handler*."""
    if wants_websocket(request.headers):
        opened = open_websocket(request.headers, WEBSOCKET_COMMAND_PROTOCOLS)
        if isinstance(opened, Refused):
            return _refused(opened)
        serve = partial(
            serve_websocket_command, wanted=wanted, protocol=opened.protocol, handler=handler
        )
        return _switching(opened.headers, serve)
    protocol = _spdy_protocol(request.headers, COMMAND_PROTOCOLS)
    if isinstance(protocol, Refused):
        return _refused(protocol)
    serve = partial(serve_spdy_command, wanted=wanted, protocol=protocol, handler=handler)
    return _switching(_spdy_headers(protocol), serve)


def upgrade_to_port_forward(request: Request, dial: PortDial) -> Response:
    """The answer to a request whose client is to reach ports through *dial*."""
    if wants_websocket(request.headers):
        return _websocket_port_forward(request, dial)
    protocol = _spdy_protocol(request.headers, (PORT_FORWARD_PROTOCOL,))
    if isinstance(protocol, Refused):
        return _refused(protocol)
    return _switching(_spdy_headers(protocol), partial(serve_spdy_port_forward, dial=dial))


def _websocket_port_forward(request: Request, dial: PortDial) -> Response:
    opened = open_websocket(request.headers, (TUNNEL_PROTOCOL, *WEBSOCKET_PORT_PROTOCOLS))
    if isinstance(opened, Refused):
        return _refused(opened)
    if opened.protocol == TUNNEL_PROTOCOL:
        return _switching(opened.headers, partial(serve_websocket_tunnel, dial=dial))
    try:
        ports = _ports(request.query)
    except ValueError as error:
        return _refused(Refused(HTTPStatus.BAD_REQUEST, str(error)))
    serve = partial(serve_websocket_port_forward, protocol=opened.protocol, ports=ports, dial=dial)
    return _switching(opened.headers, serve)


def _ports(query: Sequence[tuple[str, str]]) -> list[int]:
    """Raises ``ValueError`` with words for the client."""
    texts = [text for name, value in query if name == "port" for text in value.split(",")]
    if not texts:
        raise ValueError('query parameter "port" is required')
    if len(texts) > MOST_PORTS:
        raise ValueError(f"{len(texts)} ports in one session, but at most {MOST_PORTS}")
    for text in texts:
        if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
            raise ValueError(f"{text[:20]!r} is no port: write a number from 1 to 65535")
    return [int(text) for text in texts]


def _spdy_protocol(headers: Mapping[str, str], supported: Sequence[str]) -> str | Refused:
    upgrades = _listed(headers, "upgrade")
    if "upgrade" not in _listed(headers, "connection") or SPDY.lower() not in upgrades:
        return Refused(HTTPStatus.BAD_REQUEST, "missing upgrade headers")
    # Names of protocols have no capitals.
    offered = _listed(headers, _OFFERED)
    if not offered:
        return Refused(HTTPStatus.BAD_REQUEST, f"missing header {_OFFERED}")
    for protocol in offered:
        if protocol in supported:
            return protocol
    return Refused(
        HTTPStatus.FORBIDDEN,
        f"unable to upgrade: none of {', '.join(offered)} is supported, but {', '.join(supported)}",
        {_ACCEPTED: ", ".join(supported)},
    )


def _spdy_headers(protocol: str) -> Mapping[str, str]:
    return {"connection": "Upgrade", "upgrade": SPDY, _CHOSEN: protocol}


def _listed(headers: Mapping[str, str], name: str) -> list[str]:
    pieces = headers.get(name, "").split(",")
    return [part for piece in pieces if (part := piece.strip().lower())]


def _switching(headers: Mapping[str, str], serve: Upgraded) -> Response:
    log.debug("connection upgraded", to=headers["upgrade"], protocol=_named(headers))
    return Response(status=HTTPStatus.SWITCHING_PROTOCOLS, headers=headers, upgrade=serve)


def _named(headers: Mapping[str, str]) -> str | None:
    return headers.get("sec-websocket-protocol", headers.get(_CHOSEN))


def _refused(refused: Refused) -> Response:
    headers = {"content-type": "text/plain; charset=utf-8", **refused.headers}
    return Response(status=refused.status, headers=headers, body=refused.text.encode())

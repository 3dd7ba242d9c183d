"""The opening of a WebSocket, decided from a request's headers alone; no I/O.

No extension is ever agreed on: Kubernetes' clients refuse frames with reserved bits.

Source: RFC 6455, 4.2.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import attrs

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"
_KEY_BYTES = 16


@attrs.frozen
class Accepted:
    """To be answered by 101."""

    protocol: str | None
    """None where the client offered none."""
    headers: Mapping[str, str]


@attrs.frozen
class Refused:
    """To be answered by a text, without an upgrade."""

    status: int
    text: str
    headers: Mapping[str, str] = attrs.field(factory=dict)


def wants_websocket(headers: Mapping[str, str]) -> bool:
    """Names of *headers* are in lower case, repeated ones joined by a comma."""
    upgrades = [name.lower() for name in _listed(headers, "upgrade")]
    connection = [name.lower() for name in _listed(headers, "connection")]
    return "upgrade" in connection and "websocket" in upgrades


def open_websocket(headers: Mapping[str, str], supported: Sequence[str]) -> Accepted | Refused:
    """The first protocol of the client's list that is *supported* is taken."""
    if not wants_websocket(headers):
        return Refused(HTTPStatus.BAD_REQUEST, "missing upgrade headers")
    if headers.get("sec-websocket-version", "").strip() != _VERSION:
        version = {"sec-websocket-version": _VERSION}
        return Refused(HTTPStatus.UPGRADE_REQUIRED, "only version 13 of WebSocket", version)
    key = headers.get("sec-websocket-key", "").strip()
    if not _is_key(key):
        return Refused(HTTPStatus.BAD_REQUEST, "no valid Sec-WebSocket-Key")
    offered = _listed(headers, "sec-websocket-protocol")
    protocol = next((name for name in offered if name in supported), None)
    if offered and protocol is None:
        text = f"none of the subprotocols is supported, but {', '.join(supported)}"
        return Refused(HTTPStatus.FORBIDDEN, text)
    answer = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-accept": accept_hash(key),
    }
    if protocol is not None:
        answer["sec-websocket-protocol"] = protocol
    return Accepted(protocol, answer)


def accept_hash(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _MAGIC).digest()).decode()


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _listed(headers: Mapping[str, str], name: str) -> list[str]:
    return [part for piece in headers.get(name, "").split(",") if (part := piece.strip())]

"""Bodies in Kubernetes' protobuf form, as far as kubectl's own commands send them.

kubectl applies JSON, but ``kubectl create namespace`` and its kin send protobuf and know no
other way. Fields that ``protobuf_messages`` does not list are refused unless they are zero,
so that nothing that was asked for is lost unseen.

Source: apimachinery ``runtime/serializer/protobuf``; protobuf's encoding of proto2.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from kraftlet_trio.simulators.kubernetes.protobuf_messages import MESSAGES
from kraftlet_trio.simulators.kubernetes.resources import Json

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"


def decode(body: bytes) -> Json:
    """The object in an enveloped body. Raises ``ValueError`` for what is not understood."""
    if not body.startswith(_MAGIC):
        raise ValueError("no Kubernetes protobuf")
    envelope = _message("Unknown", body[len(_MAGIC) :])
    type_meta = envelope.get("typeMeta", {})
    kind = type_meta.get("kind", "")
    if kind not in MESSAGES:
        raise ValueError(
            f"the simulator reads {kind or 'this kind'} as JSON only; use kubectl apply"
        )
    content = base64.b64decode(envelope.get("raw", ""))
    return {**type_meta, **_message(kind, content)}


def _message(name: str, data: bytes) -> Json:
    value: Json = {}
    for number, content in _fields(data):
        field = MESSAGES[name].get(number)
        if field is None:
            if content:
                raise ValueError(f"the simulator does not know field {number} of {name}")
        elif field:
            _store(value, field, content)
    return value


def _store(value: Json, field: str, content: int | bytes) -> None:
    """*field* as in ``protobuf_messages``."""
    name, _, kind = field.partition(":")
    if kind.startswith("[]"):
        value.setdefault(name, []).append(_scalar_or_message(kind[2:], content))
    elif kind.startswith("{}"):
        entry = dict(_fields(_as_bytes(content)))
        key = _as_bytes(entry.get(1, b"")).decode()
        value.setdefault(name, {})[key] = _scalar_or_message(kind[2:], entry.get(2, b""))
    else:
        decoded = _scalar_or_message(kind.rstrip("?"), content)
        if decoded or kind.endswith("?"):
            value[name] = decoded


def _scalar_or_message(kind: str, content: int | bytes) -> Any:
    match kind:
        case "string":
            return _as_bytes(content).decode()
        case "bytes":
            return base64.b64encode(_as_bytes(content)).decode()
        case "int":
            return _signed(content)
        case "bool":
            return bool(content)
        case "IntOrString":
            parts = dict(_fields(_as_bytes(content)))
            return (
                _as_bytes(parts.get(3, b"")).decode() if parts.get(1) else _signed(parts.get(2, 0))
            )
        case message:
            return _message(message, _as_bytes(content))


def _as_bytes(content: int | bytes) -> bytes:
    if isinstance(content, int):
        raise ValueError("a number where bytes are due")
    return content


def _signed(content: int | bytes) -> int:
    if isinstance(content, bytes):
        raise ValueError("bytes where a number is due")
    return content - (1 << 64) if content >> 63 else content


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and contents, in the order sent. Kubernetes uses no fixed-width numbers here."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, position = _varint(data, position)
        match tag & 7:
            case 0:
                yield tag >> 3, number
            case 2:
                if position + number > len(data):
                    raise ValueError("protobuf is cut short")
                yield tag >> 3, data[position : position + number]
                position += number
            case wire_type:
                raise ValueError(f"unexpected protobuf wire type {wire_type}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number and the position after it."""
    number = shift = 0
    while True:
        if position >= len(data):
            raise ValueError("protobuf is cut short")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return number, position
        if shift > 63:
            raise ValueError("a number of more than 64 bits")

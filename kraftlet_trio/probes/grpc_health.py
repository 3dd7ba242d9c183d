"""grpc: the health checking protocol, plaintext over HTTP/2.

``HealthCheck`` is the protocol without I/O: bytes in, bytes and the outcome out.

Sources: kubelet's probe/grpc/grpc.go; grpc.health.v1; gRPC over HTTP/2 (PROTOCOL-HTTP2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import AnyStr
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import trio

from kraftlet_trio.probes.means import (
    KUBERNETES_MINOR,
    NETWORK_HINT,
    Dial,
    address,
    cannot_connect,
)
from kraftlet_trio.probes.outcome import Healthy, Outcome, Unhealthy

_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING = 1
_UNIMPLEMENTED = 12
_DEADLINE_EXCEEDED = 4
_PREFIX_BYTES = 5
"""Of a message: whether it is compressed, and its length."""
_MOST_MESSAGE_BYTES = 4096
_READ_BYTES = 16 * 1024


class _CheckFailed(Exception):
    """The server does not answer the check. The text begins as kubelet's does."""


async def probe_grpc(
    dial: Dial, host: str, port: int, service: str, *, timeout_seconds: float
) -> Outcome:
    """Healthy if the server says that *service* (empty: it as a whole) is serving."""
    where = address(host, port)
    connected = False
    with trio.move_on_after(timeout_seconds):
        try:
            stream = await dial(host, port)
        except OSError as error:
            told = cannot_connect(error, host, port)
            return Unhealthy(f'error: failed to connect service at "{where}": {told}')
        connected = True
        try:
            return await _check(stream, HealthCheck(where, service, timeout_seconds))
        except _CheckFailed as error:
            return Unhealthy(str(error))
        finally:
            await trio.aclose_forcefully(stream)
    if connected:
        return Unhealthy(f"timeout: health rpc did not complete within {timeout_seconds:g}s")
    return Unhealthy(
        f'timeout: failed to connect service "{where}" within {timeout_seconds:g}s: '
        f"context deadline exceeded ({NETWORK_HINT})"
    )


async def _check(stream: trio.abc.Stream, check: HealthCheck) -> Outcome:
    try:
        await stream.send_all(check.begin())
        while check.outcome is None:
            data = bytes(await stream.receive_some(_READ_BYTES))
            if reply := check.feed(data):
                await stream.send_all(reply)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise _CheckFailed(f"error: health rpc probe failed: {error.__cause__ or error}") from error
    return check.outcome


class HealthCheck:
    """One call of ``grpc.health.v1.Health/Check`` on a connection of its own."""

    def __init__(self, authority: str, service: str, timeout_seconds: float) -> None:
        self.outcome: Outcome | None = None
        """Once it is known; nothing needs to be read or sent any more."""
        self._authority = authority
        self._message = _request(service)
        self._timeout_seconds = timeout_seconds
        self._http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self._received = bytearray()

    def begin(self) -> bytes:
        """The first bytes to send."""
        self._http.initiate_connection()
        stream = self._http.get_next_available_stream_id()
        self._http.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/grpc.health.v1.Health/Check"),
                (":authority", self._authority),
                ("content-type", "application/grpc"),
                ("user-agent", f"kube-probe/{KUBERNETES_MINOR}"),
                ("te", "trailers"),
                ("grpc-timeout", f"{round(self._timeout_seconds * 1000)}m"),
            ],
        )
        self._http.send_data(stream, self._message, end_stream=True)
        return self._http.data_to_send()

    def feed(self, data: bytes) -> bytes:
        """Take in what came, empty at the connection's end; what to send. Raises _CheckFailed."""
        if not data:
            raise _failed("the connection was closed")
        try:
            events = self._http.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise _failed(f"not HTTP/2: {error}") from error
        for event in events:
            self._take(event)
        return self._http.data_to_send()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived(headers=headers):
                self._take_head(_decoded(headers or ()))
            case h2.events.TrailersReceived(headers=headers):
                self._finish(_decoded(headers or ()))
            case h2.events.DataReceived(data=data):
                self._received += data or b""
                if len(self._received) > _MOST_MESSAGE_BYTES:
                    raise _failed(f"the answer is longer than {_MOST_MESSAGE_BYTES} bytes")
            case h2.events.StreamEnded() if self.outcome is None:
                raise _failed("the answer has no status")
            case h2.events.StreamReset(error_code=code):
                raise _failed(f"the stream was reset, error code {code}")
            case h2.events.ConnectionTerminated(error_code=code):
                raise _failed(f"the server went away, error code {code}")

    def _take_head(self, headers: dict[str, str]) -> None:
        if headers.get(":status") != "200":
            raise _failed(f"HTTP status {headers.get(':status')}")
        if "grpc-status" in headers:  # head and trailers in one
            self._finish(headers)
        elif not headers.get("content-type", "").startswith("application/grpc"):
            raise _failed(f"content type {headers.get('content-type')!r} is not gRPC's")

    def _finish(self, headers: dict[str, str]) -> None:
        code, message = headers.get("grpc-status"), unquote(headers.get("grpc-message", ""))
        if code is None:
            raise _failed("the answer has no status")
        if code == str(_UNIMPLEMENTED):
            raise _CheckFailed(
                "error: this server does not implement the grpc health protocol "
                f"(grpc.health.v1.Health): {message}"
            )
        if code == str(_DEADLINE_EXCEEDED):
            raise _CheckFailed(
                f"timeout: health rpc did not complete within {self._timeout_seconds:g}s"
            )
        if code != "0":
            raise _failed(f"rpc error: code = {code} desc = {message}")
        status = _status(bytes(self._received))
        if status == _SERVING:
            self.outcome = Healthy()
        else:
            name = _STATUSES.get(status, str(status))
            self.outcome = Unhealthy(f'service unhealthy (responded with "{name}")')


def _decoded(headers: Iterable[tuple[AnyStr, AnyStr]]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in headers}


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _failed(reason: str) -> _CheckFailed:
    return _CheckFailed(f"error: health rpc probe failed: {reason}")


def _request(service: str) -> bytes:
    """HealthCheckRequest, framed: field 1 is the service's name."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _status(framed: bytes) -> int:
    """Field 1 of a framed HealthCheckResponse. Raises _CheckFailed."""
    length = int.from_bytes(framed[1:_PREFIX_BYTES], "big")
    message = framed[_PREFIX_BYTES:]
    if len(framed) < _PREFIX_BYTES or framed[0] != 0 or len(message) != length:
        raise _failed("the answer is not one plain message")
    status, position = 0, 0
    while position < length:
        key, position = _read_varint(message, position)
        match key & 7:
            case 0:
                value, position = _read_varint(message, position)
                status = value if key >> 3 == 1 else status
            case 1:
                position += 8
            case 2:
                size, position = _read_varint(message, position)
                position += size
            case 5:
                position += 4
            case _:
                raise _failed("the answer is not protobuf")
    return status


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise _failed("the answer is not protobuf")

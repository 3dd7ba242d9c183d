"""Ports of scripted guests: what speaks there, in memory, and how well it feels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum

import attrs
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import trio

from kraftlet_trio.http.messages import Handler, Request, Response
from kraftlet_trio.http.server import serve_connection
from kraftlet_trio.simulators.cloud.images import PortProtocol

_READ_BYTES = 16 * 1024
_SERVING, _NOT_SERVING = 1, 2


class Health(Enum):
    """How an application answers whoever asks how it is."""

    GOOD = "good"
    BAD = "bad"
    """It answers, and complains."""
    SILENT = "silent"
    """Connections come about, and nothing is said."""
    CLOSED = "closed"
    """Nobody listens."""


@attrs.define(eq=False)
class ScriptedPort:
    """One port of one run."""

    protocol: PortProtocol
    health: Health = Health.GOOD
    handler: Handler | None = None
    """Answers HTTP requests while all is good."""
    requests: list[Request] = attrs.field(factory=list)
    """The HTTP requests that came."""

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection, to its end."""
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._serve(stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if self.health is Health.SILENT:
            await _listen(stream)
        elif self.protocol == "http":
            await serve_connection(self._answer, stream)
        elif self.protocol == "grpc":
            await serve_health_checks(stream, lambda: self.health is Health.GOOD)
        else:
            await _echo(stream)

    async def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        if self.health is Health.BAD:
            return Response(status=503, body=b"not well\n")
        if self.handler is not None:
            return await self.handler(request)
        return Response(body=b"ok\n")


async def _listen(stream: trio.abc.Stream) -> None:
    async for _ in stream:
        pass


async def _echo(stream: trio.abc.Stream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def serve_health_checks(stream: trio.abc.Stream, is_serving: Callable[[], bool]) -> None:
    """gRPC's health service over one connection, for the server as a whole alone."""
    http = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding=None)
    )
    http.initiate_connection()
    await stream.send_all(http.data_to_send())
    paths: dict[int, bytes] = {}
    bodies: dict[int, bytes] = {}
    while data := bytes(await stream.receive_some(_READ_BYTES)):
        try:
            events = http.receive_data(data)
        except h2.exceptions.ProtocolError:
            await stream.send_all(http.data_to_send())
            return
        for event in events:
            match event:
                case h2.events.RequestReceived(stream_id=number, headers=headers):
                    given = {bytes(name): bytes(value) for name, value in headers or ()}
                    paths[number or 0], bodies[number or 0] = given.get(b":path", b""), b""
                case h2.events.DataReceived(stream_id=number, data=body):
                    bodies[number or 0] += body or b""
                case h2.events.StreamEnded(stream_id=number):
                    number = number or 0
                    path, body = paths.pop(number), bodies.pop(number)
                    _answer_check(http, number, path, body, is_serving=is_serving())
        await stream.send_all(http.data_to_send())


def _answer_check(
    http: h2.connection.H2Connection, number: int, path: bytes, body: bytes, *, is_serving: bool
) -> None:
    head = [(b":status", b"200"), (b"content-type", b"application/grpc")]
    if path != b"/grpc.health.v1.Health/Check":
        refusal = [(b"grpc-status", b"12"), (b"grpc-message", b"unknown%20method")]
        http.send_headers(number, [*head, *refusal], end_stream=True)
    elif len(body) > 5:
        refusal = [(b"grpc-status", b"5"), (b"grpc-message", b"unknown%20service")]
        http.send_headers(number, [*head, *refusal], end_stream=True)
    else:
        http.send_headers(number, head)
        status = _SERVING if is_serving else _NOT_SERVING
        http.send_data(number, b"\0\0\0\0\x02" + bytes((8, status)))
        http.send_headers(number, [(b"grpc-status", b"0")], end_stream=True)

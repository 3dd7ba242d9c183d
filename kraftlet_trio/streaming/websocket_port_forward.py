"""Port-forward over WebSocket.

Either each port has two channels and one connection for the whole session, or the WebSocket
carries the bytes of a SPDY connection.

Source: Kubernetes, staging/src/k8s.io/streaming, pkg/streaming/portforward/websocket.go, and
staging/src/k8s.io/client-go, tools/portforward/tunneling_connection.go.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import attrs
import trio

from kraftlet_trio.streaming.forwarding import PortDial, copy_both_ways, dialled
from kraftlet_trio.streaming.received_bytes import ReceivedBytes
from kraftlet_trio.streaming.remote_command import MOST_PIECE_BYTES
from kraftlet_trio.streaming.spdy_port_forward import serve_spdy_port_forward
from kraftlet_trio.streaming.websocket_channels import (
    ChannelData,
    ChannelReader,
    ChannelWriter,
)
from kraftlet_trio.streaming.websocket_session import WebSocketSession

WEBSOCKET_PORT_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
MOST_PORTS = 32
"""Of one session. With base64 a channel is one character, and there are not many."""


async def serve_websocket_port_forward(
    stream: trio.abc.Stream, protocol: str | None, ports: Sequence[int], dial: PortDial
) -> None:
    """Forward one connection to each of at most 32 *ports*, until all have ended.

    *protocol* is None where the client named none: that is ``v4.channel.k8s.io``.
    """
    session, writer, reader = WebSocketSession(), ChannelWriter(protocol), ChannelReader(protocol)
    channels = [_Channel(session, writer, 2 * index) for index in range(len(ports))]

    async def hear(piece: bytes, finished: bool) -> None:  # noqa: FBT001 (Hear)
        for event in reader.receive(piece, finished=finished):
            match event:
                case ChannelData(channel, data) if channel % 2 == 0:
                    if channel // 2 < len(channels):
                        await channels[channel // 2].received.feed(data)
                case _:
                    pass

    async def speak() -> None:
        for channel, port in zip(channels, ports, strict=True):
            await channel.announce(port)
        async with trio.open_nursery() as nursery:
            for channel, port in zip(channels, ports, strict=True):
                nursery.start_soon(_forward, channel, port, dial)

    await session.serve(stream, hear, speak)


async def serve_websocket_tunnel(stream: trio.abc.Stream, dial: PortDial) -> None:
    """Forward connections, told of by SPDY inside of the WebSocket, until the client leaves."""
    session = WebSocketSession()
    tunnel = _Tunnel(session)

    async def hear(piece: bytes, _finished: bool) -> None:  # noqa: FBT001 (Hear)
        await tunnel.received.feed(piece)

    async def speak() -> None:
        async with tunnel:
            await serve_spdy_port_forward(tunnel, dial)

    await session.serve(stream, hear, speak)


async def _forward(channel: _Channel, port: int, dial: PortDial) -> None:
    async with channel:
        target = await dialled(dial, port)
        if isinstance(target, str):
            await channel.tell(target)
        else:
            async with target:
                await copy_both_ways(channel, target)


@attrs.define(eq=False)
class _Channel(trio.abc.HalfCloseableStream):
    """A port's two channels. Its end cannot be told, only that of the whole session."""

    _session: WebSocketSession
    _writer: ChannelWriter
    _number: int
    received: ReceivedBytes = attrs.field(factory=ReceivedBytes, init=False)

    async def announce(self, port: int) -> None:
        for channel in (self._number, self._number + 1):
            await self._send(channel, struct.pack("<H", port))

    async def tell(self, error: str) -> None:
        await self._send(self._number + 1, error.encode())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.received.take(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._send(self._number, bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.received.cut()
        await trio.lowlevel.checkpoint()

    async def _send(self, channel: int, data: bytes) -> None:
        for message in self._writer.encode(channel, data):
            await self._session.send(message)


@attrs.define(eq=False)
class _Tunnel(trio.abc.Stream):
    """The bytes of all messages in a row: where one ends means nothing."""

    _session: WebSocketSession
    received: ReceivedBytes = attrs.field(factory=ReceivedBytes, init=False)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.received.take(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, len(view), MOST_PIECE_BYTES):
            await self._session.send(bytes(view[start : start + MOST_PIECE_BYTES]))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.received.cut()
        await trio.lowlevel.checkpoint()

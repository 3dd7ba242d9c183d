"""Exec and attach over WebSocket: each stream of the command is a channel.

Source: Kubernetes, staging/src/k8s.io/streaming, pkg/streaming/remotecommand/websocket.go.
"""

from __future__ import annotations

import attrs
import trio

from kraftlet_trio.streaming.command_status import status_json, status_text
from kraftlet_trio.streaming.received_bytes import ReceivedBytes
from kraftlet_trio.streaming.remote_command import (
    CommandHandler,
    CommandStreams,
    TerminalSize,
    WantedStreams,
    served,
)
from kraftlet_trio.streaming.terminal_sizes import TerminalSizes
from kraftlet_trio.streaming.websocket_channels import (
    ChannelData,
    ChannelEnded,
    ChannelReader,
    ChannelWriter,
)
from kraftlet_trio.streaming.websocket_session import WebSocketSession

WEBSOCKET_COMMAND_PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
_TELL_BY_STATUS = WEBSOCKET_COMMAND_PROTOCOLS[:3]

_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE = range(5)


async def serve_websocket_command(
    stream: trio.abc.Stream, wanted: WantedStreams, protocol: str | None, handler: CommandHandler
) -> None:
    """Serve one command on a connection that has been upgraded, to its end.

    *protocol* is None where the client named none: that is ``channel.k8s.io``.
    """
    session = WebSocketSession()
    command = _WebSocketCommandStreams(session, wanted, protocol)

    async def speak() -> None:
        try:
            await command.greet()
            end = await served(handler, command)
            tell = status_json if protocol in _TELL_BY_STATUS else status_text
            await command.tell(tell(end))
        finally:
            command.stdin.cut()

    await session.serve(stream, command.hear, speak)


@attrs.define(eq=False)
class _WebSocketCommandStreams(CommandStreams):
    _session: WebSocketSession
    _wanted: WantedStreams
    _protocol: str | None
    stdin: ReceivedBytes = attrs.field(factory=ReceivedBytes, init=False)
    _sizes: TerminalSizes = attrs.field(factory=TerminalSizes, init=False)
    _reader: ChannelReader = attrs.field(init=False)
    _writer: ChannelWriter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = ChannelReader(self._protocol)
        self._writer = ChannelWriter(self._protocol)
        if not self._wanted.stdin:
            self.stdin.end()

    async def greet(self) -> None:
        """Old clients wait for an empty message on the first channel that can be written."""
        if self._wanted.stdout:
            await self._send(_STDOUT)
        elif self._has_stderr:
            await self._send(_STDERR)
        else:
            await self._send(_ERROR)

    async def hear(self, piece: bytes, finished: bool) -> None:  # noqa: FBT001 (Hear)
        for event in self._reader.receive(piece, finished=finished):
            match event:
                case ChannelData(channel=0, data=data):
                    await self.stdin.feed(data)
                case ChannelData(channel=4, data=data) if self._wanted.tty:
                    self._sizes.feed(data)
                case ChannelEnded(channel=0):
                    self.stdin.end()
                case _:
                    pass

    async def tell(self, text: bytes) -> None:
        if text:
            await self._send(_ERROR, text)

    async def receive_stdin(self) -> bytes:
        return await self.stdin.take()

    async def send_stdout(self, data: bytes) -> None:
        if self._wanted.stdout and data:
            await self._send(_STDOUT, data)

    async def send_stderr(self, data: bytes) -> None:
        if self._has_stderr and data:
            await self._send(_STDERR, data)

    async def receive_size(self) -> TerminalSize:
        return await self._sizes.next()

    @property
    def _has_stderr(self) -> bool:
        return self._wanted.stderr and not self._wanted.tty

    async def _send(self, channel: int, data: bytes = b"") -> None:
        for message in self._writer.encode(channel, data):
            await self._session.send(message)

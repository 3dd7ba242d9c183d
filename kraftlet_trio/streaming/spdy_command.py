"""Exec and attach over SPDY/3.1.

Source: Kubernetes, staging/src/k8s.io/streaming, pkg/streaming/remotecommand/httpstream.go.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import attrs
import structlog
import trio

from kraftlet_trio.streaming.command_status import status_json, status_text
from kraftlet_trio.streaming.remote_command import (
    CommandHandler,
    CommandStreams,
    TerminalSize,
    WantedStreams,
    served,
)
from kraftlet_trio.streaming.spdy_frames import ResetStatus
from kraftlet_trio.streaming.spdy_session import SPDYSession, SPDYStream
from kraftlet_trio.streaming.terminal_sizes import TerminalSizes

log = structlog.get_logger()

COMMAND_PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
)
"""The last has the version 1, and no half-close of its input."""
_TELL_BY_STATUS = COMMAND_PROTOCOLS[:2]
_TELL_SIZES = COMMAND_PROTOCOLS[:3]

STREAMS_SECONDS = 30.0
"""For the client to open all its streams."""


async def serve_spdy_command(
    stream: trio.abc.Stream, wanted: WantedStreams, protocol: str, handler: CommandHandler
) -> None:
    """Serve one command on a connection that has been upgraded, to its end."""
    speak = partial(_speak, wanted=wanted, protocol=protocol, handler=handler)
    await SPDYSession().serve(stream, speak)


async def _speak(
    session: SPDYSession, *, wanted: WantedStreams, protocol: str, handler: CommandHandler
) -> None:
    streams: dict[str, SPDYStream] = {}
    with trio.move_on_after(STREAMS_SECONDS) as opening:
        await _accept(session, _expected(wanted, protocol), streams)
    if opening.cancelled_caught:
        log.info("streams of a command did not come", came=sorted(streams))
        return
    command = _SPDYCommandStreams(session, streams)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_refuse_more, session)
        nursery.start_soon(command.read_sizes)
        end = await served(handler, command)
        if "stdin" in streams:
            streams["stdin"].forget()
        for name in ("stdout", "stderr"):
            if name in streams:
                await streams[name].send_eof()
        tell = status_json if protocol in _TELL_BY_STATUS else status_text
        with suppress(trio.BrokenResourceError):  # nobody wants to know
            await streams["error"].send_all(tell(end))
        await streams["error"].send_eof()
        # All of it, to a slow reader too: kubectl may well be piped into a pager.
        await session.outbox.drained()
        nursery.cancel_scope.cancel()


def _expected(wanted: WantedStreams, protocol: str) -> set[str]:
    expected = {"error"}
    if wanted.stdin:
        expected.add("stdin")
    if wanted.stdout:
        expected.add("stdout")
    if wanted.stderr and not wanted.tty:
        expected.add("stderr")
    if wanted.tty and protocol in _TELL_SIZES:
        expected.add("resize")
    return expected


async def _accept(session: SPDYSession, expected: set[str], streams: dict[str, SPDYStream]) -> None:
    while len(streams) < len(expected):
        stream = await session.next_stream()
        name = stream.headers.get("streamtype", "").lower()
        if name in expected and name not in streams:
            stream.accept()
            streams[name] = stream
        else:
            stream.reset(ResetStatus.REFUSED_STREAM)


async def _refuse_more(session: SPDYSession) -> None:
    while True:
        (await session.next_stream()).reset(ResetStatus.REFUSED_STREAM)


@attrs.define(eq=False)
class _SPDYCommandStreams(CommandStreams):
    _session: SPDYSession
    _streams: dict[str, SPDYStream]
    _sizes: TerminalSizes = attrs.field(factory=TerminalSizes, init=False)

    async def receive_stdin(self) -> bytes:
        if "stdin" not in self._streams:
            return b""
        try:
            return await self._streams["stdin"].receive_some()
        except trio.BrokenResourceError:
            return b""

    async def send_stdout(self, data: bytes) -> None:
        await self._send("stdout", data)

    async def send_stderr(self, data: bytes) -> None:
        await self._send("stderr", data)

    async def receive_size(self) -> TerminalSize:
        return await self._sizes.next()

    async def read_sizes(self) -> None:
        if "resize" in self._streams:
            try:
                while data := await self._streams["resize"].receive_some():
                    self._sizes.feed(data)
            except trio.BrokenResourceError:
                pass

    async def _send(self, name: str, data: bytes) -> None:
        if name not in self._streams:
            return
        try:
            await self._streams[name].send_all(data)
        except trio.BrokenResourceError:
            self._session.abandon()
            await trio.lowlevel.checkpoint()

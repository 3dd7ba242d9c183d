"""What probes and hooks reach in a test: a network in memory, a sandbox, the state of instances."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio
from trio.testing import memory_stream_pair

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.sandbox import CommandResult, CommandTimedOut, quoted
from kraftlet_trio.probes.means import ProbeMeans

Server = Callable[[trio.abc.Stream], Awaitable[None]]


async def silent(stream: trio.abc.Stream) -> None:
    """A server that takes what comes and says nothing."""
    async for _ in stream:
        pass


@attrs.define(eq=False)
class Guests:
    """Listeners by address and port. Where there is none, connections are refused."""

    _nursery: trio.Nursery
    servers: dict[tuple[str, int], Server] = attrs.field(factory=dict)
    hang: bool = False
    """No connection comes about any more."""
    dialled: list[float] = attrs.field(factory=list)
    """When, on Trio's clock."""
    commands: list[tuple[str, tuple[str, ...]]] = attrs.field(factory=list)
    exit_code: int = 0
    output: bytes = b""
    command_seconds: float = 0.0
    sandbox_error: Exception | None = None
    stuck: bool = False
    """The sandbox does not answer."""
    state: str = cloud.RUNNING
    states_read: int = 0

    def means(self, **fields: object) -> ProbeMeans:
        return ProbeMeans(
            **{"dial": self.dial, "sandbox": self, "read_state": self.read_state, **fields}
        )

    def listen(self, port: int, server: Server = silent, host: str = "10.0.0.1") -> None:
        self.servers[host, port] = server

    def unlisten(self, port: int, host: str = "10.0.0.1") -> None:
        del self.servers[host, port]

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        self.dialled.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.hang:
            await trio.sleep_forever()
        if (host, port) not in self.servers:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._serve, self.servers[host, port], theirs)
        return ours

    async def _serve(self, server: Server, stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                await server(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def run(
        self, uuid: str, argv: Sequence[str], *, timeout_seconds: float | None, most_bytes: int
    ) -> CommandResult:
        self.commands.append((uuid, tuple(argv)))
        await trio.lowlevel.checkpoint()
        if self.stuck:
            await trio.sleep_forever()
        if self.sandbox_error is not None:
            raise self.sandbox_error
        if timeout_seconds is not None and self.command_seconds > timeout_seconds:
            await trio.sleep(timeout_seconds)
            raise CommandTimedOut(
                f"command timed out: {quoted(argv)} timed out after {timeout_seconds:g}s"
            )
        await trio.sleep(self.command_seconds)
        return CommandResult(exit_code=self.exit_code, output=self.output[:most_bytes])

    async def read_state(self, _uuid: str) -> str:
        self.states_read += 1
        await trio.lowlevel.checkpoint()
        return self.state

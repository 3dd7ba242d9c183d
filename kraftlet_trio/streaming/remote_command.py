"""What exec and attach mean, apart from the wire protocol by which they came.

Source: Kubernetes, staging/src/k8s.io/streaming, pkg/streaming/remotecommand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import attrs
import structlog

log = structlog.get_logger()

MOST_PIECE_BYTES = 32 * 1024
"""The most in one message, either way: what Kubernetes' own clients and servers send."""


@attrs.frozen(kw_only=True)
class WantedStreams:
    """What the caller's query asks for; with a terminal there is no standard error."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


@attrs.frozen
class TerminalSize:
    """In characters."""

    width: int
    height: int


@attrs.frozen(kw_only=True)
class CommandEnd:
    """How a command ended: by its exit code, or without ever having had one."""

    exit_code: int = 0
    failure: str = ""
    """Why there is no exit code; empty where there is one."""


class CommandStreams(ABC):
    """The client's ends of a command's streams.

    A stream that was not asked for is silent: it receives its end at once, and what is sent to it
    is thrown away. Once the client has gone whoever serves is cancelled.
    """

    @abstractmethod
    async def receive_stdin(self) -> bytes:
        """The next piece of at most 32 KiB; empty at the end, and ever after."""

    @abstractmethod
    async def send_stdout(self, data: bytes) -> None:
        """Any number of bytes; returns once the client's connection has taken them."""

    @abstractmethod
    async def send_stderr(self, data: bytes) -> None: ...

    @abstractmethod
    async def receive_size(self) -> TerminalSize:
        """The terminal's next size: of several that came meanwhile the last. May never return."""


CommandHandler = Callable[[CommandStreams], Awaitable[CommandEnd]]
"""Serves one command to its end; cancelled when the client goes away."""


async def served(handler: CommandHandler, streams: CommandStreams) -> CommandEnd:
    """How *handler* says that the command ended: a client without a word would take it for 0."""
    try:
        return await handler(streams)
    except Exception:
        log.exception("command handler failed")
        return CommandEnd(failure="the node failed to serve the command")

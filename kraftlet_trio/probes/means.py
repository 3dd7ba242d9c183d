"""What reaches into instances: the network, the sandbox plugin, and the platform's word."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

import attrs
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.sandbox import CommandResult
from kraftlet_trio.probes.measurements import ProbeMeasurements

KUBERNETES_MINOR = "1.37"
"""In the user agents of probes and hooks, which some applications look for."""
NETWORK_HINT = (
    "does the daemon reach the instances' private network? "
    "Where it does not, set KRAFTLET_PROBE_NETWORK=none"
)


class CommandRunner(Protocol):
    """The part of ``SandboxClient`` that probes and hooks need."""

    async def run(
        self, uuid: str, argv: Sequence[str], *, timeout_seconds: float | None, most_bytes: int
    ) -> CommandResult: ...


Dial = Callable[[str, int], Awaitable[trio.abc.HalfCloseableStream]]
"""Connects to an address and port. Raises ``OSError``; callers bound it in time."""


async def open_connection(host: str, port: int) -> trio.abc.HalfCloseableStream:
    try:
        return await trio.open_tcp_stream(host, port)
    except ValueError as error:  # a Pod may name any text as its host
        raise OSError(f"{host!r} is no host: {error}") from error


@attrs.frozen(kw_only=True)
class ProbeMeans:
    """Made once, when the daemon starts."""

    sandbox: CommandRunner
    read_state: Callable[[str], Awaitable[str]]
    """State of the instance with that UUID as the platform says right now, empty where there is
    none. Raises ``CloudError``."""
    dial: Dial = open_connection
    network: bool = True
    """Whether the daemon reaches the instances' private addresses."""
    measurements: ProbeMeasurements = attrs.field(factory=ProbeMeasurements)
    since: datetime = attrs.field(factory=utc_now)
    """When the daemon started: what ran before is probed after a random delay."""


def cannot_connect(error: OSError, host: str, port: int) -> str:
    """Why there is no connection, in Go's form, and what may be done about it."""
    reason = _reason(error)
    text = f"dial tcp {address(host, port)}: connect: {reason}"
    # Who refuses can be reached.
    return text if "refused" in reason else f"{text} ({NETWORK_HINT})"


def took_too_long(host: str, port: int) -> str:
    return f"dial tcp {address(host, port)}: i/o timeout ({NETWORK_HINT})"


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: BaseException) -> str:
    """Trio wraps the errors of all addresses it tried."""
    while error.__cause__ is not None or isinstance(error, BaseExceptionGroup):
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "connection refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__

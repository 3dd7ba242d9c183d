"""What port-forward means, apart from the wire protocol by which it came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

PortDial = Callable[[int], Awaitable[trio.abc.HalfCloseableStream]]
"""Connects to a port (1 to 65535) of the Pod. Raises ``OSError`` with words for the user."""

DIAL_SECONDS = 30.0


async def dialled(dial: PortDial, port: int) -> trio.abc.HalfCloseableStream | str:
    """The connection, or why there is none."""
    try:
        with trio.fail_after(DIAL_SECONDS):
            return await dial(port)
    except OSError as error:
        return f"error forwarding port {port}: {error}"
    except trio.TooSlowError:
        return f"error forwarding port {port}: no connection within {DIAL_SECONDS:.0f} s"


async def copy_both_ways(
    client: trio.abc.HalfCloseableStream, target: trio.abc.HalfCloseableStream
) -> None:
    """Until the target has no more to say, or a side was reset.

    The client's end is passed on to the target, which may go on to answer. What the target does
    not read is thrown away: the client's connection may carry others that must not wait for it.
    """

    async def to_target() -> None:
        listens = True
        try:
            while data := await client.receive_some():
                if listens:
                    listens = await _sent(target, data)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await target.send_eof()
        except trio.BrokenResourceError:
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(to_target)
        with suppress(trio.BrokenResourceError):
            while data := await target.receive_some():
                await client.send_all(data)
        nursery.cancel_scope.cancel()


async def _sent(target: trio.abc.SendStream, data: bytes | bytearray) -> bool:
    try:
        await target.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return False
    return True

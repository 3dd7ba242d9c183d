"""tcpSocket: a connection that can be made is all that is asked for."""

from __future__ import annotations

import trio

from kraftlet_trio.probes.means import Dial, cannot_connect, took_too_long
from kraftlet_trio.probes.outcome import Healthy, Outcome, Unhealthy


async def probe_tcp(dial: Dial, host: str, port: int, *, timeout_seconds: float) -> Outcome:
    """Connect, and close at once."""
    with trio.move_on_after(timeout_seconds):
        try:
            stream = await dial(host, port)
        except OSError as error:
            return Unhealthy(cannot_connect(error, host, port))
        await trio.aclose_forcefully(stream)
        return Healthy()
    return Unhealthy(took_too_long(host, port))

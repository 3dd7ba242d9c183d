"""Port-forward over SPDY/3.1: two streams for each connection, paired by their request's number.

Source: Kubernetes, staging/src/k8s.io/streaming, pkg/streaming/portforward/httpstream.go.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import attrs
import structlog
import trio

from kraftlet_trio.streaming.forwarding import PortDial, copy_both_ways, dialled
from kraftlet_trio.streaming.spdy_frames import ResetStatus
from kraftlet_trio.streaming.spdy_session import SPDYSession, SPDYStream

log = structlog.get_logger()

PORT_FORWARD_PROTOCOL = "portforward.k8s.io"
MOST_CONNECTIONS = 256
PAIR_SECONDS = 30.0
"""For the second stream to follow the first."""


async def serve_spdy_port_forward(stream: trio.abc.Stream, dial: PortDial) -> None:
    """Forward connections until the client leaves."""
    await SPDYSession().serve(stream, partial(_speak, dial=dial))


@attrs.define(eq=False)
class _Pair:
    port: int
    error: SPDYStream | None = None
    data: SPDYStream | None = None
    complete: trio.Event = attrs.field(factory=trio.Event)


async def _speak(session: SPDYSession, *, dial: PortDial) -> None:
    pairs: dict[str, _Pair] = {}

    async def forward(request_id: str, pair: _Pair) -> None:
        try:
            await _forward(pair, dial)
        finally:
            del pairs[request_id]

    async with trio.open_nursery() as nursery:
        while True:
            stream = await session.next_stream()
            kind, port = stream.headers.get("streamtype"), _port(stream.headers.get("port", ""))
            request_id = stream.headers.get("requestid") or _derived_id(stream)
            pair = pairs.get(request_id)
            if (
                kind not in ("error", "data")
                or port is None
                or (pair is None and len(pairs) >= MOST_CONNECTIONS)
                or (pair is not None and (getattr(pair, kind) is not None or pair.port != port))
            ):
                stream.reset(ResetStatus.REFUSED_STREAM)
                continue
            stream.accept()
            if pair is None:
                pair = pairs[request_id] = _Pair(port)
                nursery.start_soon(forward, request_id, pair)
            setattr(pair, kind, stream)
            if pair.error is not None and pair.data is not None:
                pair.complete.set()


async def _forward(pair: _Pair, dial: PortDial) -> None:
    with trio.move_on_after(PAIR_SECONDS):
        await pair.complete.wait()
    if pair.error is None or pair.data is None:
        log.info("half of a forwarded connection did not come", port=pair.port)
        for stream in (pair.error, pair.data):
            if stream is not None:
                stream.reset()
        return
    target = await dialled(dial, pair.port)
    if isinstance(target, str):
        with suppress(trio.BrokenResourceError):
            await pair.error.send_all(target.encode())
    else:
        async with target:
            await copy_both_ways(pair.data, target)
    await pair.data.send_eof()
    await pair.error.send_eof()
    pair.data.forget()
    pair.error.forget()


def _derived_id(stream: SPDYStream) -> str:
    """Very old clients send no number, but always the error stream right before the other."""
    is_data = stream.headers.get("streamtype") == "data"
    return str(stream.stream_id - 2 if is_data else stream.stream_id)


def _port(text: str) -> int | None:
    # The length first: Python refuses to read a number of thousands of digits.
    if len(text) > 5 or not text.isascii() or not text.isdigit():
        return None
    port = int(text)
    return port if 1 <= port <= 65535 else None

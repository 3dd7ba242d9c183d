"""An httpx transport that calls a handler in memory: no socket, so a mocked clock drives it all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import attrs
import httpx
import trio

from kraftlet_trio.http.messages import ConnectionDropped, Handler, Request, Streamer


@attrs.frozen
class MemoryTransport(httpx.AsyncBaseTransport):
    """Answers httpx requests from *handler*.

    The handler runs in the caller's task, whose cancellation or read timeout cancels it. A
    streamed body runs as a task in *nursery* until it ends or the response is closed. A
    handler's exception reaches the caller as it is, so that a test sees the bug and not a 500.

    Raises, as a network would: ``httpx.RemoteProtocolError`` when the handler raises
    :class:`ConnectionDropped` or a stream is cut short, ``httpx.ReadTimeout`` by the request's
    timeouts. There is no connection, so none that could be upgraded: ``httpx.UnsupportedProtocol``.
    """

    _handler: Handler
    _nursery: trio.Nursery

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        received = Request.from_wire(
            request.method.encode(),
            request.url.raw_path,
            request.headers.raw,
            await request.aread(),
        )
        with _read_timeout(request), _drops_as_httpx_errors(request):
            await trio.lowlevel.checkpoint()
            response = await self._handler(received)
        if response.upgrade is not None:
            raise httpx.UnsupportedProtocol("no connection to hand over", request=request)
        headers = list(response.headers.items())
        if request.method == "HEAD" or response.status in (204, 304):
            return httpx.Response(response.status, headers=headers)
        if response.stream is None:
            return httpx.Response(response.status, headers=headers, content=response.body)
        body = _StreamedBody(request, response.stream)
        self._nursery.start_soon(body.run, name=f"streamed body of {received.path}")
        return httpx.Response(response.status, headers=headers, stream=body)


class _StreamedBody(httpx.AsyncByteStream, AsyncIterator[bytes]):
    """Hands a streamer's bytes to the reader one piece at a time."""

    def __init__(self, request: httpx.Request, streamer: Streamer) -> None:
        self._request = request
        self._streamer = streamer
        self._send, self._receive = trio.open_memory_channel[bytes](0)
        self._scope = trio.CancelScope()
        self._whole = False

    async def run(self) -> None:
        async with self._send:
            with self._scope:
                try:
                    await self._streamer(self._send.send)
                    self._whole = True
                except* (ConnectionDropped, trio.BrokenResourceError):
                    pass

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            with _read_timeout(self._request):
                return await self._receive.receive()
        except trio.EndOfChannel:
            if self._whole:
                raise StopAsyncIteration from None
            raise httpx.RemoteProtocolError(
                "the body was cut short", request=self._request
            ) from None

    async def aclose(self) -> None:
        self._scope.cancel()
        self._receive.close()
        await trio.lowlevel.checkpoint()


@contextmanager
def _read_timeout(request: httpx.Request) -> Iterator[None]:
    """Hold the block to the request's read timeout, if it has one."""
    seconds = request.extensions.get("timeout", {}).get("read")
    try:
        with trio.fail_after(float("inf") if seconds is None else seconds):
            yield
    except trio.TooSlowError as error:
        raise httpx.ReadTimeout("no answer in time", request=request) from error


@contextmanager
def _drops_as_httpx_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except ConnectionDropped as error:
        raise httpx.RemoteProtocolError(
            "the server disconnected without sending a response", request=request
        ) from error

"""How many requests a client made, how they ended, and how long they took."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import httpx
import trio

from kraftlet_trio.metrics.exposition import Family
from kraftlet_trio.metrics.instruments import Counter, Histogram

NO_ANSWER = "<error>"
"""In place of a status, as client-go has it."""


@attrs.frozen
class ClientRequests:
    """*prefix* begins the names."""

    prefix: str
    _count: Counter = attrs.field(init=False)
    _seconds: Histogram = attrs.field(init=False)

    @_count.default
    def _counter(self) -> Counter:
        return Counter(
            f"{self.prefix}_requests_total",
            f"HTTP requests, by status; {NO_ANSWER} where none came",
            ("code", "method", "host"),
        )

    @_seconds.default
    def _histogram(self) -> Histogram:
        return Histogram(
            f"{self.prefix}_request_duration_seconds",
            "Seconds until an HTTP request was answered, its body not yet read",
            ("verb", "host"),
        )

    def note(self, request: httpx.Request, code: str, seconds: float) -> None:
        host = request.url.netloc.decode()
        self._count.inc(code, request.method, host)
        self._seconds.observe(seconds, request.method, host)

    def families(self) -> Iterator[Family]:
        yield self._count.family()
        yield self._seconds.family()


class MeasuredTransport(httpx.AsyncBaseTransport):
    """*transport*, with each request noted in *requests*."""

    def __init__(self, transport: httpx.AsyncBaseTransport, requests: ClientRequests) -> None:
        self._transport = transport
        self._requests = requests

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        began, code = trio.current_time(), NO_ANSWER
        try:
            response = await self._transport.handle_async_request(request)
            code = str(response.status_code)
            return response
        finally:
            self._requests.note(request, code, trio.current_time() - began)

    async def aclose(self) -> None:
        await self._transport.aclose()

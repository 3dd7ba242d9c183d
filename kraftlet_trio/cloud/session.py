"""HTTP exchanges with the platform: the token, bounds in time and number, what is tried again.

A request that only reads, or that changes nothing more when it is done twice, is repeated after
a lost answer, a 429 or a 5xx. Any other is repeated only where the platform cannot have seen it,
or refused it unread. A busy resource is waited for a while.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import httpx
import orjson
import trio

from kraftlet_trio import __version__
from kraftlet_trio.cloud.access import CloudAccess, trust
from kraftlet_trio.cloud.envelope import Envelope, read_answer
from kraftlet_trio.cloud.errors import (
    CloudRefused,
    CloudUnauthorized,
    CloudUnavailable,
    ResourceBusy,
)
from kraftlet_trio.http.measured import ClientRequests, MeasuredTransport
from kraftlet_trio.http.transport import KeepAliveTransport

CONCURRENT_READS = 16
CONCURRENT_WRITES = 32
"""Counted apart, so that a thousand Pods being created do not hide what became of the first."""
CONCURRENT_PLUGIN_REQUESTS = 128
"""Of which many only wait for something inside their guest."""
CONNECT_SECONDS = 10.0
ATTEMPT_SECONDS = 30.0
"""No request here asks the platform to wait, so a longer silence is a dead path."""
IDLE_CONNECTION_SECONDS = 15.0
"""Below what proxies keep an idle connection for; a create must not meet a closed one."""
ATTEMPTS = 4
FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_AFTER_SECONDS = 10.0
"""If the platform asks for more, the caller does the waiting."""
FIRST_BUSY_SECONDS = 0.5
LONGEST_BUSY_SECONDS = 2.0
BUSY_FOR_SECONDS = 10.0
CLOSE_SECONDS = 2.0


@attrs.frozen(kw_only=True)
class Call:
    """One request. *about* begins the text of its errors."""

    about: str
    method: str
    path: str
    """Percent-encoded, from ``/v1`` on."""
    query: str = ""
    """Percent-encoded; a tag filter keeps its commas."""
    body: Any = attrs.field(default=None, repr=False)
    repeatable: bool = True


@attrs.frozen(kw_only=True)
class RawAnswer:
    """What came back, whoever said it: the platform, a proxy, or a guest's plugin."""

    status: int
    content: bytes
    is_html: bool
    """As the platform's proxy speaks where nothing behind it does."""


class _NotSeen(CloudUnavailable):
    """The platform cannot have acted on the request."""


@attrs.define
class Stream:
    """Pieces of an answer's body."""

    _about: str
    _pieces: AsyncIterator[bytes]
    _longest_silence_seconds: float

    async def next_piece(self) -> bytes:
        """Empty once the platform has ended the stream. Raises ``CloudUnavailable``."""
        with trio.move_on_after(self._longest_silence_seconds):
            try:
                return await anext(self._pieces, b"")
            except (httpx.HTTPError, httpx.StreamError) as error:
                raise CloudUnavailable(f"{self._about}: {_reason(error)}") from error
        raise CloudUnavailable(f"{self._about}: silent for {self._longest_silence_seconds:.0f} s")


class CloudSession:
    """Exchanges with the platform, over *transport* if given. ``aclose`` ends it."""

    def __init__(self, access: CloudAccess, transport: httpx.AsyncBaseTransport | None) -> None:
        self.requests = ClientRequests("kraftlet_cloud")
        self._access = access
        self._reads = trio.CapacityLimiter(CONCURRENT_READS)
        self._writes = trio.CapacityLimiter(CONCURRENT_WRITES)
        self._plugin_requests = trio.CapacityLimiter(CONCURRENT_PLUGIN_REQUESTS)
        self._http = httpx.AsyncClient(
            transport=MeasuredTransport(
                transport
                or KeepAliveTransport(
                    access.ssl_context or trust(), keep_idle_seconds=IDLE_CONNECTION_SECONDS
                ),
                self.requests,
            ),
            # Whole attempts are bounded by cancel scopes, which see a trickling peer too.
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            trust_env=False,
            headers={
                "accept": "application/json",
                "user-agent": f"kraftlet-trio/{__version__}",
            },
        )

    async def aclose(self) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._http.aclose()

    async def perform(self, call: Call, key: str) -> list[dict[str, Any]]:
        """Make the call until it succeeds for every item under *key*, or fails; the items.

        Raises ``CloudError``: ``ResourceBusy`` only after having tried for some seconds.
        """
        pause = FIRST_BUSY_SECONDS
        give_up_at = trio.current_time() + BUSY_FOR_SECONDS
        while True:
            try:
                return (await self.answer(call)).succeeded(key)
            except ResourceBusy as error:
                # Code 15, still attached, may last for hours; others wait for less.
                if error.code == 15 or trio.current_time() + pause > give_up_at:
                    raise
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_BUSY_SECONDS)

    async def answer(self, call: Call) -> Envelope:
        """The platform's answer, its items not yet looked at. Raises ``CloudError``."""
        pause = FIRST_RETRY_SECONDS
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._attempt(call)
            except CloudUnavailable as error:
                if not (call.repeatable or isinstance(error, _NotSeen)):
                    raise
                if (error.retry_after or 0) > LONGEST_RETRY_AFTER_SECONDS:
                    raise
                wait = max(random.uniform(pause, 2 * pause), error.retry_after or 0)
            await trio.sleep(wait)
            pause *= 2
        return await self._attempt(call)

    async def ask_plugin(self, call: Call, *, within_seconds: float) -> RawAnswer:
        """What a plugin inside an instance answers; tried once.

        Raises ``CloudUnavailable`` (no answer, nor within so many seconds), ``CloudUnauthorized``.
        """
        async with self._plugin_requests:
            token = self._access.token()
            answer = await self._send(call, token, within_seconds)
            if answer.status_code == 401 and (replaced := self._access.token()) != token:
                answer = await self._send(call, replaced, within_seconds)
        if answer.status_code == 401:
            raise CloudUnauthorized(f"{call.about}: HTTP status 401")
        return RawAnswer(
            status=answer.status_code,
            content=answer.content,
            is_html=answer.headers.get("content-type", "").startswith("text/html"),
        )

    @asynccontextmanager
    async def stream(
        self, call: Call, *, longest_silence_seconds: float
    ) -> AsyncGenerator[Stream, None]:
        """The body of a successful answer, as it comes. One attempt, and never counted.

        Raises ``CloudError`` on entry: ``CloudRefused`` where there is no such stream.
        """
        response = await self._open(call)
        pieces = response.aiter_raw()
        try:
            yield Stream(call.about, pieces, longest_silence_seconds)
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await response.aclose()
                # httpx nests generators; one left suspended would be reported as a leak. On a
                # closed response they run to their end at once.
                with suppress(httpx.HTTPError, httpx.StreamError, trio.ClosedResourceError):
                    async for _ in pieces:
                        pass

    async def _open(self, call: Call) -> httpx.Response:
        request = self._http.build_request(
            call.method,
            self._access.base_url + call.path + (f"?{call.query}" if call.query else ""),
            headers={
                "authorization": f"Bearer {self._access.token()}",
                "accept": "text/event-stream",
            },
        )
        with trio.move_on_after(ATTEMPT_SECONDS):
            try:
                response = await self._http.send(request, stream=True)
                if response.is_success:
                    return response
                await response.aread()
            except httpx.HTTPError as error:
                raise CloudUnavailable(f"{call.about}: {_reason(error)}") from error
            read_answer(response.status_code, response.content, about=call.about)
            raise CloudRefused(f"{call.about}: HTTP status {response.status_code}")
        raise CloudUnavailable(f"{call.about}: no answer within {ATTEMPT_SECONDS:.0f} s")

    async def _attempt(self, call: Call) -> Envelope:
        async with self._reads if call.method == "GET" else self._writes:
            token = self._access.token()
            try:
                return await self._exchange(call, token)
            except CloudUnauthorized:
                replaced = self._access.token()
                if replaced == token:
                    raise
                return await self._exchange(call, replaced)

    async def _exchange(self, call: Call, token: str) -> Envelope:
        response = await self._send(call, token, ATTEMPT_SECONDS)
        try:
            return read_answer(
                response.status_code,
                response.content,
                about=call.about,
                retry_after=_retry_after_seconds(response.headers),
            )
        except CloudUnavailable as error:
            if response.status_code == 429:
                raise _NotSeen(str(error), retry_after=error.retry_after) from error
            raise

    async def _send(self, call: Call, token: str, within_seconds: float) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"}
        content = None
        if call.body is not None:
            content = orjson.dumps(call.body)
            headers["content-type"] = "application/json"
        url = self._access.base_url + call.path + (f"?{call.query}" if call.query else "")
        with trio.move_on_after(within_seconds):
            try:
                return await self._http.request(call.method, url, content=content, headers=headers)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise _NotSeen(f"{call.about}: no connection: {_reason(error)}") from error
            except httpx.HTTPError as error:
                raise CloudUnavailable(f"{call.about}: {_reason(error)}") from error
        raise CloudUnavailable(f"{call.about}: no answer within {within_seconds:.0f} s")


def _reason(error: BaseException) -> str:
    """The system's own words if there are any: a refused certificate reaches us without one."""
    reason = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            reason = str(cause)
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    return reason


def _retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """``Retry-After`` where it is a number; a date would trust two clocks to agree."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None

"""HTTP exchanges with one API server: credentials, bounds in time, what is tried again.

A request that reads, or that fails or changes nothing when it is done twice (preconditions,
absolute values), is repeated after a lost answer, a 429 or a 5xx. Any other is repeated only
where the server cannot have seen it, or refused it unread (429). Waits are jittered and at
least as long as ``Retry-After`` asks.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
)
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from typing import Self

import attrs
import httpx
import structlog
import trio

from kraftlet_trio import __version__
from kraftlet_trio.http.measured import ClientRequests, MeasuredTransport
from kraftlet_trio.http.transport import KeepAliveTransport
from kraftlet_trio.kubernetes.backoff import Backoff, retry_after_seconds
from kraftlet_trio.kubernetes.config import ClusterAccess, ConfigError
from kraftlet_trio.kubernetes.errors import (
    KubernetesUnavailable,
    Unauthorized,
    error_from_answer,
)

log = structlog.get_logger(__name__)

CONCURRENT_REQUESTS = 16
"""Beyond this the API server's own queues would do the waiting."""
ATTEMPTS = 5
CONNECT_SECONDS = 10.0
ATTEMPT_SECONDS = 35.0
"""API servers give up on a write after 34 s."""
CALL_SECONDS = 60.0
"""No attempt begins later than this after the first one."""
SILENCE_SECONDS = 180.0
"""Bookmarks come about once a minute; three missed mean a dead path."""
CLOSE_SECONDS = 2.0

MANY_WARNINGS = 1000


@attrs.frozen(kw_only=True)
class Call:
    """One request. Its text form names it in errors."""

    method: str
    path: str
    """Percent-encoded, from the ``/`` before ``api`` on."""
    query: Mapping[str, str] = attrs.field(factory=dict)
    content: bytes | None = attrs.field(default=None, repr=False)
    content_type: str = "application/json"
    repeatable: bool
    """Doing it twice changes no more than doing it once."""
    limited: bool = True
    """Takes one of the places; heartbeats must not queue behind other work."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class _NotSent(KubernetesUnavailable):
    """There was no connection, so the server cannot have acted."""


class ApiConnection:
    """Exchanges with the server of *access*, over *transport* if given. ``aclose`` ends it."""

    def __init__(self, access: ClusterAccess, transport: httpx.AsyncBaseTransport | None) -> None:
        self.requests = ClientRequests("rest_client")
        self._access = access
        self._places = trio.CapacityLimiter(CONCURRENT_REQUESTS)
        self._warnings_seen: set[str] = set()
        self._extensions = (
            {"sni_hostname": access.tls_server_name} if access.tls_server_name else {}
        )
        self._transport = transport or KeepAliveTransport(access.ssl_context)
        self._http = httpx.AsyncClient(
            transport=MeasuredTransport(self._transport, self.requests),
            # All else is bounded by cancel scopes here, which see a trickling peer too.
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            trust_env=False,
            headers={
                "accept": "application/json",
                # A compressed watch is a gzip member a flush; httpx would read only the first.
                "accept-encoding": "identity",
                "user-agent": f"kraftlet-trio/{__version__}",
            },
        )

    async def aclose(self) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._http.aclose()

    async def answer(self, call: Call) -> bytes:
        """The body of a 2xx answer. Raises ``KubernetesError``."""
        waits = Backoff(initial_seconds=0.25, cap_seconds=4.0)
        last_start = trio.current_time() + CALL_SECONDS
        reauthorized = False
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(call)
            except Unauthorized:
                if reauthorized or not self._access.token:
                    raise
                reauthorized = True
                continue
            except KubernetesUnavailable as error:
                if not (call.repeatable or error.status == 429 or isinstance(error, _NotSent)):
                    raise
                wait = waits.delay(trio.current_time(), error.retry_after)
                if attempt >= ATTEMPTS or trio.current_time() + wait > last_start:
                    raise
            await trio.sleep(wait)

    async def _attempt(self, call: Call) -> bytes:
        place: AbstractAsyncContextManager[object] = self._places if call.limited else nullcontext()
        async with place:
            with trio.move_on_after(ATTEMPT_SECONDS):
                response = await self._send(call, stream=False)
                await self._raise_for_status(call, response)
                self._log_warnings(call, response)
                return response.content
        raise self._unanswered(call)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """The body of a 2xx answer as it comes; ends cleanly only where the server ends it.

        Raises ``KubernetesError`` on entry and while iterating, also after 3 minutes of silence.
        One attempt: only the caller knows how to go on.
        """
        response = await self._open(call)
        pieces = response.aiter_raw()
        try:
            yield _Pieces(partial(self._next_piece, call, pieces))
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await response.aclose()
                # httpx nests generators; one left suspended would be reported as a leak when
                # garbage collected. On a closed response they run to their end at once.
                with suppress(httpx.HTTPError, httpx.StreamError, trio.ClosedResourceError):
                    async for _ in pieces:
                        pass

    async def _open(self, call: Call) -> httpx.Response:
        with trio.move_on_after(ATTEMPT_SECONDS):
            response = await self._send(call, stream=True)
            if not response.is_success:
                with self._unavailable_when_lost(call):
                    await response.aread()
            await self._raise_for_status(call, response)
            return response
        raise self._unanswered(call)

    async def _send(self, call: Call, *, stream: bool) -> httpx.Response:
        headers = {}
        if call.content is not None:
            headers["content-type"] = call.content_type
        if authorization := await self._authorization(call):
            headers["authorization"] = authorization
        request = self._http.build_request(
            call.method,
            self._access.server + call.path,
            params=call.query or None,
            content=call.content,
            headers=headers,
            extensions=self._extensions,
        )
        with self._unavailable_when_lost(call):
            return await self._http.send(request, stream=stream)

    async def _authorization(self, call: Call) -> str | None:
        if self._access.token is None:
            return None
        try:
            authorization = await self._access.token.authorization()
        except ConfigError as error:
            raise Unauthorized(f"{call}: {error}") from error
        if authorization and not (authorization.isascii() and authorization.isprintable()):
            # Refused here, as libraries would repeat it in their complaint.
            raise Unauthorized(f"{call}: the credential holds characters that no header may")
        return authorization

    async def _raise_for_status(self, call: Call, response: httpx.Response) -> None:
        if response.is_success:
            return
        if response.status_code == 401 and self._access.token is not None:
            self._access.token.refused()
            if isinstance(self._transport, KeepAliveTransport):
                # They were made with the client certificate that may just have been refused.
                await self._transport.close_idle()
        raise error_from_answer(
            str(call), response.status_code, response.content, retry_after_seconds(response.headers)
        )

    def _log_warnings(self, call: Call, response: httpx.Response) -> None:
        """Each text once: a deprecated field would otherwise be reported at every write."""
        if "warning" not in response.headers or len(self._warnings_seen) > MANY_WARNINGS:
            return
        for text in response.headers.get_list("warning"):
            if text not in self._warnings_seen:
                self._warnings_seen.add(text)
                log.warning("warning from the Kubernetes API", request=str(call), warning=text)

    @contextmanager
    def _unavailable_when_lost(self, call: Call) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _NotSent(
                f"{call}: cannot reach the Kubernetes API at {self._access.server}:"
                f" {str(error) or type(error).__name__}"
            ) from error
        except httpx.RequestError as error:
            raise KubernetesUnavailable(
                f"{call}: lost the connection to the Kubernetes API at {self._access.server}:"
                f" {str(error) or type(error).__name__}"
            ) from error

    def _unanswered(self, call: Call) -> KubernetesUnavailable:
        return KubernetesUnavailable(
            f"{call}: no answer from the Kubernetes API at {self._access.server}"
            f" within {ATTEMPT_SECONDS:.0f} s"
        )

    async def _next_piece(self, call: Call, pieces: AsyncIterator[bytes]) -> bytes:
        """Raises ``StopAsyncIteration`` at the end."""
        with trio.move_on_after(SILENCE_SECONDS), self._unavailable_when_lost(call):
            return await anext(pieces)
        raise KubernetesUnavailable(
            f"{call}: the Kubernetes API at {self._access.server} was silent"
            f" for {SILENCE_SECONDS:.0f} s"
        )


@attrs.frozen
class _Pieces:
    """Not a generator: it may be abandoned at any point."""

    _next: Callable[[], Awaitable[bytes]]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await self._next()

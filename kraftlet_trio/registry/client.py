"""Images' configurations, read from their registries."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection, Hashable, Sequence
from contextlib import asynccontextmanager

import attrs
import httpx
import trio

from kraftlet_trio.http.transport import KeepAliveTransport
from kraftlet_trio.registry.errors import (
    NotFound,
    RegistryError,
    Unauthorized,
    Unreachable,
)
from kraftlet_trio.registry.exchange import Exchange
from kraftlet_trio.registry.memory import Remembered
from kraftlet_trio.registry.objects import Credential, ImageConfig, Resolved
from kraftlet_trio.registry.reference import ImageReference
from kraftlet_trio.registry.repository import Repository

TOTAL_SECONDS = 20.0
"""For an image, with all its credentials: nothing else is done for its Pod meanwhile."""
CONCURRENT_PER_REGISTRY = 4
"""Apart for each, so that a slow one holds up its own images alone."""
TAG_SECONDS = 60.0
"""A tag may be moved at any time; a Deployment's Pods come within a minute, mostly."""
CONFIG_SECONDS = 24 * 3600.0
"""What a digest stands for never changes; and a registry may be out of reach for hours."""
FAILURE_SECONDS = 15.0
"""Below the shortest pause between two attempts to create a container that failed."""
CLOSE_SECONDS = 2.0


@attrs.frozen
class _Failed:
    kind: type[RegistryError]
    text: str


class RegistryClient:
    """Looks images up in whatever registries they name. It keeps no connection to any."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        plain_hosts: Collection[str] = (),
        architecture: str = "amd64",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Over *transport* if given, else TCP with *ssl_context*, or the machine's own trust.

        *plain_hosts* (``host[:port]``) are spoken to without TLS. *architecture*, by its name in
        Go, is what an image for several is read for.
        """
        self._transport = transport
        self._ssl_context = ssl_context
        self._plain_hosts = frozenset(host.lower().removesuffix(":80") for host in plain_hosts)
        self._architecture = architecture
        self._resolved: Remembered[Resolved | _Failed] = Remembered()
        self._latest: Remembered[Resolved] = Remembered()
        self._configs: Remembered[ImageConfig] = Remembered()
        self._turns = _Turns()

    async def resolve(
        self, reference: ImageReference, candidates: Sequence[Credential] = ()
    ) -> Resolved:
        """The configuration of *reference*, and the first of *candidates* that opens it.

        Without candidates it is read as anybody may. An answer may be a minute old, or hours old
        where the registry is out of reach; a failure a quarter of a minute.

        Raises ``RegistryError``: within ``TOTAL_SECONDS``, whatever the registry does.
        """
        key = (reference, tuple(candidates))
        known: Resolved | _Failed | None = None
        with trio.move_on_after(TOTAL_SECONDS):
            # All who ask for the same wait for one answer.
            async with self._turns.take(key, 1):
                known = self._resolved.get(key)
                if known is None:
                    known = await self._look_up(reference, candidates)
                    self._remember(key, known)
        if known is None:
            text = f"{reference.domain} does not answer within {TOTAL_SECONDS:.0f} s"
            known = _Failed(Unreachable, text)
            self._remember(key, known)
        if isinstance(known, _Failed):
            latest = self._latest.get(key)
            if latest is None or known.kind is not Unreachable:
                raise known.kind(known.text)
            return latest
        return known

    def _remember(self, key: Hashable, outcome: Resolved | _Failed) -> None:
        if isinstance(outcome, _Failed):
            self._resolved.put(key, outcome, seconds=FAILURE_SECONDS)
        else:
            self._resolved.put(key, outcome, seconds=TAG_SECONDS)
            self._latest.put(key, outcome, seconds=CONFIG_SECONDS)

    async def _look_up(
        self, reference: ImageReference, candidates: Sequence[Credential]
    ) -> Resolved | _Failed:
        async with (
            self._turns.take(reference.domain, CONCURRENT_PER_REGISTRY),
            self._connections() as exchange,
        ):
            try:
                return await self._try_in_turn(exchange, reference, candidates)
            except RegistryError as error:
                return _Failed(type(error), str(error))

    @asynccontextmanager
    async def _connections(self) -> AsyncIterator[Exchange]:
        if self._transport is not None:
            yield Exchange(self._transport, self._plain_hosts)
            return
        # For one look-up: whoever writes Pods can name any number of hosts.
        transport = KeepAliveTransport(self._ssl_context)
        try:
            yield Exchange(transport, self._plain_hosts)
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await transport.aclose()

    async def _try_in_turn(
        self, exchange: Exchange, reference: ImageReference, candidates: Sequence[Credential]
    ) -> Resolved:
        refusal: RegistryError | None = None
        for credential in candidates or (None,):
            try:
                repository = Repository(exchange, reference, credential)
                return Resolved(await self._config(reference, repository), credential)
            except (Unauthorized, NotFound) as error:
                # Many registries hide what they do not show. An image that is missing for one of
                # the credentials says more than another that is refused.
                if refusal is None or isinstance(error, NotFound):
                    refusal = error
        assert refusal is not None
        raise refusal

    async def _config(self, reference: ImageReference, repository: Repository) -> ImageConfig:
        manifest = await repository.manifest(self._architecture)
        key = (reference.repository, manifest.config)
        config = self._configs.get(key)
        if config is None:
            config = await repository.config(manifest.config)
            self._configs.put(key, config, seconds=CONFIG_SECONDS)
        return config


@attrs.define
class _Turns:
    """Limits by key, which exist as long as somebody holds one or waits for it."""

    _limiters: dict[Hashable, trio.CapacityLimiter] = attrs.field(factory=dict, init=False)

    @asynccontextmanager
    async def take(self, key: Hashable, places: int) -> AsyncIterator[None]:
        limiter = self._limiters.setdefault(key, trio.CapacityLimiter(places))
        try:
            async with limiter:
                yield
        finally:
            statistics = limiter.statistics()
            if not statistics.borrowed_tokens and not statistics.tasks_waiting:
                self._limiters.pop(key, None)

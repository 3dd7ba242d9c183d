"""The serving certificate that the cluster signs, asked for as a kubelet does.

Nothing of it is kept: the key lives in memory, so each start asks anew. The cluster itself
forgets requests: a day after they came, an hour after they were decided.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Never

import attrs
import structlog
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from kraftlet_trio.clock import utc_now
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubelet_api.certificate import Pair, SelfSigned, key_in_pem
from kraftlet_trio.kubelet_api.signing_request import (
    NotSigned,
    renewal_time,
    signed_certificate,
    signing_request,
)
from kraftlet_trio.kubernetes.backoff import Backoff
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    KubernetesUnavailable,
    NotFound,
)
from kraftlet_trio.kubernetes.events import EventRecorder, EventType
from kraftlet_trio.kubernetes.informer import run_informer
from kraftlet_trio.kubernetes.objects import CertificateSigningRequest, Node, ObjectReference
from kraftlet_trio.kubernetes.resources import CERTIFICATE_SIGNING_REQUESTS
from kraftlet_trio.kubernetes.store import Store

log = structlog.get_logger()

LOOK_SECONDS = 60.0
"""Between two looks at the clock and at the node's addresses."""
NODE_SECONDS = 1.0
"""Between two looks for the Node, without which no approver would say yes."""
RENEWAL = (0.7, 0.9)
"""Of a certificate's life; at a random point between, as the kubelet (client-go's certificate
manager), so that nodes that started together do not ask together."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 60.0, 3600.0
"""After a refusal: each request is something that people look at."""
LONGEST_OUTAGE_SECONDS = 120.0


def _after_refusal() -> Backoff:
    return Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)


def _after_outage() -> Backoff:
    return Backoff(5.0, LONGEST_OUTAGE_SECONDS)


@attrs.define(kw_only=True)
class ClusterSigned:
    node_name: str
    names: Callable[[], tuple[str, ...]]
    node: Callable[[], Node | None]
    kubernetes: KubernetesClient
    events: EventRecorder
    until_signed: SelfSigned
    replaced: Doorbell
    """Rung when ``pair`` is another one."""
    _signed: Pair | None = attrs.field(default=None, init=False)
    _signed_for: tuple[str, ...] = attrs.field(default=(), init=False)
    _renew_at: datetime = attrs.field(default=datetime.min.replace(tzinfo=UTC), init=False)
    _refused: Backoff = attrs.field(factory=_after_refusal, init=False)
    _unavailable: Backoff = attrs.field(factory=_after_outage, init=False)

    def pair(self) -> Pair:
        """The last that was signed; before the first, one by the node itself."""
        return self._signed or self.until_signed.pair()

    async def run(self) -> Never:
        """Ask for a certificate whenever one is due, until cancelled."""
        while True:
            if self.node() is None:
                await trio.sleep(NODE_SECONDS)
            elif self._signed_for != self.names() or utc_now() >= self._renew_at:
                await trio.sleep(await self._ask())
            else:
                await trio.sleep(LOOK_SECONDS)

    async def _ask(self) -> float:
        """Make a request and wait until it is decided; seconds to the next."""
        names = self.names()
        try:
            await self._be_signed(names)
        except KubernetesUnavailable as error:
            log.warning("serving certificate could not be requested", error=str(error))
            return self._unavailable.delay(trio.current_time(), error.retry_after)
        except (NotSigned, KubernetesError) as error:
            pause = self._refused.delay(trio.current_time())
            cure = (
                "grant the daemon create, get, list and watch on certificatesigningrequests"
                if isinstance(error, Forbidden)
                else "approve the next request"
            )
            self._tell(
                "Warning",
                "ServingCertificateRefused",
                f"The cluster did not sign the serving certificate: {error}; {cure}, or set "
                f"KRAFTLET_ROTATE_SERVER_CERTIFICATES=false",
            )
            log.warning(
                "serving certificate refused", error=str(error), cure=cure, retry_seconds=pause
            )
            return pause
        return 0.0

    async def _be_signed(self, names: tuple[str, ...]) -> None:
        """Returns also where the node has got other names than *names* meanwhile.

        Raises ``NotSigned`` or ``KubernetesError``.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        request = await self.kubernetes.create(
            CERTIFICATE_SIGNING_REQUESTS, signing_request(self.node_name, names, key)
        )
        name = request.metadata.name
        self._unavailable = _after_outage()
        self._tell(
            "Normal",
            "ServingCertificateRequested",
            f"The serving certificate waits for approval: kubectl certificate approve {name}",
        )
        log.info("serving certificate requested", request=name, names=names)
        certificate = await self._certificate(name, names)
        if certificate is None:
            log.info("serving certificate no longer needed", request=name)
            return
        share = random.uniform(*RENEWAL)
        self._renew_at = renewal_time(certificate, key, share, utc_now())
        self._signed = Pair(certificate, key_in_pem(key), f"CertificateSigningRequest {name}")
        self._signed_for = names
        self._refused = _after_refusal()
        self.replaced.ring()
        log.info("serving certificate signed", request=name, renewal=self._renew_at.isoformat())

    async def _certificate(self, name: str, names: tuple[str, ...]) -> bytes | None:
        """What the request *name* is answered with, whenever that is; None where the node has got
        other names than *names* meanwhile.

        Raises:
            NotSigned: it was decided otherwise, or the request is gone.
        """
        store, changed = Store[CertificateSigningRequest](), Doorbell()
        certificate: bytes | None = None
        refusal: NotSigned | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(
                    run_informer,
                    self.kubernetes,
                    CERTIFICATE_SIGNING_REQUESTS,
                    store,
                    lambda _: changed.ring(),
                    field_selector=f"metadata.name={name}",
                )
            )
            while certificate is None and refusal is None and names == self.names():
                try:
                    present = next(iter(store.values()), None)
                    # The first list may be older than the request.
                    certificate = signed_certificate(present or await self._read(name))
                except NotSigned as error:
                    refusal = error
                except KubernetesError as error:
                    log.warning("serving certificate not looked for", error=str(error))
                if certificate is None and refusal is None:
                    with trio.move_on_after(LOOK_SECONDS):
                        await changed.wait()
            nursery.cancel_scope.cancel()
        if refusal is not None:
            raise refusal
        return certificate

    async def _read(self, name: str) -> CertificateSigningRequest:
        try:
            return await self.kubernetes.get(CERTIFICATE_SIGNING_REQUESTS, name)
        except NotFound as error:
            raise NotSigned(
                f"request {name} is gone: nobody had it signed in time, or it was deleted"
            ) from (error)

    def _tell(self, kind: EventType, reason: str, message: str) -> None:
        # As the kubelet's own events: kubectl describe looks for the name in the uid's place.
        about = ObjectReference(
            api_version="v1", kind="Node", name=self.node_name, uid=self.node_name
        )
        self.events.record(about, kind, reason, message)

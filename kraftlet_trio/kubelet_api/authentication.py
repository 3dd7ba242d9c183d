"""Who calls the kubelet port: by a client certificate, else by a bearer token; never nobody.

As the kubelet does it: of a certificate that the cluster's authority for clients has signed the
common name is the user and the organizations are the groups; a token is the API server's to judge.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import partial

import attrs
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Request
from kraftlet_trio.kubelet_api.review_cache import ReviewCache, ReviewFailed
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.reviews import UserInfo, review_token

log = structlog.get_logger()

ACCEPTED_SECONDS = 120.0
"""The kubelet's ``authentication.webhook.cacheTTL``."""
REFUSED_SECONDS = 10.0

AUTHENTICATED = "system:authenticated"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"

NOBODY = UserInfo()


@attrs.define
class Authenticator:
    _kubernetes: KubernetesClient
    _tokens: ReviewCache[UserInfo] = attrs.field(
        factory=lambda: ReviewCache(
            no=NOBODY, yes_seconds=ACCEPTED_SECONDS, no_seconds=REFUSED_SECONDS
        ),
        init=False,
    )
    """By the tokens' hashes."""

    async def authenticate(self, request: Request) -> UserInfo | None:
        """None for a caller that has not said who it is, or not proved it."""
        if request.peer_certificate is not None:
            user = certificate_user(request.peer_certificate, utc_now())
            if user is not None:
                return user
        if token := _bearer_token(request):
            return await self._bearer(token)
        return None

    async def _bearer(self, token: str) -> UserInfo | None:
        key = hashlib.sha256(token.encode()).digest()
        try:
            user = await self._tokens.answer(key, partial(self._review, token))
        except ReviewFailed as failure:
            log.warning("bearer token not reviewed", error=str(failure))
            return None
        return None if user == NOBODY else user

    async def _review(self, token: str) -> UserInfo:
        return await review_token(self._kubernetes, token) or NOBODY


def certificate_user(der: bytes, now: datetime) -> UserInfo | None:
    """Whom a certificate that TLS has verified names; None where it names no user, or is over.

    TLS looked at its dates when the connection began, which may be hours ago.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        organizations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    except ValueError as error:
        log.warning("client certificate not understood", error=str(error))
        return None
    valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    if not valid or not names or not names[-1].value:
        return None
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    return UserInfo(
        # Of several, the last counts, as in Go.
        username=str(names[-1].value),
        groups=(*(str(each.value) for each in organizations), AUTHENTICATED),
        extra={CREDENTIAL_ID: (f"X509SHA256={fingerprint}",)},
    )


def _bearer_token(request: Request) -> str:
    """Empty when there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""

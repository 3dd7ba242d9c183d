"""ServiceAccount tokens that a Pod's projected volumes ask for, and when they are to be renewed."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

import attrs
import orjson

_RENEWED_AFTER = 0.8
"""Of a token's life, as in the kubelet."""


@attrs.frozen
class TokenWanted:
    """A bound token. Equal ones are one token, in however many files it is."""

    audience: str
    """Empty: the API server's own."""
    expiration_seconds: int


def renewal_of_token(token: str) -> datetime | None:
    """When *token* is to be replaced; None for one that does not tell how long it lives.

    The token itself is asked, not the request: API servers give the automatic ones a year.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        issued, expires = float(claims["iat"]), float(claims["exp"])
        return datetime.fromtimestamp(issued + _RENEWED_AFTER * (expires - issued), UTC)
    except (binascii.Error, ValueError, LookupError, TypeError, OverflowError, OSError):
        return None

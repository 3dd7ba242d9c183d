"""Who bears which token: the administrator, and service accounts by tokens handed out."""

from __future__ import annotations

import base64
import random
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import attrs
import orjson

from kraftlet_trio.simulators.kubernetes.errors import unauthorized
from kraftlet_trio.simulators.kubernetes.resources import Json

API_AUDIENCE = "https://kubernetes.default.svc"
"""Whom a token is for where nobody says so, and whom it must be for to be taken here."""


@attrs.frozen
class User:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ("system:authenticated",)

    def as_json(self) -> Json:
        value: Json = {"username": self.name, "uid": self.uid, "groups": list(self.groups)}
        return {key: part for key, part in value.items() if part}


@attrs.frozen
class _Issued:
    bearer: User
    audiences: frozenset[str]
    until: datetime


_ADMINISTRATOR = User("kubernetes-admin", groups=("system:masters", "system:authenticated"))


@attrs.define
class Identities:
    """Everybody may do everything; a token only tells who it is."""

    administrator_token: str | None
    """None lets requests in without any token."""
    _issued: dict[str, _Issued] = attrs.field(factory=dict, init=False)

    def issue(self, account: Json, audiences: Collection[str], seconds: int, now: datetime) -> str:
        """A new token for a ServiceAccount, which lasts *seconds*."""
        metadata = account["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        user = User(
            f"system:serviceaccount:{namespace}:{name}",
            metadata["uid"],
            (
                "system:serviceaccounts",
                f"system:serviceaccounts:{namespace}",
                "system:authenticated",
            ),
        )
        self._issued = {token: one for token, one in self._issued.items() if one.until > now}
        until = now + timedelta(seconds=seconds)
        claims = {
            "iat": int(now.timestamp()),
            "exp": int(until.timestamp()),
            "sub": user.name,
            "jti": f"{random.getrandbits(128):032x}",
        }
        # Nobody but this server reads it, and it knows its own.
        token = ".".join((_part({"alg": "none"}), _part(claims), "simulated"))
        self._issued[token] = _Issued(user, frozenset(audiences or (API_AUDIENCE,)), until)
        return token

    def bearer(
        self, token: str, now: datetime, audiences: Collection[str] = (API_AUDIENCE,)
    ) -> User | None:
        """None for a token that is unknown, has expired, or is for none of *audiences*."""
        if self.administrator_token is not None and token == self.administrator_token:
            return _ADMINISTRATOR
        issued = self._issued.get(token)
        if issued is None or issued.until <= now or issued.audiences.isdisjoint(audiences):
            return None
        return issued.bearer

    def authenticate(self, headers: Mapping[str, str], now: datetime) -> User:
        """Raises ``ApiError`` (401)."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        user = self.bearer(token.strip(), now) if scheme.lower() == "bearer" else None
        if user is None and self.administrator_token is None:
            return _ADMINISTRATOR
        if user is None:
            raise unauthorized()
        return user


def _part(content: Json) -> str:
    """Of a JSON Web Token."""
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")

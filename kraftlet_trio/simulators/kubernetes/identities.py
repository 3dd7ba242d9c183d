"""Who bears which token: the administrator, and service accounts by tokens handed out."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs
import orjson

from kraftlet_trio.simulators.kubernetes.errors import unauthorized
from kraftlet_trio.simulators.kubernetes.resources import Json

_DEFAULT_LIFE_SECONDS = 3600


@attrs.frozen
class User:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ("system:authenticated",)

    def as_json(self) -> Json:
        value: Json = {"username": self.name, "uid": self.uid, "groups": list(self.groups)}
        return {key: part for key, part in value.items() if part}


_ADMINISTRATOR = User("kubernetes-admin", groups=("system:masters", "system:authenticated"))


@attrs.define
class Identities:
    """Everybody may do everything; a token only tells who it is."""

    administrator_token: str | None
    """None lets requests in without any token."""
    _issued: dict[str, tuple[User, datetime]] = attrs.field(factory=dict, init=False)

    def issue(self, account: Json, seconds: int | None, now: datetime) -> tuple[str, datetime]:
        """A new token for a ServiceAccount, and the end of its life."""
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
        self._issued = {
            token: (bearer, until) for token, (bearer, until) in self._issued.items() if until > now
        }
        until = now + timedelta(seconds=seconds or _DEFAULT_LIFE_SECONDS)
        claims = {
            "iat": int(now.timestamp()),
            "exp": int(until.timestamp()),
            "sub": user.name,
            "jti": f"{random.getrandbits(128):032x}",
        }
        # Nobody but this server reads it, and it knows its own.
        token = ".".join((_part({"alg": "none"}), _part(claims), "simulated"))
        self._issued[token] = user, until
        return token, until

    def bearer(self, token: str, now: datetime) -> User | None:
        """None for a token that is unknown or has expired."""
        if self.administrator_token is not None and token == self.administrator_token:
            return _ADMINISTRATOR
        user, until = self._issued.get(token, (None, now))
        return user if until > now else None

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

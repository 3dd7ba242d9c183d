"""What is asked of a registry, and what it tells."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import attrs

_TOKEN_USER = "<token>"
"""Docker's user name for one whose password is an identity token."""


@attrs.frozen(kw_only=True)
class Credential:
    """What opens a registry: a user with a password, or with an identity token in its place."""

    username: str = ""
    password: str = attrs.field(default="", repr=False)
    identity_token: str = attrs.field(default="", repr=False)
    """An OAuth 2 refresh token, exchanged at the registry's token server."""

    @property
    def basic(self) -> str:
        """``user:secret`` in base64: what follows ``Basic`` in HTTP, and Docker's ``auth``."""
        user, secret = self.username, self.password
        if self.identity_token:
            user, secret = user or _TOKEN_USER, self.identity_token
        return base64.b64encode(f"{user}:{secret}".encode()).decode()


@attrs.frozen(kw_only=True)
class ImageConfig:
    """How an image runs unless it is told otherwise."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    working_dir: str = ""
    user: str = ""


@attrs.frozen
class Resolved:
    """An image's configuration, and which credential opened its repository."""

    config: ImageConfig
    credential: Credential | None
    """None: none was needed."""

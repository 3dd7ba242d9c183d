"""Where the platform is, and what opens it: endpoint, token, trust."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import httpx
import structlog

from kraftlet_trio.cloud.errors import CloudUnauthorized

log = structlog.get_logger()

_METRO = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@attrs.frozen(kw_only=True)
class CloudAccess:
    base_url: str
    """Without the ``/v1`` that starts every path; ``endpoint`` makes it."""
    token: Callable[[], str] = attrs.field(repr=False)
    """Asked before each request. Raises ``CloudUnauthorized`` when there is none."""
    ssl_context: ssl.SSLContext | None = None
    """None for the machine's own trust store."""


def endpoint(metro_or_url: str) -> str:
    """The base URL of a metro given by its code (``fra``), or of a self-hosted one by its URL.

    Raises:
        ValueError: neither of them; the text says so in one sentence.
    """
    given = metro_or_url.strip()
    if "://" in given:
        url = given.rstrip("/").removesuffix("/v1").rstrip("/")
        try:
            parts = urlsplit(url)
            well_formed = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            well_formed = False
        if not well_formed or parts.scheme not in ("http", "https"):
            raise ValueError(f"{metro_or_url!r} is not a URL; write https://<host>[:<port>]")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError(
                "the platform's URL has a user, query or fragment; write https://<host>[:<port>]"
            )
        return url
    code = given.lower()
    if not _METRO.fullmatch(code):
        raise ValueError(f"{metro_or_url!r} is no metro; write its code (fra) or a whole URL")
    return f"https://api.{code}.unikraft.cloud"


class TokenFile:
    """A token in a file that may be replaced at any time, as a mounted Secret is.

    Each use looks whether the file is another one now, so the request after a replacement (or
    the repetition after a 401) has the new token.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at: tuple[int, int, int] | None = None

    def __call__(self) -> str:
        """The token. Raises ``CloudUnauthorized`` when the file never held one."""
        try:
            status = self._path.stat()
            identity = (status.st_ino, status.st_mtime_ns, status.st_size)
            if identity != self._read_at:
                token = self._path.read_text().strip()
                if token:
                    self._token = token
                self._read_at = identity
        except (OSError, UnicodeDecodeError) as error:
            if not self._token:
                raise CloudUnauthorized(f"cannot read the token file {self._path}") from error
            # Halfway through being replaced: the old token may well do until then.
            log.warning("token file unreadable", path=str(self._path), error=str(error))
        if not self._token:
            raise CloudUnauthorized(f"the token file {self._path} is empty")
        return self._token


def trust(*, ca_file: Path | None = None, insecure: bool = False) -> ssl.SSLContext:
    """Whom to believe: the usual authorities (or ``SSL_CERT_FILE``'s), and those in *ca_file*.

    *insecure* believes anybody, and is for test installations.

    Raises:
        ValueError: *ca_file* cannot be read or holds no certificate.
    """
    context = httpx.create_ssl_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"no certificate authority in {ca_file}: {error}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

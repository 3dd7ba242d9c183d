"""Where the ``Authorization`` of each request comes from, and when it is fetched anew."""

from __future__ import annotations

import os
import ssl
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import attrs
import orjson
import structlog
import trio

from kraftlet_trio.clock import utc_now

log = structlog.get_logger(__name__)

TOKEN_FILE_REREAD_SECONDS = 60.0
"""Projected ServiceAccount tokens are replaced well before they end; client-go rereads as often."""
EXEC_PLUGIN_SECONDS = 60.0
"""Bound on one run: plugins ask a cloud's identity service, some after a slow start."""
EXPIRY_MARGIN = timedelta(seconds=10)
EXEC_API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class ConfigError(Exception):
    """Access to the cluster is not (or no longer) configured. One sentence, with the cure."""


class TokenSource(Protocol):
    async def authorization(self) -> str | None:
        """The value of the ``Authorization`` header; none where a client certificate identifies.

        Raises ``ConfigError``.
        """

    def refused(self) -> None:
        """The server answered 401: ask the origin again before the next request."""


@attrs.frozen
class StaticToken:
    token: str = attrs.field(repr=False)

    async def authorization(self) -> str:
        return f"Bearer {self.token}"

    def refused(self) -> None:
        """A fixed token has no origin to ask."""


@attrs.frozen
class BasicAuth:
    """User name and password; only a proxy before the API server still takes them."""

    username: str
    password: str = attrs.field(repr=False)

    async def authorization(self) -> str:
        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()

    def refused(self) -> None:
        """A fixed password has no origin to ask."""


@attrs.define
class TokenFile:
    """A token read again every minute, and after it was refused.

    While the file cannot be read the last token goes on being used.
    """

    path: Path
    _token: str = attrs.field(default="", init=False, repr=False)
    _read_at: float = attrs.field(default=float("-inf"), init=False)

    async def authorization(self) -> str:
        if trio.current_time() - self._read_at >= TOKEN_FILE_REREAD_SECONDS:
            self._reread()
        return f"Bearer {self._token}"

    def refused(self) -> None:
        self._read_at = float("-inf")

    def _reread(self) -> None:
        try:
            token = self.path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            if not self._token:
                raise ConfigError(
                    f"cannot read the token file {self.path}: {reason_of(error)}"
                ) from error
            log.warning("token file unreadable", path=str(self.path), error=reason_of(error))
        else:
            if not token:
                raise ConfigError(f"the token file {self.path} is empty")
            self._token = token
        self._read_at = trio.current_time()


@attrs.define
class ExecPlugin:
    """A credential from a program: kubeconfig's ``user.exec``.

    The credential is kept until it expires or is refused. A client certificate is loaded into
    *ssl_context*, so it serves connections opened afterwards.
    """

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str] = attrs.field(repr=False)
    api_version: str
    install_hint: str
    cluster: Mapping[str, Any] | None
    """``spec.cluster`` of the plugin's input, where the kubeconfig asks for it."""
    _ssl_context: ssl.SSLContext | None
    _authorization: str | None = attrs.field(default=None, init=False, repr=False)
    _fetched: bool = attrs.field(default=False, init=False)
    _expires: datetime | None = attrs.field(default=None, init=False)
    _running: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)

    async def authorization(self) -> str | None:
        async with self._running:
            if not self._fetched or (self._expires and utc_now() + EXPIRY_MARGIN >= self._expires):
                self._adopt(await self._run())
        return self._authorization

    def refused(self) -> None:
        self._fetched = False

    async def _run(self) -> bytes:
        spec: dict[str, Any] = {"interactive": False}
        if self.cluster is not None:
            spec["cluster"] = self.cluster
        request = {"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec}
        env = {**os.environ, **self.env, "KUBERNETES_EXEC_INFO": orjson.dumps(request).decode()}
        run = partial(
            trio.run_process,
            [self.command, *self.args],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        try:
            with trio.fail_after(EXEC_PLUGIN_SECONDS):
                completed = await run()
        except FileNotFoundError as error:
            hint = f" {self.install_hint}" if self.install_hint else ""
            raise ConfigError(
                f"the credential plugin {self.command} is not installed.{hint}"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"cannot run the credential plugin {self.command}: {reason_of(error)}"
            ) from error
        except trio.TooSlowError as error:
            raise ConfigError(
                f"the credential plugin {self.command} took over {EXEC_PLUGIN_SECONDS:.0f} s"
            ) from error
        if completed.returncode != 0:
            complaint = completed.stderr.decode("utf-8", "replace").strip()[-300:]
            raise ConfigError(
                f"the credential plugin {self.command} failed"
                f" (exit code {completed.returncode}): {complaint}"
            )
        return completed.stdout

    def _adopt(self, output: bytes) -> None:
        try:
            document = orjson.loads(output)
            status = document["status"]
            token = status.get("token")
            certificate = status.get("clientCertificateData")
            key = status.get("clientKeyData")
            expiry = status.get("expirationTimestamp")
            expires = datetime.fromisoformat(expiry) if expiry else None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"the credential plugin {self.command} did not print an ExecCredential"
            ) from error
        if document.get("apiVersion") != self.api_version:
            raise ConfigError(
                f"the credential plugin {self.command} answered as"
                f" {document.get('apiVersion')}, not as {self.api_version}"
            )
        if not token and not (certificate and key):
            raise ConfigError(
                f"the credential plugin {self.command} gave neither a token"
                " nor a client certificate with its key"
            )
        if certificate and key and self._ssl_context is not None:
            load_client_certificate(self._ssl_context, certificate.encode(), key.encode())
        self._authorization = f"Bearer {token}" if token else None
        self._expires = expires
        self._fetched = True


def load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Present *certificate* (PEM, with its chain) on *context*'s connections from now on.

    Raises ``ConfigError`` when the two are not a certificate and its key.
    """
    # ssl loads client certificates only from files.
    with tempfile.TemporaryDirectory(prefix="kraftlet-trio-") as directory:
        path = Path(directory, "client.pem")
        path.touch(mode=0o600)
        path.write_bytes(certificate.rstrip() + b"\n" + key)
        try:
            context.load_cert_chain(path, password="")
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"the client certificate and its key cannot be used: {reason_of(error)}"
            ) from error


def reason_of(error: Exception) -> str:
    """An error's text without the path that ``OSError`` repeats."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror.lower()
    return str(error)

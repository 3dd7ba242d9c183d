"""The TLS context of new connections, remade when a certificate was replaced."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Never

import attrs
import structlog
import trio

from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubelet_api.certificate import Pair, check_authorities, server_context
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import (
    Forbidden,
    KubernetesError,
    KubernetesUnavailable,
    NotFound,
)
from kraftlet_trio.kubernetes.resources import CONFIG_MAPS

log = structlog.get_logger()

LOOK_SECONDS = 60.0
"""As often as the kubelet looks at its files."""
RETRY_SECONDS = 5.0
"""To the next look where the API server was away, or the serving certificate was not usable: it
may have been read while its files were replaced."""
READ_SECONDS = 5.0

NAMESPACE, CONFIG_MAP, KEY = "kube-system", "extension-apiserver-authentication", "client-ca-file"
"""Where an API server publishes who signs its clients' certificates. Whoever signed those signs,
in most clusters, the one by which it calls nodes."""

Authorities = Callable[[], Awaitable[str]]
"""Reads the certificates of who signs client certificates, in PEM; empty where nobody does.

Raises ``OSError`` or ``KubernetesError``.
"""


async def authorities_in_file(path: Path) -> str:
    return _text_of(path)


def _text_of(path: Path) -> str:
    # A small file, read at once: a thread would take longer to start.
    try:
        return path.read_text("ascii")
    except UnicodeDecodeError as error:
        raise OSError(f"{path} is not PEM") from error


async def authorities_of_cluster(kubernetes: KubernetesClient) -> str:
    with trio.move_on_after(READ_SECONDS):
        try:
            published = await kubernetes.get(CONFIG_MAPS, CONFIG_MAP, namespace=NAMESPACE)
        except NotFound:
            return ""
        except Forbidden as error:
            raise Forbidden(
                f"{error}; bind the Role {CONFIG_MAP}-reader of {NAMESPACE}, or name a file with "
                "KRAFTLET_CLIENT_CA_FILE"
            ) from error
        return published.data.get(KEY, "")
    raise KubernetesUnavailable(f"no answer within {READ_SECONDS:.0f} s")


@attrs.define
class ServingTLS:
    _pair: Callable[[], Pair]
    """Raises ``OSError``."""
    _authorities: Authorities
    _replaced: Doorbell = attrs.field(factory=Doorbell)
    """Rung where the pair is another one."""
    _made_of: tuple[Pair, str] | None = attrs.field(default=None, init=False)
    _context: ssl.SSLContext | None = attrs.field(default=None, init=False)
    _told: str = attrs.field(default="", init=False)

    def context(self) -> ssl.SSLContext:
        """For a new connection. Ask only once ``run`` has started."""
        assert self._context is not None, "run has not started"
        return self._context

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> Never:
        """Keep the context like what it is made of, until cancelled; started once there is one.

        What cannot be read, or does not fit together, is logged, and the last context stays.

        Raises:
            OSError: there is no usable serving certificate to begin with.
        """
        authorities = ""
        while True:
            pause, trouble = LOOK_SECONDS, ""
            try:
                read = await self._authorities()
                check_authorities(read)
                authorities = read
            except (OSError, KubernetesError) as error:
                trouble = f"client certificates: {error}"
                if isinstance(error, KubernetesUnavailable):
                    pause = RETRY_SECONDS
            try:
                self._refresh(self._pair(), authorities)
            except OSError as error:
                if self._context is None:
                    raise
                trouble = (
                    f"serving certificate: {error}; the last one is served until the files hold "
                    "a certificate and its key without a passphrase, both in PEM"
                )
                pause = RETRY_SECONDS
            if trouble and trouble != self._told:
                log.warning("TLS of the kubelet API is not up to date", error=trouble)
            self._told = trouble
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            with trio.move_on_after(pause):
                await self._replaced.wait()

    def _refresh(self, pair: Pair, authorities: str) -> None:
        if (pair, authorities) == self._made_of:
            return
        self._context = server_context(pair, authorities)
        if self._made_of is not None:
            log.info("TLS of the kubelet API renewed")
        self._made_of = pair, authorities

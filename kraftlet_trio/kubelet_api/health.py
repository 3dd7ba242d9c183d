"""Whether the daemon is well: checks with names, told as Kubernetes' components tell theirs.

Source: apiserver, pkg/server/healthz/healthz.go.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import structlog

from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.kubelet_api.answers import method_not_allowed, not_found, text

log = structlog.get_logger()

Check = Callable[[], str | None]
"""Says what is wrong, or None."""


def _ping() -> str | None:
    """Whoever answers is alive."""
    return None


@attrs.define
class Health:
    """Checks by name, in the order in which they are told."""

    checks: dict[str, Check] = attrs.field(factory=lambda: {"ping": _ping})

    def answer(self, request: Request) -> Response:
        """To ``/healthz`` about all checks, or to ``/healthz/<name>`` about one."""
        _, _, name = request.path.removeprefix("/").partition("/")
        if not name:
            return self._all(verbose=any(key == "verbose" for key, _ in request.query))
        if name not in self.checks:
            return not_found()
        trouble = self.checks[name]()
        return text("ok") if trouble is None else text(f"internal server error: {trouble}\n", 500)

    def _all(self, *, verbose: bool) -> Response:
        troubles = {name: trouble for name, check in self.checks.items() if (trouble := check())}
        told = "".join(
            # What is wrong is for the log: whoever asks need not be known.
            f"[-]{name} failed: reason withheld\n" if name in troubles else f"[+]{name} ok\n"
            for name in self.checks
        )
        if troubles:
            log.debug("health check failed", troubles=troubles)
            return text(f"{told}healthz check failed\n", 500)
        return text(f"{told}healthz check passed\n" if verbose else "ok")


@attrs.frozen
class HealthPort:
    """The handler of a port that tells nothing but health, and asks nobody who they are.

    The kubelet that probes the daemon's own Pod has no credentials that a node would take.
    """

    health: Health

    async def answer(self, request: Request) -> Response:
        if request.path not in ("/livez", "/readyz", "/healthz"):
            return not_found()
        if request.method not in ("GET", "HEAD"):
            return method_not_allowed("GET", "HEAD")
        return text("ok") if request.path == "/livez" else self.health.answer(request)

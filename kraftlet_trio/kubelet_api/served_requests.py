"""What the kubelet API was asked, and how long it took to answer."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kraftlet_trio.metrics.exposition import Family
from kraftlet_trio.metrics.instruments import Counter, Histogram


@attrs.define
class ServedRequests:
    """By method, path and status."""

    _count: Counter = attrs.field(
        factory=lambda: Counter(
            "kubelet_http_requests_total",
            "Requests to the kubelet API, by status",
            ("method", "path", "code"),
        ),
        init=False,
    )
    _seconds: Histogram = attrs.field(
        factory=lambda: Histogram(
            "kubelet_http_requests_duration_seconds",
            "Seconds until a request to the kubelet API was answered; what is streamed comes later",
            ("method", "path"),
        ),
        init=False,
    )

    def note(self, method: str, path: str, status: int, seconds: float) -> None:
        """*path* and *method* are such as we know, for callers can make up any number."""
        self._count.inc(method, path, str(status))
        self._seconds.observe(seconds, method, path)

    def families(self) -> Iterator[Family]:
        yield self._count.family()
        yield self._seconds.family()


_KNOWN = frozenset(
    (
        "pods",
        "runningpods",
        "metrics",
        "metrics/resource",
        "metrics/cadvisor",
        "metrics/probes",
        "stats/summary",
        "configz",
        "debug/tree",
        "healthz",
        "containerLogs",
        "exec",
        "attach",
        "portForward",
        "run",
    )
)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))


def known_path(path: str) -> str:
    """What is noted of *path*; ``other`` for one that this API does not have."""
    words = path.strip("/").split("/")
    both = "/".join(words[:2])
    first = both if both in _KNOWN else words[0]
    return first if first in _KNOWN else "other"


def known_method(method: str) -> str:
    return method if method in _METHODS else "other"

"""This process, in the names that every Prometheus client gives it.

Source: prometheus.io/docs/instrumenting/writing_clientlibs, process metrics.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from kraftlet_trio.metrics.exposition import Family, Sample

_PROC = Path("/proc")
# Places in /proc/<pid>/stat, counted behind the command's closing parenthesis (proc(5)).
_START_TICKS, _VIRTUAL_BYTES, _RSS_PAGES = 19, 20, 21


def process_metrics() -> Iterator[Family]:
    """Of a system that has no /proc only what any system tells."""
    yield Family(
        "process_cpu_seconds_total",
        "counter",
        "User and system CPU time, in seconds",
        (Sample(time.process_time()),),
    )
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield _gauge("process_max_fds", "File descriptors that it may have open", limit)
    try:
        stat = (_PROC / "self" / "stat").read_text().rpartition(")")[2].split()
        boot = _boot_seconds((_PROC / "stat").read_text())
        open_fds = len(os.listdir(_PROC / "self" / "fd"))
    except OSError:
        return
    yield _gauge("process_open_fds", "File descriptors that it has open", open_fds)
    yield _gauge(
        "process_virtual_memory_bytes", "Virtual memory, in bytes", int(stat[_VIRTUAL_BYTES])
    )
    yield _gauge(
        "process_resident_memory_bytes",
        "Resident memory, in bytes",
        int(stat[_RSS_PAGES]) * os.sysconf("SC_PAGE_SIZE"),
    )
    yield _gauge(
        "process_start_time_seconds",
        "When it started, in seconds since the epoch",
        boot + int(stat[_START_TICKS]) / os.sysconf("SC_CLK_TCK"),
    )


def _boot_seconds(stat: str) -> float:
    """When the machine started, in seconds since the epoch."""
    return next(float(line.split()[1]) for line in stat.splitlines() if line.startswith("btime "))


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, (Sample(value),))

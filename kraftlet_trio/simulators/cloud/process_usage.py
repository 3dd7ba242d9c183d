"""What the processes of a guest use, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from kraftlet_trio.simulators.cloud.runtime import Usage

# Places in /proc/<pid>/stat, counted behind the command's closing parenthesis (proc(5)).
_TIMES = slice(11, 15)
"""User and system time, own and of children that were waited for, in clock ticks."""
_RSS_PAGES = 21


def children(pid: int) -> list[int]:
    """Of all threads of *pid*; none where it has ended, or where the kernel does not tell."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in path.read_text().split()]
        except OSError:
            continue  # it has ended meanwhile
    return found


def descendants(pid: int) -> list[int]:
    """Parents before their children."""
    found = children(pid)
    for each in found:  # grows as it goes
        found += children(each)
    return found


def usage_of(pids: Iterable[int]) -> Usage:
    """The sum. Memory that processes share counts for each of them."""
    rss_pages = ticks = 0
    for fields in _process_fields(pids):
        rss_pages += int(fields[_RSS_PAGES])
        ticks += sum(int(field) for field in fields[_TIMES])
    return Usage(
        rss_bytes=rss_pages * os.sysconf("SC_PAGE_SIZE"),
        cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"),
    )


def _process_fields(pids: Iterable[int]) -> Iterator[list[str]]:
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            continue
        yield text.rpartition(")")[2].split()

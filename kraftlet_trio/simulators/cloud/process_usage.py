"""What the processes of a group use, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kraftlet_trio.simulators.cloud.runtime import Usage

# Places in /proc/<pid>/stat, counted behind the command's closing parenthesis (proc(5)).
_GROUP = 2
_TIMES = slice(11, 15)
"""User and system time, own and of children that were waited for, in clock ticks."""
_RSS_PAGES = 21


def group_usage(leader: int) -> Usage:
    """Sums over the process group *leader*; zeros where there is no /proc."""
    rss_pages = ticks = 0
    for fields in _process_fields():
        if int(fields[_GROUP]) == leader:
            rss_pages += int(fields[_RSS_PAGES])
            ticks += sum(int(field) for field in fields[_TIMES])
    return Usage(
        rss_bytes=rss_pages * os.sysconf("SC_PAGE_SIZE"),
        cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"),
    )


def _process_fields() -> Iterator[list[str]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        yield text.rpartition(")")[2].split()

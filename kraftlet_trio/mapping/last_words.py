"""The end of a container's output as the message of its end (``FallbackToLogsOnError``)."""

from __future__ import annotations

MOST_BYTES = 2048
MOST_LINES = 80
"""Whichever is less, as in the kubelet."""


def last_words(console: bytes) -> str:
    """The last lines of *console*; bytes that are no UTF-8 are replaced."""
    tail = console[-MOST_BYTES:]
    if len(console) > MOST_BYTES:
        # What a cut left of a character is dropped.
        tail = tail.lstrip(bytes(range(0x80, 0xC0)))
    text = tail.decode(errors="replace")
    lines = text.removesuffix("\n").split("\n")
    return "\n".join(lines[-MOST_LINES:]) + ("\n" if text.endswith("\n") else "")

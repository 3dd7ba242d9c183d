"""Waiting for the state of the world, by looking at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1


def continuously(look: Callable[[], object], *, seconds: float) -> None:
    """Assert that *look* returns something true, again and again: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert look()
        time.sleep(POLL_SECONDS)


def eventually(look: Callable[[], T | None], *, timeout: float = 30.0) -> T:
    """Call *look* until it returns something true, and return that.

    An AssertionError counts as "not yet"; the last one is raised when *timeout* seconds are
    over, so that a test that waits in vain says what it saw. Any other exception is raised at once.
    """
    deadline = time.monotonic() + timeout
    while True:
        failure = None
        try:
            seen = look()
            if seen:
                return seen
        except AssertionError as error:
            failure = error
        if time.monotonic() > deadline:
            message = f"not within {timeout:g} s: {getattr(look, '__doc__', None) or look}"
            if failure is None:
                raise AssertionError(f"{message}; last seen: {seen!r}")
            failure.add_note(message)
            raise failure
        time.sleep(POLL_SECONDS)

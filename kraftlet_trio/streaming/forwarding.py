"""What port-forward means, apart from the wire protocol by which it came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

PortDial = Callable[[int], Awaitable[trio.abc.HalfCloseableStream]]
"""Connects to a port (1 to 65535) of the Pod. Raises ``OSError`` with words for the user."""

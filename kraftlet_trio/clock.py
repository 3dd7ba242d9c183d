"""Wall-clock time that follows Trio's clock.

Every timestamp the daemon and the simulators write comes from here, so that a test under
``trio.testing.MockClock`` sees Kubernetes timestamps, leases and back-offs advance together.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import trio

_epoch_offset: trio.lowlevel.RunVar[float] = trio.lowlevel.RunVar("epoch_offset")


def utc_now() -> datetime:
    """The present, aware, in UTC. Must be called inside ``trio.run``."""
    try:
        offset = _epoch_offset.get()
    except LookupError:
        offset = time.time() - trio.current_time()
        _epoch_offset.set(offset)
    return datetime.fromtimestamp(offset + trio.current_time(), tz=UTC)

"""What a load balancer sees of one instance: counters, and how long it has been quiet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

WAKEUP_BOUNDS_MS = tuple(2**exponent for exponent in range(13))
"""Upper bounds of the buckets for wake-up times; one more has none (reference, metrics)."""


@attrs.define(eq=False)
class Traffic:
    """Gauges of what is open now, and counters since the last start. Packets are chunks relayed."""

    nconns: int = 0
    """Connections that are open."""
    nreqs: int = 0
    """HTTP requests in progress."""
    nprivate: int = 0
    """Connections to its private address, which no load balancer sees."""
    nqueued: int = 0
    """Requests and connections that wait for the instance to wake up."""
    ntotal: int = 0
    """Requests, or connections where no HTTP is spoken, ever passed on."""
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    tx_packets: int = 0
    wakeups: Counter[int | None] = attrs.field(factory=Counter)
    """How many took up to so many milliseconds; None: longer than the last bound."""
    wakeup_seconds: float = 0.0
    """Of all together."""
    turn: int = 0
    """Number of its last turn among the members of its group."""
    heard_at: float = 0.0
    """On Trio's clock: when something last began, ended or moved."""
    _calmed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def in_flight(self) -> int:
        """What the limits of a service group are about."""
        return self.nconns + self.nqueued

    def begin_run(self) -> None:
        self.rx_bytes = self.tx_bytes = self.rx_packets = self.tx_packets = 0
        self.heard_at = trio.current_time()

    @contextmanager
    def connection(self, *, request: bool) -> Iterator[None]:
        """A connection to the instance is open inside; *request*: for one HTTP request."""
        self.nconns += 1
        self.nreqs += request
        self.ntotal += 1
        self.heard_at = trio.current_time()
        try:
            yield
        finally:
            self.nconns -= 1
            self.nreqs -= request
            self._calm()

    @contextmanager
    def private_connection(self) -> Iterator[None]:
        """A connection to the private address is open inside."""
        self.nprivate += 1
        self.heard_at = trio.current_time()
        try:
            yield
        finally:
            self.nprivate -= 1
            self._calm()

    def moved(self) -> None:
        """Something went over a private connection."""
        self.heard_at = trio.current_time()

    @contextmanager
    def queued(self) -> Iterator[None]:
        self.nqueued += 1
        try:
            yield
        finally:
            self.nqueued -= 1
            self._calm()

    def received(self, count: int) -> None:
        """*count* bytes went to the instance."""
        self.rx_bytes += count
        self.rx_packets += 1
        self.heard_at = trio.current_time()

    def sent(self, count: int) -> None:
        """*count* bytes came from the instance."""
        self.tx_bytes += count
        self.tx_packets += 1
        self.heard_at = trio.current_time()

    def woke(self, seconds: float) -> None:
        bound = next((each for each in WAKEUP_BOUNDS_MS if seconds * 1000 <= each), None)
        self.wakeups[bound] += 1
        self.wakeup_seconds += seconds

    def is_busy(self, policy: str) -> bool:
        """Whether scale to zero by *policy* has to wait: silent connections keep only ``on`` up."""
        if self.nqueued or self.nreqs:
            return True
        return policy == "on" and self.nconns + self.nprivate > 0

    async def quiet(self, policy: str, seconds: float) -> None:
        """Until nothing has kept it busy for so long."""
        while True:
            if self.is_busy(policy):
                await self.calmed()
            elif (rest := self.heard_at + seconds - trio.current_time()) > 0:
                await trio.sleep(rest)
            else:
                return

    async def calmed(self) -> None:
        """Until something that was open or queued ends."""
        await self._calmed.wait()

    def _calm(self) -> None:
        self.heard_at = trio.current_time()
        self._calmed.set()
        self._calmed = trio.Event()

"""What containers use, as counters that never fall within a container's run. Pure.

The platform counts from an instance's last start, and waking from standby is a start. To
Kubernetes it is none: the container goes on, and so do its counters here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import add

import attrs

from kraftlet_trio.cloud.objects import InstanceMetrics

_NANOSECONDS_A_MILLISECOND = 1_000_000

Run = tuple[str, datetime]
"""One run of one container: its instance's uuid, and its start."""


@attrs.frozen(kw_only=True)
class RunningContainer:
    """A container of the node that runs, and the instance that it is."""

    namespace: str
    pod: str
    pod_uid: str
    container: str
    image: str
    instance_uuid: str
    instance_name: str
    started_at: datetime
    """When Kubernetes was told that its present run began."""
    memory_limit_bytes: int
    vcpus: int

    @property
    def run(self) -> Run:
        return self.instance_uuid, self.started_at


@attrs.frozen
class Counters:
    """All since the same moment."""

    cpu_ns: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    tx_packets: int = 0

    @classmethod
    def of(cls, metrics: InstanceMetrics) -> Counters:
        return cls(
            cpu_ns=(metrics.cpu_time_ms or 0) * _NANOSECONDS_A_MILLISECOND,
            rx_bytes=metrics.rx_bytes,
            tx_bytes=metrics.tx_bytes,
            rx_packets=metrics.rx_packets,
            tx_packets=metrics.tx_packets,
        )

    def __add__(self, other: Counters) -> Counters:
        return Counters(*map(add, attrs.astuple(self), attrs.astuple(other)))

    def or_more(self, other: Counters) -> Counters:
        return Counters(*map(max, attrs.astuple(self), attrs.astuple(other)))


@attrs.frozen(kw_only=True)
class ContainerUsage:
    container: RunningContainer
    counters: Counters
    """Since its present run began. CPU is 1 ns at least, for whoever takes 0 for no sample."""
    memory_bytes: int
    """Resident, 1 at least."""
    nano_cores: int
    """CPU nanoseconds a second, since the sample before; at first since the run began."""


@attrs.frozen(kw_only=True)
class NodeUsage:
    """One sample of all running containers for which there is one."""

    at: datetime
    containers: tuple[ContainerUsage, ...] = ()
    counters: Counters = Counters(cpu_ns=1)
    """Of all containers that the daemon has sampled, those that are gone included. CPU is 1 ns at
    least."""

    @property
    def memory_bytes(self) -> int:
        return max(1, sum(usage.memory_bytes for usage in self.containers))

    @property
    def nano_cores(self) -> int:
        return sum(usage.nano_cores for usage in self.containers)


@attrs.define
class _Counted:
    """What is known of one run of a container."""

    start_count: int
    before: Counters = attrs.field(factory=Counters)
    """What was counted before the instance's last start."""
    since: Counters = attrs.field(factory=Counters)

    def take(self, metrics: InstanceMetrics) -> None:
        if metrics.start_count != self.start_count:
            self.before, self.since = self.total, Counters()
            self.start_count = metrics.start_count
        # An instance in standby may count nothing.
        self.since = self.since.or_more(Counters.of(metrics))

    @property
    def total(self) -> Counters:
        return self.before + self.since


@attrs.define
class UsageHistory:
    """Makes samples of the platform's metrics."""

    _runs: dict[Run, _Counted] = attrs.field(factory=dict, init=False)
    _gone: Counters = attrs.field(default=Counters(), init=False)
    _previous: dict[Run, tuple[int, datetime]] = attrs.field(factory=dict, init=False)
    """CPU and time of each run's sample before."""

    def sample(
        self,
        running: Iterable[RunningContainer],
        metrics: Mapping[str, InstanceMetrics],
        at: datetime,
    ) -> NodeUsage:
        """*metrics* by uuid, taken *at*; a container that they do not tell of has no sample."""
        running = tuple(running)
        self._forget_all_but({container.run for container in running})
        containers = tuple(
            self._of(container, told, at)
            for container in running
            if (told := metrics.get(container.instance_uuid)) is not None
            and told.cpu_time_ms is not None
            and told.rss_bytes is not None
        )
        total = sum((run.total for run in self._runs.values()), self._gone)
        return NodeUsage(at=at, containers=containers, counters=_some_cpu(total))

    def _of(
        self, container: RunningContainer, metrics: InstanceMetrics, at: datetime
    ) -> ContainerUsage:
        run = self._runs.setdefault(container.run, _Counted(metrics.start_count))
        run.take(metrics)
        counters = run.total
        cpu_before, before = self._previous.get(container.run, (0, container.started_at))
        self._previous[container.run] = counters.cpu_ns, at
        seconds = (at - before).total_seconds()
        spent = counters.cpu_ns - cpu_before
        return ContainerUsage(
            container=container,
            counters=_some_cpu(counters),
            memory_bytes=max(1, metrics.rss_bytes or 0),
            nano_cores=round(spent / seconds) if seconds > 0 else 0,
        )

    def _forget_all_but(self, present: set[Run]) -> None:
        for key in self._runs.keys() - present:
            self._gone += self._runs.pop(key).total
            self._previous.pop(key, None)


def _some_cpu(counters: Counters) -> Counters:
    return attrs.evolve(counters, cpu_ns=max(1, counters.cpu_ns))

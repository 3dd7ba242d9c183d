"""Metrics of instances, as JSON or in Prometheus' text format (reference, instance metrics)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from kraftlet_trio.simulators.cloud.instance_view import run_times, uptime_seconds
from kraftlet_trio.simulators.cloud.records import Instance
from kraftlet_trio.simulators.cloud.runtime import Usage
from kraftlet_trio.simulators.cloud.traffic import WAKEUP_BOUNDS_MS

PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4"

_TRAFFIC = (
    "rx_bytes",
    "tx_bytes",
    "rx_packets",
    "tx_packets",
    "nconns",
    "nreqs",
    "nqueued",
    "ntotal",
)
_COUNTERS = frozenset({"rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "ntotal"})
_STATE_NUMBERS = {
    "stopped": 0,
    "starting": 1,
    "running": 2,
    "draining": 3,
    "stopping": 4,
    "standby": 5,
}


def as_json(instance: Instance, usage: Usage) -> dict[str, Any]:
    """What was never set is left out, as are times and counts that are 0."""
    shown = {
        "state": instance.state,
        "start_count": instance.start_count,
        "uptime_ms": round(uptime_seconds(instance) * 1000),
        "rss_bytes": usage.rss_bytes,
        "cpu_time_ms": round(usage.cpu_seconds * 1000),
        **{name: getattr(instance.traffic, name) for name in _TRAFFIC},
        **run_times(instance),
    }
    if instance.restart_count:
        shown["restart_count"] = instance.restart_count
    if instance.traffic.wakeups:
        shown["wakeup_latency"] = [
            {"bucket_ms": bound, "count": instance.traffic.wakeups[bound]}
            for bound in (*WAKEUP_BOUNDS_MS, None)
        ]
        shown["wakeup_latency_sum"] = round(instance.traffic.wakeup_seconds * 1000)
    return shown


def as_prometheus(metrics: Iterable[tuple[Instance, Usage]]) -> bytes:
    """One family after the other, with a sample for each instance."""
    families: dict[str, list[str]] = {}
    wakeups = []
    for instance, usage in metrics:
        wakeups += _wakeups(instance)
        for name, value in _samples(instance, usage):
            families.setdefault(name, []).append(
                f'instance_{name}{{instance_uuid="{instance.uuid}"}} {value}'
            )
    lines = []
    for name, samples in families.items():
        kind = "counter" if name in _COUNTERS else "gauge"
        lines += [f"# TYPE instance_{name} {kind}", *samples]
    if wakeups:
        lines += ["# TYPE instance_wakeup_latency_seconds histogram", *wakeups]
    return "".join(f"{line}\n" for line in lines).encode()


def _samples(instance: Instance, usage: Usage) -> Iterable[tuple[str, float]]:
    yield "state", _STATE_NUMBERS[instance.state]
    yield "start_count", instance.start_count
    yield "restart_count", instance.restart_count
    yield "started_at", _epoch_seconds(instance.started_at)
    yield "stopped_at", _epoch_seconds(instance.stopped_at)
    yield "uptime_s", uptime_seconds(instance)
    yield "boot_time_s", instance.boot_seconds or 0.0
    yield "net_time_s", instance.boot_seconds or 0.0
    yield "rss_bytes", usage.rss_bytes
    yield "cpu_time_s", usage.cpu_seconds
    for name in _TRAFFIC:
        yield name, getattr(instance.traffic, name)


def _wakeups(instance: Instance) -> list[str]:
    """The histogram of its wake-up times: each bucket counts those below it, too."""
    traffic = instance.traffic
    label = f'instance_uuid="{instance.uuid}"'
    name = "instance_wakeup_latency_seconds"
    lines, count = [], 0
    for bound in (*WAKEUP_BOUNDS_MS, None):
        count += traffic.wakeups[bound]
        limit = "+Inf" if bound is None else bound / 1000
        lines.append(f'{name}_bucket{{{label},le="{limit}"}} {count}')
    lines.append(f"{name}_sum{{{label}}} {traffic.wakeup_seconds}")
    return [*lines, f"{name}_count{{{label}}} {count}"]


def _epoch_seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0

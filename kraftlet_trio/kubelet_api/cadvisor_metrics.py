"""``/metrics/cadvisor``: the names that dashboards for kubelets ask for. Pure.

A container is told by its own row; what belongs to the Pod as a whole, its network, by a row with
an empty container, as cAdvisor has it. Disks are left out, for the platform does not tell of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Literal

from kraftlet_trio.kubelet_api.stats_summary import INTERFACE
from kraftlet_trio.kubelet_api.usage import ContainerUsage, Counters, NodeUsage
from kraftlet_trio.metrics.exposition import Family, Labels, Sample

_NANO = 1_000_000_000
_CFS_PERIOD_MICROSECONDS = 100_000
_SHARES_A_CPU = 1024

_CONTAINER: tuple[
    tuple[str, Literal["counter", "gauge"], str, Labels, Callable[[ContainerUsage], float]], ...
] = (
    (
        "container_cpu_usage_seconds_total",
        "counter",
        "CPU time of the present run, in seconds",
        (("cpu", "total"),),
        lambda usage: usage.counters.cpu_ns / _NANO,
    ),
    (
        "container_memory_working_set_bytes",
        "gauge",
        "Resident memory, in bytes",
        (),
        lambda usage: usage.memory_bytes,
    ),
    (
        "container_memory_usage_bytes",
        "gauge",
        "Resident memory, in bytes",
        (),
        lambda usage: usage.memory_bytes,
    ),
    (
        "container_memory_rss",
        "gauge",
        "Resident memory, in bytes",
        (),
        lambda usage: usage.memory_bytes,
    ),
    (
        "container_spec_memory_limit_bytes",
        "gauge",
        "Memory of the instance, in bytes",
        (),
        lambda usage: usage.container.memory_limit_bytes,
    ),
    (
        "container_spec_cpu_period",
        "gauge",
        "Microseconds of which the quota is a part",
        (),
        lambda _: _CFS_PERIOD_MICROSECONDS,
    ),
    (
        "container_spec_cpu_quota",
        "gauge",
        "CPU time a period, in microseconds: the instance's CPUs",
        (),
        lambda usage: usage.container.vcpus * _CFS_PERIOD_MICROSECONDS,
    ),
    (
        "container_spec_cpu_shares",
        "gauge",
        "1024 for each of the instance's CPUs",
        (),
        lambda usage: usage.container.vcpus * _SHARES_A_CPU,
    ),
    (
        "container_start_time_seconds",
        "gauge",
        "Start of the present run, in seconds since the epoch",
        (),
        lambda usage: usage.container.started_at.timestamp(),
    ),
)

_POD: tuple[tuple[str, str, Callable[[Counters], int]], ...] = (
    (
        "container_network_receive_bytes_total",
        "Bytes received",
        lambda counters: counters.rx_bytes,
    ),
    (
        "container_network_transmit_bytes_total",
        "Bytes sent",
        lambda counters: counters.tx_bytes,
    ),
    (
        "container_network_receive_packets_total",
        "Packets received",
        lambda counters: counters.rx_packets,
    ),
    (
        "container_network_transmit_packets_total",
        "Packets sent",
        lambda counters: counters.tx_packets,
    ),
)


def cadvisor_metrics(
    usage: NodeUsage | None, *, cpus: float, memory_bytes: int
) -> Iterator[Family]:
    """*cpus* and *memory_bytes* are what the node offers. *usage* is None where it is unknown."""
    if usage is not None:
        yield from _containers(usage)
    yield Family("machine_cpu_cores", "gauge", "CPUs that the node offers", (Sample(cpus),))
    yield Family(
        "machine_memory_bytes", "gauge", "Memory that the node offers", (Sample(memory_bytes),)
    )


def _containers(usage: NodeUsage) -> Iterator[Family]:
    at_ms = int(usage.at.timestamp() * 1000)
    rows = [(_container_labels(one), one) for one in usage.containers]
    for name, kind, text, extra, value in _CONTAINER:
        samples = (Sample(value(one), (*labels, *extra), at_ms=at_ms) for labels, one in rows)
        yield Family(name, kind, text, tuple(samples))
    last_seen = (Sample(usage.at.timestamp(), labels, at_ms=at_ms) for labels, _ in rows)
    yield Family(
        "container_last_seen", "gauge", "Seconds since the epoch of the sample", tuple(last_seen)
    )
    pods = [
        (list(several), pod)
        for pod, several in groupby(
            usage.containers,
            key=lambda one: (one.container.namespace, one.container.pod, one.container.pod_uid),
        )
    ]
    totals = [
        (_pod_labels(*pod), sum((one.counters for one in several), Counters()))
        for several, pod in pods
    ]
    for name, text, count in _POD:
        samples = (Sample(count(total), labels, at_ms=at_ms) for labels, total in totals)
        yield Family(name, "counter", text, tuple(samples))


def _container_labels(usage: ContainerUsage) -> Labels:
    container = usage.container
    return (
        ("id", f"/pods/{container.pod_uid}/{container.instance_uuid}"),
        ("image", container.image),
        ("name", container.instance_name),
        ("namespace", container.namespace),
        ("pod", container.pod),
        ("container", container.container),
    )


def _pod_labels(namespace: str, pod: str, uid: str) -> Labels:
    return (
        ("id", f"/pods/{uid}"),
        ("image", ""),
        ("name", ""),
        ("namespace", namespace),
        ("pod", pod),
        ("container", ""),
        ("interface", INTERFACE),
    )

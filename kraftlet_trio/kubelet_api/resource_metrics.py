"""``/metrics/resource``, exactly as metrics-server reads it. Pure.

Names, kinds and labels are the kubelet's (pkg/kubelet/metrics/collectors/resource_metrics.go). The
labels' order is virtual-kubelet's, whose tests go by position. There is no swap to tell of.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from kraftlet_trio.kubelet_api.usage import ContainerUsage, NodeUsage
from kraftlet_trio.metrics.exposition import Family, Labels, Sample

_NANO = 1_000_000_000


def resource_metrics(usage: NodeUsage | None) -> Iterator[Family]:
    """None: the platform did not answer, and nothing is known but that."""
    if usage is not None:
        yield from _usage(usage)
    failed = Sample(int(usage is None))
    yield Family(
        "resource_scrape_error",
        "gauge",
        "1 if the platform did not tell what the containers use, 0 otherwise",
        (failed,),
    )
    yield Family("scrape_error", "gauge", "The deprecated name of resource_scrape_error", (failed,))


def _usage(usage: NodeUsage) -> Iterator[Family]:
    at_ms = int(usage.at.timestamp() * 1000)

    def sample(value: float, labels: Labels = ()) -> Sample:
        return Sample(value, labels, at_ms=at_ms)

    containers = [(_container(one), one) for one in usage.containers]
    pods = [
        ((("namespace", namespace), ("pod", pod)), list(several))
        for (namespace, pod, _), several in groupby(usage.containers, key=_pod)
    ]
    yield Family(
        "node_cpu_usage_seconds_total",
        "counter",
        "CPU time of all containers of the node, in seconds",
        (sample(usage.counters.cpu_ns / _NANO),),
    )
    yield Family(
        "node_memory_working_set_bytes",
        "gauge",
        "Memory of all containers of the node, in bytes",
        (sample(usage.memory_bytes),),
    )
    yield Family(
        "container_cpu_usage_seconds_total",
        "counter",
        "CPU time of the container's present run, in seconds",
        tuple(sample(one.counters.cpu_ns / _NANO, labels) for labels, one in containers),
    )
    yield Family(
        "container_memory_working_set_bytes",
        "gauge",
        "Memory of the container, in bytes",
        tuple(sample(one.memory_bytes, labels) for labels, one in containers),
    )
    yield Family(
        "container_start_time_seconds",
        "gauge",
        "Start of the container's present run, in seconds since the epoch",
        tuple(sample(one.container.started_at.timestamp(), labels) for labels, one in containers),
    )
    yield Family(
        "pod_cpu_usage_seconds_total",
        "counter",
        "CPU time of the Pod's containers, in seconds",
        tuple(
            sample(sum(one.counters.cpu_ns for one in several) / _NANO, labels)
            for labels, several in pods
        ),
    )
    yield Family(
        "pod_memory_working_set_bytes",
        "gauge",
        "Memory of the Pod's containers, in bytes",
        tuple(sample(sum(one.memory_bytes for one in several), labels) for labels, several in pods),
    )


def _pod(usage: ContainerUsage) -> tuple[str, str, str]:
    return usage.container.namespace, usage.container.pod, usage.container.pod_uid


def _container(usage: ContainerUsage) -> Labels:
    container = usage.container
    return (
        ("container", container.container),
        ("pod", container.pod),
        ("namespace", container.namespace),
    )

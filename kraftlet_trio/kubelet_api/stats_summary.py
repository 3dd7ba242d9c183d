"""``/stats/summary``: the kubelet's own form of what its Pods use. Pure.

Source: k8s.io/kubelet, pkg/apis/stats/v1alpha1/types.go. What the platform does not tell is left
out: containers' disks, page faults, network errors, the node's own processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from kraftlet_trio.kubelet_api.usage import ContainerUsage, Counters, NodeUsage
from kraftlet_trio.kubelet_api.volume_usage import VolumeUsage
from kraftlet_trio.kubernetes.serialization import timestamp

INTERFACE = "eth0"
"""An instance has one."""


def stats_summary(
    usage: NodeUsage,
    *,
    node_name: str,
    started_at: datetime,
    volumes: Sequence[VolumeUsage] = (),
    only_cpu_and_memory: bool,
) -> dict[str, Any]:
    at = timestamp(usage.at)
    node = {
        "nodeName": node_name,
        "startTime": timestamp(started_at),
        "cpu": _cpu(at, usage.counters.cpu_ns, usage.nano_cores),
        "memory": _memory(at, usage.memory_bytes),
    }
    pods = [
        _pod(at, list(several), only_cpu_and_memory=only_cpu_and_memory)
        for _, several in groupby(usage.containers, key=lambda one: one.container.pod_uid)
    ]
    if not only_cpu_and_memory:
        node["network"] = _network(at, usage.counters)
        for pod in pods:
            uid = pod["podRef"]["uid"]
            pod["volume"] = [_volume(one) for one in volumes if one.pod_uid == uid]
    return {"node": node, "pods": pods}


def _pod(
    at: str, containers: Sequence[ContainerUsage], *, only_cpu_and_memory: bool
) -> dict[str, Any]:
    first = containers[0].container
    pod = {
        "podRef": {"name": first.pod, "namespace": first.namespace, "uid": first.pod_uid},
        "startTime": timestamp(min(usage.container.started_at for usage in containers)),
        "containers": [_container(at, usage) for usage in containers],
        "cpu": _cpu(
            at,
            sum(usage.counters.cpu_ns for usage in containers),
            sum(usage.nano_cores for usage in containers),
        ),
        "memory": _memory(at, sum(usage.memory_bytes for usage in containers)),
    }
    if not only_cpu_and_memory:
        pod["network"] = _network(at, sum((one.counters for one in containers), Counters()))
    return pod


def _container(at: str, usage: ContainerUsage) -> dict[str, Any]:
    limit = usage.container.memory_limit_bytes
    return {
        "name": usage.container.container,
        "startTime": timestamp(usage.container.started_at),
        "cpu": _cpu(at, usage.counters.cpu_ns, usage.nano_cores),
        "memory": {
            **_memory(at, usage.memory_bytes),
            # The monitor's own memory counts, too, so there may be more used than was given.
            "availableBytes": max(0, limit - usage.memory_bytes),
        },
    }


def _cpu(at: str, nanoseconds: int, nano_cores: int) -> dict[str, Any]:
    return {"time": at, "usageNanoCores": nano_cores, "usageCoreNanoSeconds": nanoseconds}


def _memory(at: str, resident_bytes: int) -> dict[str, Any]:
    return {
        "time": at,
        "usageBytes": resident_bytes,
        "workingSetBytes": resident_bytes,
        "rssBytes": resident_bytes,
    }


def _volume(volume: VolumeUsage) -> dict[str, Any]:
    claim = {"name": volume.claim, "namespace": volume.namespace}
    return {
        "time": timestamp(volume.at),
        "name": volume.name,
        **({"pvcRef": claim} if volume.claim else {}),
        "capacityBytes": volume.capacity_bytes,
        "availableBytes": volume.available_bytes,
        "usedBytes": volume.used_bytes,
    }


def _network(at: str, counters: Counters) -> dict[str, Any]:
    told = {"name": INTERFACE, "rxBytes": counters.rx_bytes, "txBytes": counters.tx_bytes}
    return {"time": at, **told, "interfaces": [told]}

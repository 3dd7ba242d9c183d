"""The Node's status as a function of settings and platform (pure).

Reasons and messages are the kubelet's (pkg/kubelet/nodestatus/setters.go), for tools know them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from kraftlet_trio.cloud.objects import Quotas
from kraftlet_trio.kubernetes.objects import Condition, NodeAddress, NodeStatus
from kraftlet_trio.kubernetes.serialization import unstructure
from kraftlet_trio.node.platform import NOT_READY, Platform
from kraftlet_trio.node.settings import Capacity, CapacityCaps, NodeSettings

PLATFORM_HEALTHY = "UnikraftPlatformHealthy"
KUBERNETES_VERSION = "v1.37.0"
"""The release whose kubelet this node behaves like; version-skew checks read it."""

DECLARED_FEATURES = ("ExtendWebSocketsToKubelet",)
"""With it the API server passes clients' WebSockets on, and need not translate them to SPDY."""


def node_status(
    settings: NodeSettings, platform: Platform, previous: Iterable[Condition], now: datetime
) -> NodeStatus:
    """The status to report; *previous* conditions tell since when each has been as it is.

    Without quotas there is no capacity in it: what the Node has stays.
    """
    resources: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    if platform.quotas is not None:
        offer = capacity(platform.quotas, settings.caps, settings.fallback_capacity)
        allocatable = resources = _resources(offer)
        if _memory_is_full(platform.quotas):
            # The taint that follows from the pressure keeps off only Pods without the toleration
            # that admission gives to all that ask for memory; this keeps off those that ask.
            allocatable = {**resources, "memory": "0"}
    return NodeStatus(
        capacity=resources,
        allocatable=allocatable,
        conditions=_dated(_conditions(settings, platform), previous, now),
        addresses=(NodeAddress(type="InternalIP", address=settings.internal_ip),)
        if settings.internal_ip
        else (),
        node_info=_node_info(settings),
        daemon_endpoints={"kubeletEndpoint": {"Port": settings.kubelet_port}},
        declared_features=DECLARED_FEATURES,
    )


def capacity(quotas: Quotas, caps: CapacityCaps, fallback: Capacity) -> Capacity:
    """The account's hard quotas within *caps*; where it has no quota the cap, else *fallback*.

    No volumes are offered where there is a quota for instances but none for volumes.
    """
    hard = quotas.hard
    unlimited = not (hard.live_vcpus or hard.live_memory_mb or hard.instances)
    return Capacity(
        cpu=_offered(hard.live_vcpus, caps.cpu, fallback.cpu),
        memory_mib=_offered(hard.live_memory_mb, caps.memory_mib, fallback.memory_mib),
        pods=_offered(hard.instances, caps.pods, fallback.pods),
        volumes_mib=hard.total_volume_mb or (fallback.volumes_mib if unlimited else 0),
    )


def _offered(quota: int, cap: int | None, fallback: int) -> int:
    if cap is None:
        return quota or fallback
    return min(cap, quota or cap)


def missing_quotas(quotas: Quotas, caps: CapacityCaps) -> list[str]:
    """The resources for which the fallback stands in."""
    hard = quotas.hard
    amounts = {
        "cpu": hard.live_vcpus or caps.cpu,
        "memory": hard.live_memory_mb or caps.memory_mib,
        "pods": hard.instances or caps.pods,
    }
    return [resource for resource, amount in amounts.items() if not amount]


def differs(status: NodeStatus, other: NodeStatus) -> bool:
    """Whether more than heartbeats tells them apart."""
    return _without_heartbeats(status) != _without_heartbeats(other)


def overwritten(conditions: Iterable[Condition], present: Iterable[Condition]) -> bool:
    """Whether somebody else has written over one of *conditions*.

    The control plane does so to a node that was late, and it is on the node to put it right.
    """
    shown = {condition.type: condition for condition in present}
    return any(
        own.type not in shown
        or (own.status, own.reason) != (shown[own.type].status, shown[own.type].reason)
        for own in conditions
    )


def status_patch(
    settings: NodeSettings, status: NodeStatus, uid: str, present: Iterable[Condition]
) -> dict[str, Any]:
    """A strategic merge patch that reports *status* and leaves foreign conditions alone."""
    conditions: list[dict[str, Any]] = [unstructure(condition) for condition in status.conditions]
    if not settings.platform_health_condition and any(
        condition.type == PLATFORM_HEALTHY for condition in present
    ):
        conditions.append({"type": PLATFORM_HEALTHY, "$patch": "delete"})
    body: dict[str, Any] = {
        "conditions": conditions,
        "nodeInfo": dict(status.node_info),
        "daemonEndpoints": dict(status.daemon_endpoints),
        "declaredFeatures": list(status.declared_features),
        # Merged by type, the list could not hold two addresses of one type.
        "addresses": [
            {"$patch": "replace"},
            *({"type": entry.type, "address": entry.address} for entry in status.addresses),
        ],
    }
    if status.capacity:
        body["capacity"] = dict(status.capacity)
        body["allocatable"] = dict(status.allocatable)
    return {"metadata": {"uid": uid}, "status": body}


def _resources(offer: Capacity) -> dict[str, str]:
    return {
        "cpu": str(offer.cpu),
        "memory": f"{offer.memory_mib}Mi",
        "pods": str(offer.pods),
        "ephemeral-storage": f"{offer.volumes_mib}Mi",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
    }


def _conditions(settings: NodeSettings, platform: Platform) -> Sequence[Condition]:
    conditions = list(_pressures(platform.quotas))
    if settings.platform_health_condition:
        conditions.append(_platform_healthy(platform))
    # The kubelet writes Ready last on purpose: readers that go in order then know the rest.
    conditions.append(_ready(platform))
    return conditions


def _pressures(quotas: Quotas | None) -> Iterable[Condition]:
    if quotas is None:
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure"):
            yield Condition(
                type=kind,
                status="Unknown",
                reason="QuotasUnknown",
                message="the platform has not told the account's quotas yet",
            )
        return
    used, hard = quotas.used, quotas.hard
    if _memory_is_full(quotas):
        yield Condition(
            type="MemoryPressure",
            status="True",
            reason="KubeletHasInsufficientMemory",
            message="kubelet has insufficient memory available: "
            f"the quota of {hard.live_memory_mb} MiB of live memory is used up",
        )
    else:
        yield Condition(
            type="MemoryPressure",
            status="False",
            reason="KubeletHasSufficientMemory",
            message="kubelet has sufficient memory available",
        )
    if _full(used.total_volume_mb, hard.total_volume_mb):
        yield Condition(
            type="DiskPressure",
            status="True",
            reason="KubeletHasDiskPressure",
            message="kubelet has disk pressure: "
            f"the quota of {hard.total_volume_mb} MiB of volumes is used up",
        )
    else:
        yield Condition(
            type="DiskPressure",
            status="False",
            reason="KubeletHasNoDiskPressure",
            message="kubelet has no disk pressure",
        )
    if _full(used.instances, hard.instances):
        yield Condition(
            type="PIDPressure",
            status="True",
            reason="KubeletHasInsufficientPID",
            message="kubelet has insufficient PID available: "
            f"the quota of {hard.instances} instances is used up",
        )
    else:
        yield Condition(
            type="PIDPressure",
            status="False",
            reason="KubeletHasSufficientPID",
            message="kubelet has sufficient PID available",
        )


def _memory_is_full(quotas: Quotas) -> bool:
    return _full(quotas.used.live_memory_mb, quotas.hard.live_memory_mb)


def _full(used: int, hard: int) -> bool:
    """A quota of zero is none, and never used up."""
    return 0 < hard <= used


def _platform_healthy(platform: Platform) -> Condition:
    if platform.fault is not None:
        return Condition(
            type=PLATFORM_HEALTHY,
            status="False",
            reason="PlatformUnreachable",
            message=platform.fault.message,
        )
    if degraded := platform.degraded_checks:
        return Condition(
            type=PLATFORM_HEALTHY,
            status="False",
            reason="PlatformDegraded",
            message=f"the platform's own checks say {', '.join(degraded)}",
        )
    return Condition(
        type=PLATFORM_HEALTHY,
        status="True",
        reason="PlatformHealthy",
        message="the platform's own checks are well",
    )


def _ready(platform: Platform) -> Condition:
    match platform:
        case Platform(fault=fault) if fault is not None:
            return Condition(
                type="Ready", status="False", reason=fault.reason, message=fault.message
            )
        case Platform(quotas=None):
            return Condition(
                type="Ready",
                status="False",
                reason=NOT_READY,
                message="the platform has not told the account's quotas yet",
            )
        case _:
            return Condition(
                type="Ready",
                status="True",
                reason="KubeletReady",
                message="kubelet is posting ready status",
            )


def _dated(
    conditions: Iterable[Condition], previous: Iterable[Condition], now: datetime
) -> tuple[Condition, ...]:
    now = now.replace(microsecond=0)  # as it is written, so that reading it back changes nothing
    before = {condition.type: condition for condition in previous}

    def since(condition: Condition) -> datetime:
        last = before.get(condition.type)
        if last is None or last.status != condition.status or last.last_transition_time is None:
            return now
        return last.last_transition_time

    return tuple(
        attrs.evolve(condition, last_heartbeat_time=now, last_transition_time=since(condition))
        for condition in conditions
    )


def _node_info(settings: NodeSettings) -> Mapping[str, str]:
    return {
        "architecture": settings.architecture,
        "operatingSystem": "linux",
        "osImage": "Unikraft Cloud",
        "kernelVersion": "unikraft",
        "containerRuntimeVersion": f"unikraft://{settings.version}",
        "kubeletVersion": f"{KUBERNETES_VERSION}-kraftlet-trio-{settings.version}",
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }


def _without_heartbeats(status: NodeStatus) -> NodeStatus:
    return attrs.evolve(
        status,
        conditions=tuple(
            attrs.evolve(condition, last_heartbeat_time=None) for condition in status.conditions
        ),
    )

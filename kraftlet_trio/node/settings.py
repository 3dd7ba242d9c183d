"""What a user may decide about the Node object."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kraftlet_trio.kubernetes.objects import Taint

DEFAULT_TAINT = Taint(key="virtual-kubelet.io/provider", value="ukc", effect="NoSchedule")


@attrs.frozen(kw_only=True)
class Capacity:
    """What a node offers to the scheduler."""

    cpu: int
    memory_mib: int
    pods: int
    volumes_mib: int


@attrs.frozen(kw_only=True)
class CapacityCaps:
    """The most that a node offers, whatever its account has; None: all of it.

    Nodes that share an account need them: each knows no more than the whole account's quotas.
    """

    cpu: int | None = None
    memory_mib: int | None = None
    pods: int | None = None


DOCUMENTED_CAPACITY = Capacity(cpu=64, memory_mib=32768, pods=64, volumes_mib=20480)


@attrs.frozen(kw_only=True)
class NodeSettings:
    name: str
    version: str
    """Of this daemon."""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    """Added to the built-in ones, and before them, but for the node's name and kind."""
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    taint: Taint | None = DEFAULT_TAINT
    """Keeps off what does not ask for the cloud. None: all Pods may come."""
    architecture: str = "amd64"
    internal_ip: str = ""
    """Where the API server reaches the kubelet API; none is published when empty."""
    kubelet_port: int = 10250
    provider_id: str = attrs.field()
    """Written once: the API server never lets it change."""
    platform_health_condition: bool = True
    """Whether the node shows ``UnikraftPlatformHealthy``."""
    caps: CapacityCaps = CapacityCaps()
    fallback_capacity: Capacity = DOCUMENTED_CAPACITY
    """Advertised where the account has no quota of its own, as administrators have none. The
    default is what the platform's documentation shows for an account."""

    @provider_id.default
    def _provider_id(self) -> str:
        return f"unikraft://{self.name}"

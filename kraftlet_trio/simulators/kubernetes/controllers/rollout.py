"""How large a Deployment's ReplicaSets shall be next. Pure.

Source: the deployment controller's ``rolling.go`` and ``recreate.go``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from kraftlet_trio.simulators.kubernetes.resources import Json


@attrs.frozen(kw_only=True)
class Size:
    """A ReplicaSet as the arithmetic sees it."""

    name: str
    wanted: int
    """``spec.replicas``."""
    available: int


@attrs.frozen(kw_only=True)
class Limits:
    surge: int
    """Replicas there may be beyond those asked for."""
    unavailable: int
    """Replicas that may be missing of those asked for."""


def limits_of(spec: Json) -> Limits:
    """Percentages count of the replicas: surge rounded up, unavailable down, never both 0."""
    rolling, replicas = spec["strategy"].get("rollingUpdate", {}), spec["replicas"]
    surge = math.ceil(_resolved(rolling.get("maxSurge", "25%"), replicas))
    unavailable = math.floor(_resolved(rolling.get("maxUnavailable", "25%"), replicas))
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(surge=surge, unavailable=min(unavailable, replicas))


def _resolved(value: int | str, replicas: int) -> float:
    if isinstance(value, int):
        return value
    return int(value.removesuffix("%")) * replicas / 100


def rolling_sizes(
    replicas: int, limits: Limits, new: Size, old: Sequence[Size]
) -> Mapping[str, int]:
    """The sets to resize now, by name; empty while there is something to wait for, or at the end.

    *old* is sorted by age, the oldest first.
    """
    total = new.wanted + sum(size.wanted for size in old)
    if new.wanted > replicas:
        return {new.name: replicas}
    if new.wanted < replicas and total < replicas + limits.surge:
        room = replicas + limits.surge - total
        return {new.name: min(new.wanted + room, replicas)}
    least = replicas - limits.unavailable
    spare = total - least - (new.wanted - new.available)
    if spare <= 0:
        return {}
    shrunk = _without_unhealthy(old, spare)
    removed = sum(size.wanted - shrunk[size.name] for size in old)
    available = new.available + sum(size.available for size in old)
    shrunk = _shrunk(old, shrunk, min(spare - removed, available - least))
    return {size.name: shrunk[size.name] for size in old if shrunk[size.name] != size.wanted}


def _without_unhealthy(old: Sequence[Size], spare: int) -> dict[str, int]:
    """First to go are those that serve nobody."""
    sizes = {}
    for size in old:
        fewer = min(spare, max(size.wanted - size.available, 0))
        sizes[size.name] = size.wanted - fewer
        spare -= fewer
    return sizes


def _shrunk(old: Sequence[Size], sizes: Mapping[str, int], spare: int) -> dict[str, int]:
    shrunk = dict(sizes)
    for size in old:
        fewer = min(max(spare, 0), shrunk[size.name])
        shrunk[size.name] -= fewer
        spare -= fewer
    return shrunk

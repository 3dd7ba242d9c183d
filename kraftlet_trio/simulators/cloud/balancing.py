"""Which member of a service group gets the next request: decided at once, from what is there."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kraftlet_trio.cloud.objects import RUNNING, STANDBY, STARTING
from kraftlet_trio.simulators.cloud.records import Instance


@attrs.frozen
class Pass:
    """It goes to *instance*, which runs."""

    instance: Instance
    wake: Instance | None = None
    """All that run are at the soft limit, so this one is to wake up for those to come."""


@attrs.frozen
class Await:
    """Nobody runs: it waits for *instance*, which is starting, or has to be woken from standby."""

    instance: Instance


@attrs.frozen
class Refuse:
    """No member can take it: none is there, or all have reached the hard limit."""

    overloaded: bool


Choice = Pass | Await | Refuse


def choose(members: Iterable[Instance], *, soft_limit: int, hard_limit: int) -> Choice:
    """Choose the member with the fewest in flight, and of several the one longest without a turn.

    Above the soft limit one in standby is woken, while the request goes to one that runs
    (reference, balancing; where exactly that request goes is not documented).
    """
    by_state: dict[str, list[Instance]] = {RUNNING: [], STARTING: [], STANDBY: []}
    everybody = list(members)
    for member in everybody:
        if member.state in by_state:
            by_state[member.state].append(member)
    running, starting, standby = by_state.values()
    dozing = [one for one in everybody if one.is_falling_asleep]
    if ready := [one for one in running if one.traffic.in_flight < hard_limit]:
        room = sum(soft_limit - one.traffic.in_flight for one in (*running, *starting))
        wake = standby[0] if standby and room <= 0 else None
        return Pass(_take_turn(ready, everybody), wake=wake)
    on_their_way = [one for one in starting if one.traffic.in_flight < soft_limit] or standby
    waiting = (
        on_their_way or dozing or [one for one in starting if one.traffic.in_flight < hard_limit]
    )
    if waiting:
        return Await(_take_turn(waiting, everybody))
    return Refuse(overloaded=bool(running or starting))


def _take_turn(candidates: list[Instance], everybody: list[Instance]) -> Instance:
    chosen = min(candidates, key=lambda one: (one.traffic.in_flight, one.traffic.turn))
    chosen.traffic.turn = 1 + max(one.traffic.turn for one in everybody)
    return chosen

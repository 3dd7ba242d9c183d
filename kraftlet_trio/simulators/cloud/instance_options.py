"""What a request says about an instance beside what it runs: schedules, autokill, permissions."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import Any

from kraftlet_trio.simulators.cloud.calendar_events import read_calendar_event
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier, read_identifier
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.records import Autokill
from kraftlet_trio.simulators.cloud.service_spec import MOST_AUTOKILL_MS
from kraftlet_trio.simulators.cloud.validation import valid_arguments, valid_name

_ACTIONS = ("start", "stop", "delete", "exec")
_MOST_REQUESTS = 10**12
SCHED_PRIORITIES = ("normal", "medium", "high", "admin")


def read_schedules(items: list[Members]) -> tuple[dict[str, Any], ...]:
    schedules = tuple(read_schedule(item) for item in items)
    if len({schedule["name"] for schedule in schedules}) < len(schedules):
        raise invalid("Repeated schedule name")
    return schedules


def read_schedule(members: Members) -> dict[str, Any]:
    """A schedule as stored: ``name``, ``when``, ``action``, and ``args`` of an exec."""
    schedule: dict[str, Any] = {
        "name": valid_name(members.required_text("name")),
        "when": members.required_text("when"),
        "action": members.choice("action", _ACTIONS),
    }
    read_calendar_event(schedule["when"])
    args = members.texts("args")
    members.done()
    if schedule["action"] is None:
        raise BadRequest("Missing member 'action' in a schedule")
    if schedule["action"] == "exec":
        if not args:
            raise invalid("A schedule that executes something needs 'args'")
        schedule["args"] = list(valid_arguments(args))
    return schedule


def read_autokill(members: Members) -> Autokill:
    autokill = Autokill(
        time_ms=members.integer("time_ms", 0, MOST_AUTOKILL_MS) or 0,
        num_requests=members.integer("num_requests", 0, _MOST_REQUESTS) or 0,
    )
    members.done()
    return autokill


def read_dependencies(items: list[Members]) -> tuple[Identifier, ...]:
    return tuple(read_dependency(item) for item in items)


def read_dependency(members: Members) -> Identifier:
    identifier = read_identifier(members)
    members.done()
    return identifier


def read_address(members: Members, name: str) -> str:
    """An address inside the guest's network; empty for the derived one."""
    text = members.text(name)
    if text is None:
        return ""
    try:
        return str(IPv4Address(text))
    except AddressValueError as error:
        raise invalid(f"Invalid address '{text[:80]}' for '{name}'") from error


def check_permissions(members: Members) -> None:
    """Take what only some accounts may set. Raises ``ItemError`` where it is set."""
    if (members.choice("type", ("micro", "full")) or "micro") != "micro":
        raise _not_allowed("Instances of type 'full' are")
    if members.integer("gpus", 0, 1):
        raise _not_allowed("GPUs are")
    if members.children("network_interfaces"):
        raise _not_allowed("Network interfaces of one's own are")
    if (members.choice("sched_priority", SCHED_PRIORITIES) or "normal") != "normal":
        raise _not_allowed("Scheduling priorities are")


def _not_allowed(what: str) -> ItemError:
    return ItemError(ErrorCode.NOT_ALLOWED, f"{what} not enabled for your account")

"""What instances are made from: an image, a template, another instance or a checkpoint."""

from __future__ import annotations

import attrs

from kraftlet_trio.cloud.objects import RUNNING, STANDBY, STOPPED
from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier, read_identifier
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.records import Instance
from kraftlet_trio.simulators.cloud.service_spec import read_autokill_ms

_FIXED = ("image", "args", "env", "memory_mb", "vcpus")
"""What an instance takes over as it is."""
_KINDS = ("template", "branch_from", "checkpoint")
_OF_SOURCE = {
    "template": "creating from a template",
    "branch_from": "branching from an existing instance",
    "checkpoint": "creating from a checkpoint",
}


@attrs.frozen(kw_only=True)
class Preparation:
    """How a template is to be made if there is none yet."""

    create_args: Members
    timeout_s: int
    """0 for none."""
    autokill_ms: int


@attrs.frozen(kw_only=True)
class Origin:
    kind: str
    source: Identifier
    preparation: Preparation | None = None


def read_origin(members: Members) -> Origin | None:
    """None for an image. Raises ``ItemError`` if there is more than one, or what it rules out."""
    given = [kind for kind in _KINDS if kind in members]
    if not given:
        return None
    kind = given[0]
    for other in (*given[1:], *(["image"] if "image" in members else [])):
        raise ItemError(ErrorCode.NOT_BOTH, f"Cannot specify '{other}' when '{kind}' is set")
    for name in _FIXED:
        if name in members:
            raise invalid(f"Cannot specify '{name}' when {_OF_SOURCE[kind]}")
    child = members.child(kind)
    assert child is not None
    preparation = _read_preparation(child) if kind == "template" else None
    origin = Origin(kind=kind, source=read_identifier(child), preparation=preparation)
    child.done()
    if preparation is not None and not origin.source.name:
        raise invalid("A template is prepared by name")
    return origin


def _read_preparation(members: Members) -> Preparation | None:
    prepare = members.flag("prepare") or False
    create_args = members.child("create_args")
    timeout_s = members.integer("prepare_timeout_s", 0) or 0
    autokill_ms = read_autokill_ms(members)
    if not prepare:
        return None
    if create_args is None:
        raise BadRequest("Missing member 'create_args' of a template to prepare")
    return Preparation(create_args=create_args, timeout_s=timeout_s, autokill_ms=autokill_ms)


def find_source(account: Account, origin: Origin) -> Instance:
    """Raises ``ItemError`` if it is not there, or in no state to make instances of."""
    match origin.kind:
        case "template":
            return account.templates.find(origin.source)
        case "checkpoint":
            checkpoint = account.checkpoints.find(origin.source)
            if checkpoint.state != "checkpoint":
                raise ItemError(
                    ErrorCode.WRONG_STATE,
                    "Failed to create instance from checkpoint: "
                    f"'{checkpoint.name}' is {checkpoint.state}",
                )
            return checkpoint
        case _:
            source = account.instances.find(origin.source)
            if source.state not in (RUNNING, STANDBY, STOPPED):
                raise ItemError(
                    ErrorCode.WRONG_STATE, f"Cannot branch from VM in state '{source.state}'"
                )
            return source

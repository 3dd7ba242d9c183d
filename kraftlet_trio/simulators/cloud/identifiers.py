"""How requests name resources: by UUID or by name, never both."""

from __future__ import annotations

import attrs

from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.validation import valid_uuid


@attrs.frozen
class Identifier:
    """Either a UUID or a name."""

    uuid: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"uuid '{self.uuid}'" if self.uuid else f"name '{self.name}'"


def read_identifier(members: Members) -> Identifier:
    """Exactly one of ``uuid`` and ``name``."""
    uuid, name = members.text("uuid"), members.text("name")
    if uuid is not None and name is not None:
        raise ItemError(ErrorCode.NOT_BOTH, "Cannot specify both 'uuid' and 'name'")
    if uuid is not None:
        return Identifier(uuid=valid_uuid(uuid))
    if not name:
        raise ItemError(ErrorCode.MISSING_IDENTIFIER, "Either 'uuid' or 'name' is needed")
    return Identifier(name=name)

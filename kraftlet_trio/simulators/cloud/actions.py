"""Operations on instances, as the audit stream tells them apart."""

from __future__ import annotations

import random
from uuid import UUID

import attrs


def new_uuid() -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


@attrs.define(eq=False)
class Action:
    """One operation, from what caused it to where the instance comes to rest."""

    kind: str
    """``start``, ``stop``, ``drain``, ``suspend`` or ``restart``."""
    origin: str
    """What caused it: ``api``, ``guest``, ``proxy``, ``restart`` and others."""
    uuid: str = attrs.field(factory=new_uuid)
    told: bool = False
    """Whether its first change has been told: those that follow are only observed."""

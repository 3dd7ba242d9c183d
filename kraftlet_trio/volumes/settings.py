"""How claims become volumes."""

from __future__ import annotations

import attrs

from kraftlet_trio.mapping.names import Naming


@attrs.frozen(kw_only=True)
class ClaimSettings:
    namespace: str
    """Where the Lease lives by which the daemons of a cluster elect their provisioner."""
    naming: Naming = attrs.field(factory=Naming)

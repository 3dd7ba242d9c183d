"""The API server's audit log: what the daemon asked for, and what it was refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs


@attrs.define
class AuditLog:
    """Reads on from where it stopped, so that each test sees its own requests only."""

    path: Path
    _position: int = 0

    def refused(self) -> list[str]:
        """Requests of the daemon since the last call that its rights did not cover."""
        with self.path.open("rb") as log:
            log.seek(self._position)
            fresh = log.read()
        complete = fresh[: fresh.rfind(b"\n") + 1]
        self._position += len(complete)
        entries = (json.loads(line) for line in complete.splitlines())
        return sorted(
            {f"{entry['verb']} {entry['requestURI']}" for entry in entries if _was_refused(entry)}
        )


def _was_refused(entry: dict[str, Any]) -> bool:
    """Not so where the object is what cannot be: an event in a namespace that is on its way out
    is a 403, too."""
    decision = entry.get("annotations", {}).get("authorization.k8s.io/decision")
    return decision == "forbid" or entry.get("responseStatus", {}).get("code") == 401

"""What a user may decide about reading registries."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class RegistrySettings:
    """How images are looked up in their registries."""

    ca_file: Path | None = None
    """Trusted beside the public authorities."""
    plain_hosts: frozenset[str] = frozenset()
    """``host[:port]`` of those that are spoken to without TLS."""
    architecture: str = "amd64"
    """Which image of several is meant, by its name in Go."""

"""What a user may decide about the node's own ports."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class KubeletAPISettings:
    """Where the node itself listens."""

    host: str
    port: int
    address: str
    """The address that callers know it by; may be empty."""
    cert_file: Path | None = None
    """Without one the node signs a certificate itself."""
    key_file: Path | None = None
    rotate_server_certificates: bool = False
    """The cluster is asked to sign one; the node's own serves until then."""
    client_ca_file: Path | None = None
    """Who signs client certificates; None for what the cluster publishes."""
    health_host: str = ""
    health_port: int = 10248

"""Kubeconfig files for the bed's identities."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.bed.certificates import Pair


def write_kubeconfig(path: Path, *, server: str, ca: Path, user: Pair | str) -> Path:
    """*user* is a client certificate or a bearer token."""
    match user:
        case Pair(certificate=certificate, key=key):
            credentials = {"client-certificate": str(certificate), "client-key": str(key)}
        case token:
            credentials = {"token": token}
    # JSON is YAML.
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "e2e",
                        "cluster": {"server": server, "certificate-authority": str(ca)},
                    }
                ],
                "users": [{"name": "user", "user": credentials}],
                "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "user"}}],
                "current-context": "e2e",
            }
        )
    )
    path.chmod(0o600)
    return path

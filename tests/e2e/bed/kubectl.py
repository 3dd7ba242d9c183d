"""kubectl, as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs

# The wheel that brings kubectl puts it beside the interpreter.
KUBECTL = Path(sys.executable).parent / "kubectl"


class KubectlError(Exception):
    """kubectl ended with an error; the text is what it said."""


@attrs.frozen
class Kubectl:
    kubeconfig: Path
    home: Path
    """Of the discovery cache, which must not be shared with other clusters."""

    def __call__(
        self, *arguments: str | Path, stdin: str | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Raises KubectlError with what kubectl printed to its standard error."""
        done = subprocess.run(
            [KUBECTL, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home)},
        )
        if done.returncode:
            command = " ".join(str(argument) for argument in arguments)
            raise KubectlError(f"kubectl {command}: {done.stderr.strip()}")
        return done

    def json(self, *arguments: str | Path) -> Any:
        """The answer of a command that takes ``-o json``; None where nothing was found."""
        text = self(*arguments, "--output=json", "--ignore-not-found").stdout
        return json.loads(text) if text.strip() else None

    def items(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """The items of a ``get`` of many."""
        found = self.json("get", *arguments)
        return list(found["items"]) if found else []

    def apply(self, *objects: dict[str, Any]) -> None:
        self(
            "apply",
            "--filename=-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
        )

    def evict(self, pod: str) -> None:
        """As ``drain`` does. Raises KubectlError where a budget does not allow it."""
        self(
            *("create", "--raw", f"/api/v1/namespaces/default/pods/{pod}/eviction"),
            "--filename=-",
            stdin=json.dumps(
                {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
            ),
        )

"""How the end of a command is told on its error stream.

Source: Kubernetes, staging/src/k8s.io/streaming, pkg/streaming/remotecommand/status.go.
"""

from __future__ import annotations

from typing import Any

import orjson

from kraftlet_trio.streaming.remote_command import CommandEnd


def status_json(end: CommandEnd) -> bytes:
    """A ``Status``: what protocols of the version 4 and later say."""
    if end.failure:
        return _failure(
            f"Internal error occurred: {end.failure}",
            "InternalError",
            {"message": end.failure},
            code=500,
        )
    if end.exit_code == 0:
        return orjson.dumps({"metadata": {}, "status": "Success"})
    return _failure(
        _non_zero(end),
        "NonZeroExitCode",
        # Clients read it as a number of 8 bits.
        {"reason": "ExitCode", "message": str(end.exit_code & 0xFF)},
    )


def status_text(end: CommandEnd) -> bytes:
    """Earlier protocols say nothing of a success."""
    if end.failure:
        return end.failure.encode()
    return _non_zero(end).encode() if end.exit_code else b""


def _non_zero(end: CommandEnd) -> str:
    return f"command terminated with non-zero exit code: exit status {end.exit_code}"


def _failure(message: str, reason: str, cause: dict[str, str], **more: Any) -> bytes:
    status = {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {"causes": [cause]},
        **more,
    }
    return orjson.dumps(status)

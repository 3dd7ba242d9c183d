"""exec: a command inside the container, through the sandbox plugin."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.cloud.sandbox import CommandTimedOut, quoted
from kraftlet_trio.probes.means import CommandRunner
from kraftlet_trio.probes.outcome import CannotProbe, Healthy, Outcome, Unhealthy

MOST_OUTPUT_BYTES = 10 * 1024
"""Kubelet's limit."""
_SILENT_SECONDS = 15.0
"""Beyond the probe's own time: a plugin that says nothing for so long is as stuck as its guest."""


async def probe_exec(
    sandbox: CommandRunner, uuid: str, argv: Sequence[str], *, timeout_seconds: float
) -> Outcome:
    """Healthy if it exits with 0 in time. Raises ``CannotProbe`` where it cannot be run."""
    with trio.move_on_after(timeout_seconds + _SILENT_SECONDS):
        try:
            result = await sandbox.run(
                uuid, argv, timeout_seconds=timeout_seconds, most_bytes=MOST_OUTPUT_BYTES
            )
        except CommandTimedOut as error:
            return Unhealthy(str(error))
        except CloudError as error:
            raise CannotProbe(str(error)) from error
        if result.exit_code == 0:
            return Healthy()
        return Unhealthy(result.output.decode(errors="replace"))
    return Unhealthy(f"command timed out: {quoted(argv)}: the instance does not answer")

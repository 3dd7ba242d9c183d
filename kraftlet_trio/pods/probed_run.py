"""The words between a Pod's actor and the probes of its containers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import attrs

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.pod import Container

RunKey = str
"""One run of one container: another value after each restart."""


@attrs.frozen(kw_only=True)
class ProbedRun:
    """A container that runs, as it is now."""

    run: RunKey
    pod: ObjectMeta
    container: Container
    instance: Instance
    started_at: datetime
    was_started: bool
    was_ready: bool
    """What the API server's status says of this very run, so that a restart of the daemon neither
    repeats a startup probe nor takes a container out of its Services."""
    ending: bool
    """The Pod is being deleted: only readiness is still of interest."""


@attrs.frozen
class Doom:
    """The container is to be ended, and restarted by its policy."""

    kind: Literal["Liveness", "Startup"]
    message: str
    grace_seconds: float | None
    """The probe's own, where it has one."""


@attrs.frozen
class Verdict:
    """What the probes say of a run."""

    run: RunKey
    started: bool
    ready: bool
    doom: Doom | None = None

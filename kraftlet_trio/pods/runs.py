"""The present runs of a Pod's containers: their probes and hooks, and what these say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import attrs
import trio

from kraftlet_trio.kubernetes.pod import Container, PodStatus
from kraftlet_trio.mapping.container_state import RunKey, Running, container_run, run_key
from kraftlet_trio.mapping.container_status import container_id, container_status_of, runs_told
from kraftlet_trio.pods.hooks import HookKind, Hooks, HookState
from kraftlet_trio.pods.plan import Memory, Observed
from kraftlet_trio.pods.probed_run import ProbedRun
from kraftlet_trio.pods.probing import Prober
from kraftlet_trio.pods.transitions import PodEvent
from kraftlet_trio.probes.means import ProbeMeans

_HOOK_KINDS: tuple[HookKind, ...] = ("postStart", "preStop")


class Runs:
    """Keeps probes and hooks to the runs that there are; their tasks run in *nursery*."""

    def __init__(
        self,
        nursery: trio.Nursery,
        means: ProbeMeans,
        tell: Callable[[PodEvent], None],
        ring: Callable[[], None],
    ) -> None:
        self.hooks = Hooks(nursery, means, tell, ring)
        self._prober = Prober(nursery, means, tell, ring)
        self._present: frozenset[RunKey] = frozenset()

    def follow(self, observed: Observed, memory: Memory, now: datetime) -> Observed:
        """*observed* with what probes and hooks say of it."""
        reported = memory.reported or observed.pod.status
        probed = {}
        for container in _with_probes(observed):
            instance = observed.instances.get(container.name)
            if instance is not None and isinstance(
                container_run(instance, now, deleting=False), Running
            ):
                was_started, was_ready = _was(reported, memory, container, container_id(instance))
                probed[container.name] = ProbedRun(
                    run=run_key(instance),
                    pod=observed.pod.metadata,
                    container=container,
                    instance=instance,
                    started_at=instance.started_at or now,
                    was_started=was_started,
                    was_ready=was_ready,
                    ending=observed.vanished
                    or observed.pod.metadata.deletion_timestamp is not None,
                )
        self._prober.tend(probed)
        present = frozenset(map(run_key, observed.instances.values()))
        self.hooks.forget(self._present - present)
        self._present = present
        return attrs.evolve(
            observed,
            verdicts={name: self._prober.verdict(name, run.run) for name, run in probed.items()},
            hooks=dict(self._hook_states(observed)),
        )

    def _hook_states(self, observed: Observed) -> Iterator[tuple[tuple[HookKind, str], HookState]]:
        for name, instance in observed.instances.items():
            for kind in _HOOK_KINDS:
                state = self.hooks.state(kind, run_key(instance))
                if state is not None:
                    yield (kind, name), state


def _with_probes(observed: Observed) -> Iterator[Container]:
    spec = observed.pod.spec
    for container in (*spec.init_containers, *spec.containers):
        if container.startup_probe or container.liveness_probe or container.readiness_probe:
            yield container


def _was(
    reported: PodStatus, memory: Memory, container: Container, instance_id: str
) -> tuple[bool, bool]:
    """Whether the reported status says of this very run that it has started, and is ready."""
    status = container_status_of(reported, container.name)
    if (
        status is None
        or status.state.running is None
        or status.container_id != instance_id
        or memory.restarted.get(container.name) == runs_told(status)
    ):
        return False, False
    return bool(status.started), status.ready

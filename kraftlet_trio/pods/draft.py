"""A plan in the making: the steps so far, and what each container is held back by."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from kraftlet_trio.kubernetes.pod import Container, Pod, PodStatus
from kraftlet_trio.mapping.container_status import Held, container_status_of, runs_told
from kraftlet_trio.mapping.pod_status import PodFailure
from kraftlet_trio.pods.plan import (
    CreateInstance,
    Memory,
    Observed,
    Plan,
    StartInstance,
    Step,
    UpdateInstance,
)

_DEFAULT_GRACE_SECONDS = 30
"""What the API server fills in."""
_RESIZE_REFUSALS = ("Deferred", "Infeasible")
"""Any other failure passes, and leaves the resize in progress."""


@attrs.define
class Draft:
    observed: Observed
    memory: Memory
    reported: PodStatus
    """As last written, which the informer may not show yet."""
    now: datetime
    steps: list[Step] = attrs.field(factory=list, init=False)
    held: dict[str, Held] = attrs.field(factory=dict, init=False)
    watch: set[str] = attrs.field(factory=set, init=False)
    wake_at: datetime | None = attrs.field(default=None, init=False)
    unread: bool = attrs.field(default=False, init=False)
    """Something has to be read before a status can be told."""

    @property
    def pod(self) -> Pod:
        return self.observed.pod

    @property
    def grace_seconds(self) -> float:
        """Of the Pod's manifest."""
        grace = self.pod.spec.termination_grace_period_seconds
        return _DEFAULT_GRACE_SECONDS if grace is None else grace

    def containers(self) -> tuple[Container, ...]:
        """Those that are to become instances, init containers first."""
        spec = self.pod.spec
        return tuple(
            one
            for one in (*spec.init_containers, *spec.containers)
            if one.name not in self.observed.ignored
        )

    def container(self, name: str) -> Container | None:
        return next((one for one in self.containers() if one.name == name), None)

    def step(self, step: Step) -> None:
        """Take the step, unless it failed lately and has to wait."""
        failure = self.memory.failures.get(step.key)
        if failure is not None:
            match step:
                case CreateInstance(container) | StartInstance(container):
                    self.hold(container, trouble=failure.trouble)
                case UpdateInstance(container) if failure.trouble.reason in _RESIZE_REFUSALS:
                    self.hold(container, update_trouble=failure.trouble)
        if failure is not None and self.now < failure.retry_at:
            self.wake(failure.retry_at)
        else:
            self.steps.append(step)

    def hold(self, container: str, **fields: Any) -> None:
        """Note what the daemon knows of a container besides its instance."""
        self.held[container] = attrs.evolve(self.held.get(container, Held()), **fields)

    def wake(self, moment: datetime) -> None:
        self.wake_at = moment if self.wake_at is None else min(self.wake_at, moment)

    def has_restarted(self, container: Container) -> bool:
        """Whether it was started again, and that is not reported yet."""
        told = runs_told(container_status_of(self.reported, container.name))
        return self.memory.restarted.get(container.name) == told

    def plan(
        self,
        *,
        report: bool = True,
        stopped_for_good: bool = False,
        failure: PodFailure | None = None,
    ) -> Plan:
        for container in self.containers():
            self.hold(
                container.name,
                restarted=self.has_restarted(container),
                refused=self.memory.quota_refusals.get(container.name, ""),
            )
        return Plan(
            steps=tuple(self.steps),
            held=self.held,
            report=report and not self.observed.vanished and not self.unread,
            stopped_for_good=stopped_for_good,
            failure=failure,
            watch=frozenset(self.watch),
            wake_at=self.wake_at,
        )

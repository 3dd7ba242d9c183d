"""One run of a container with its probes: a worker for each, and what they say together.

Source: kubelet's pkg/kubelet/prober (worker.go, prober.go, prober_manager.go).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Literal

import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.cloud.objects import RUNNING, STANDBY
from kraftlet_trio.kubernetes.pod import Probe
from kraftlet_trio.pods.probed_run import Doom, ProbedRun, Verdict
from kraftlet_trio.pods.quiet_times import QuietTimes, scales_to_zero, sleeps
from kraftlet_trio.pods.transitions import PodEvent
from kraftlet_trio.probes.attempt import attempt_probe, needs_network
from kraftlet_trio.probes.means import ProbeMeans
from kraftlet_trio.probes.measurements import ProbedContainer, Result
from kraftlet_trio.probes.outcome import CannotProbe, Healthy, Outcome, Unhealthy
from kraftlet_trio.probes.thresholds import Streak

Kind = Literal["Startup", "Liveness", "Readiness"]

_TRIES = 3
"""For an attempt that cannot be made (kubelet's maxProbeRetries)."""


class TendedRun:
    """One run of one container, with its workers."""

    def __init__(
        self,
        now: ProbedRun,
        means: ProbeMeans,
        tell: Callable[[PodEvent], None],
        ring: Callable[[], None],
    ) -> None:
        self.now = now
        self.means = means
        self.tell = tell
        self.ring = ring
        self.quiet_times = QuietTimes()
        self.doom: Doom | None = None
        self._started = trio.Event()
        self._workers: dict[Kind, Worker] = {}
        self.unsent: list[Kind] = []
        """Probes that would need a network that there is not."""
        for kind, probe, passed in self._probes():
            if needs_network(probe) and not means.network:
                self.unsent.append(kind)
            elif not (kind == "Startup" and passed):
                self._workers[kind] = Worker(self, kind, probe, passed=passed)
        self._note_start()

    def _probes(self) -> Iterator[tuple[Kind, Probe, bool]]:
        """Each with its result before the first attempt."""
        container = self.now.container
        if container.startup_probe is not None:
            yield "Startup", container.startup_probe, self.now.was_started
        if container.liveness_probe is not None:
            yield "Liveness", container.liveness_probe, True
        if container.readiness_probe is not None:
            yield "Readiness", container.readiness_probe, self.now.was_ready

    def due_workers(self) -> Iterator[Worker]:
        for kind, worker in self._workers.items():
            if kind == "Readiness" or not self.now.ending:
                yield worker

    def update(self, run: ProbedRun) -> None:
        self.now = run
        if run.ending:
            for kind in ("Startup", "Liveness"):
                if (worker := self._workers.get(kind)) is not None:
                    worker.scope.cancel()
        self._note_start()

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.scope.cancel()

    def verdict(self) -> Verdict:
        started = self.is_started
        ready = started and self._passes("Readiness")
        return Verdict(self.now.run, started=started, ready=ready, doom=self.doom)

    @property
    def is_started(self) -> bool:
        return self.now.was_started or self._passes("Startup")

    async def started(self) -> None:
        await self._started.wait()

    def changed(self) -> None:
        """A worker's result is another one now."""
        self._note_start()
        self.ring()

    def _passes(self, kind: Kind) -> bool:
        listens = self.now.instance.net_time_us is not None
        if kind in self.unsent:
            was = self.now.was_started if kind == "Startup" else self.now.was_ready
            return was or listens
        worker = self._workers.get(kind)
        if worker is None or worker.streak.result:
            return True
        # One that fell asleep before it was found well would wait for ever: nothing wakes it but
        # its traffic, and nobody sends any while it is not ready.
        return listens and sleeps(self.now.instance) and not worker.streak.is_failed

    def _note_start(self) -> None:
        if self.is_started:
            self._started.set()


class Worker:
    """One probe of one run."""

    def __init__(self, tended: TendedRun, kind: Kind, probe: Probe, *, passed: bool) -> None:
        self.kind: Kind = kind
        self.scope = trio.CancelScope()
        self.streak = Streak(
            success_threshold=probe.success_threshold,
            failure_threshold=probe.failure_threshold,
            result=passed,
        )
        self._tended = tended
        self._probe = probe
        self._period_seconds = max(1, probe.period_seconds)
        self._tick = 0.0
        """When, on Trio's clock, the present period began."""

    async def work(self) -> None:
        """Until the run is over, or the probe has said its last."""
        with self.scope:
            await self._await_first()
            while True:
                if not await self._is_asleep():
                    outcome = await self._attempt()
                    self._tended.quiet_times.note_traffic()
                    if outcome is not None and self._is_final(outcome):
                        return
                await self._await_next()

    async def _await_first(self) -> None:
        run, since = self._tended.now, self._tended.means.since
        delay = self._probe.initial_delay_seconds - (utc_now() - run.started_at).total_seconds()
        await trio.sleep(max(0.0, delay))
        daemon_seconds = (utc_now() - since).total_seconds()
        if run.started_at < since and daemon_seconds < self._period_seconds:
            # A daemon that comes up does not try all of its Pods at once.
            await trio.sleep(random.uniform(0.0, self._period_seconds))
        self._tick = trio.current_time()
        if self.kind != "Startup" and not self._tended.is_started:
            await self._tended.started()
            if self.kind == "Readiness":
                self._tick = trio.current_time()
            else:
                self._skip_ticks()
                await self._await_tick()

    async def _await_next(self) -> None:
        await self._await_tick()
        while self._is_content():
            due = self._tended.quiet_times.due(self, self._tended.now.instance)
            if trio.current_time() >= due:
                break
            await trio.sleep_until(due)
            self._tick = trio.current_time()
        self._tended.quiet_times.enter(self)

    async def _await_tick(self) -> None:
        """One that is late comes at once, those missed meanwhile do not."""
        self._tick += self._period_seconds
        self._skip_ticks()
        await trio.sleep_until(self._tick)

    def _skip_ticks(self) -> None:
        """Go on to the last one that was due."""
        late = trio.current_time() - self._tick
        if late > 0:
            self._tick += late // self._period_seconds * self._period_seconds

    def _is_content(self) -> bool:
        """Whether all is well with an instance that may fall asleep."""
        if not scales_to_zero(self._tended.now.instance) or self.streak.healthy is False:
            return False
        verdict = self._tended.verdict()
        return verdict.started and verdict.ready and verdict.doom is None

    async def _is_asleep(self) -> bool:
        """Whether the instance sleeps, or is about to, so that an attempt would wake it."""
        instance = self._tended.now.instance
        if not scales_to_zero(instance):
            return instance.state == STANDBY
        if instance.state != RUNNING:
            return True
        try:
            return await self._tended.means.read_state(instance.uuid) != RUNNING
        except CloudError:
            return True  # for all we know

    async def _attempt(self) -> Outcome | None:
        """The outcome; None where the attempt could not be made."""
        run, problem, began = self._tended.now, "", trio.current_time()
        for _ in range(_TRIES):
            try:
                outcome = await attempt_probe(
                    self._tended.means, self._probe, run.container, run.instance
                )
            except CannotProbe as error:
                problem = str(error)
            else:
                healthy = isinstance(outcome, Healthy)
                self._measure(run, "successful" if healthy else "failed", began)
                return outcome
        self._measure(run, "unknown", began)
        self._tell(
            "Unhealthy", f"{self.kind} probe errored and resulted in unknown state: {problem}"
        )
        return None

    def _measure(self, run: ProbedRun, result: Result, began: float) -> None:
        metadata = run.pod
        probed = ProbedContainer(
            metadata.uid, metadata.namespace, metadata.name, run.container.name
        )
        seconds = trio.current_time() - began
        self._tended.means.measurements.note(probed, self.kind, result, seconds)

    def _is_final(self, outcome: Outcome) -> bool:
        """Take the outcome in; whether there is nothing left to find out about this run."""
        match outcome:
            case Healthy(warning) if warning:
                self._tell("ProbeWarning", f"{self.kind} probe warning: {warning}")
            case Unhealthy(message):
                self._tell("Unhealthy", f"{self.kind} probe failed: {message}")
        before = self.streak
        self.streak = before.after(healthy=isinstance(outcome, Healthy))
        is_final = False
        if self.kind != "Readiness" and self.streak.is_failed:
            self._tended.doom = self._doom(self.kind)
            is_final = True
        if is_final or self.streak.result != before.result:
            self._tended.changed()
        return is_final or (self.kind == "Startup" and self.streak.result)

    def _doom(self, kind: Literal["Startup", "Liveness"]) -> Doom:
        container = self._tended.now.container.name
        return Doom(
            kind,
            f"Container {container} failed {kind.lower()} probe, will be restarted",
            self._probe.termination_grace_period_seconds,
        )

    def _tell(self, reason: str, message: str) -> None:
        container = self._tended.now.container.name
        self._tended.tell(PodEvent("Warning", reason, message, container))

"""The probes of a Pod's containers: a task for each container and kind of probe.

As kubelet's prober: nothing before the initial delay, then every period; the startup probe holds
back the others; results change by thresholds; a liveness or startup probe that failed says so
once, and rests. An attempt that could not be made three times over counts for nothing. The workers
are in ``tended_run.py``.

An instance that scales to zero is neither woken nor kept awake by probes: ``pods/quiet_times.py``.

Source: kubelet's pkg/kubelet/prober (worker.go, prober.go, prober_manager.go).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from kraftlet_trio.pods.probed_run import ProbedRun, RunKey, Verdict
from kraftlet_trio.pods.tended_run import TendedRun
from kraftlet_trio.pods.transitions import PodEvent
from kraftlet_trio.probes.means import ProbeMeans


class Prober:
    """Probes the containers of one Pod; its tasks run in *nursery*."""

    def __init__(
        self,
        nursery: trio.Nursery,
        means: ProbeMeans,
        tell: Callable[[PodEvent], None],
        ring: Callable[[], None],
    ) -> None:
        """*tell* records an event on the Pod, *ring* has its actor ask for the verdicts again."""
        self._nursery = nursery
        self._means = means
        self._tell = tell
        self._ring = ring
        self._tended: dict[str, TendedRun] = {}
        self._unsent_told: set[str] = set()

    def tend(self, runs: Mapping[str, ProbedRun]) -> None:
        """Probe exactly these, by container name; called again whenever anything of them changed.

        A container without probes costs no task.
        """
        for name, tended in tuple(self._tended.items()):
            if name not in runs or runs[name].run != tended.now.run:
                tended.stop()
                del self._tended[name]
        for name, run in runs.items():
            if name in self._tended:
                self._tended[name].update(run)
            else:
                self._tended[name] = self._begin(run)

    def verdict(self, container: str, run: RunKey) -> Verdict:
        """Of a run that is tended; any other is neither started nor ready."""
        tended = self._tended.get(container)
        if tended is None or tended.now.run != run:
            return Verdict(run, started=False, ready=False)
        return tended.verdict()

    def _begin(self, run: ProbedRun) -> TendedRun:
        tended = TendedRun(run, self._means, self._tell, self._ring)
        for worker in tended.due_workers():
            self._nursery.start_soon(worker.work, name=f"{worker.kind} probe of {run.run}")
        if tended.unsent and run.container.name not in self._unsent_told:
            self._unsent_told.add(run.container.name)
            self._tell(
                PodEvent(
                    "Warning",
                    "ProbeWarning",
                    f"{' and '.join(tended.unsent)} probe over the network is not sent, as "
                    "KRAFTLET_PROBE_NETWORK is none; the container counts as started and ready "
                    "once Unikraft Cloud says that it listens",
                    run.container.name,
                )
            )
        return tended

"""A probe over time, against a small model of kubelet's worker."""

from __future__ import annotations

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.errors import CloudUnavailable
from kraftlet_trio.kubernetes.pod import ExecAction, Probe
from kraftlet_trio.pods.probed_run import ProbedRun
from kraftlet_trio.pods.probing import Prober
from tests.builders import a_container, a_pod, an_instance
from tests.probed import Guests
from tests.thoroughness import examples

PERIOD_SECONDS = 10


@attrs.define
class KubeletWorker:
    """What prober/worker.go does with the outcomes of attempts; None: it could not be made."""

    kind: str
    success_threshold: int
    failure_threshold: int
    result: bool
    on_hold: bool = False
    attempts: int = 0
    _last: bool | None = None
    _run: int = 0

    def attempt(self, outcome):
        if self.on_hold or (self.kind == "startup" and self.result):
            return
        self.attempts += 1
        if outcome is None:
            return
        self._run = self._run + 1 if outcome == self._last else 1
        self._last = outcome
        if self._run < (self.success_threshold if outcome else self.failure_threshold):
            return
        self.result = outcome
        self.on_hold = self.kind != "readiness" and not outcome


async def follow(kind, outcomes, success_threshold, failure_threshold):
    """Compare the model with a prober after each attempt."""
    probe = Probe(
        exec=ExecAction(command=("check",)),
        period_seconds=PERIOD_SECONDS,
        success_threshold=success_threshold,
        failure_threshold=failure_threshold,
    )
    model = KubeletWorker(kind, success_threshold, failure_threshold, result=kind == "liveness")
    async with trio.open_nursery() as nursery:
        guests = Guests(nursery)
        rings = []
        prober = Prober(nursery, guests.means(), lambda _: None, lambda: rings.append(1))
        container = a_container(**{f"{kind}_probe": probe})
        run = ProbedRun(
            run="1",
            pod=a_pod().metadata,
            container=container,
            instance=an_instance(),
            started_at=utc_now(),
            was_started=False,
            was_ready=False,
            ending=False,
        )
        prober.tend({"app": run})
        for number, outcome in enumerate(outcomes):
            guests.exit_code = 0 if outcome else 1
            guests.sandbox_error = CloudUnavailable("away") if outcome is None else None
            before, told = prober.verdict("app", "1"), len(rings)
            await trio.sleep(PERIOD_SECONDS if number else 1)
            model.attempt(outcome)
            verdict = prober.verdict("app", "1")
            assert verdict.started == (model.result or kind != "startup")
            assert verdict.ready == (model.result or kind == "liveness")
            assert (verdict.doom is not None) == model.on_hold
            # Whoever is not rung for looks at an old verdict.
            assert (verdict != before) == (len(rings) > told)
        tries = sum(3 if outcome is None else 1 for outcome in outcomes[: model.attempts])
        assert len(guests.commands) == tries
        prober.tend({})


@given(
    kind=st.sampled_from(["readiness", "liveness", "startup"]),
    outcomes=st.lists(st.sampled_from([True, True, False, False, None]), max_size=10),
    success_threshold=st.integers(1, 3),
    failure_threshold=st.integers(1, 3),
)
@settings(max_examples=examples(60), deadline=None)
def test_probe_does_as_kubelets_worker(kind, outcomes, success_threshold, failure_threshold):
    if kind != "readiness":
        success_threshold = 1  # the API server takes no other
    trio.run(
        follow,
        kind,
        outcomes,
        success_threshold,
        failure_threshold,
        clock=MockClock(autojump_threshold=0),
    )

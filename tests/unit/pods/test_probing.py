"""The probes of a Pod's containers over time, in a network in memory."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import attrs
import pytest
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import ScaleToZero
from kraftlet_trio.cloud.sandbox import SandboxMissing
from kraftlet_trio.kubernetes.pod import ContainerPort, ExecAction, Probe, TCPSocketAction
from kraftlet_trio.pods.probed_run import ProbedRun
from kraftlet_trio.pods.probing import Prober
from tests.builders import a_container, a_pod, an_instance
from tests.probed import Guests


def tcp(port=8080, **fields):
    return Probe(tcp_socket=TCPSocketAction(port=port), **fields)


def command(*argv, **fields):
    return Probe(exec=ExecAction(command=argv or ("check",)), **fields)


class Tended:
    """A prober with one container, and what it told."""

    def __init__(self, nursery, **means):
        self.guests = Guests(nursery)
        self.events = []
        self.rings = 0
        self.prober = Prober(nursery, self.guests.means(**means), self.events.append, self._ring)
        self.began = trio.current_time()
        self.run = None

    def _ring(self):
        self.rings += 1

    def tend(self, key="1", *, seconds=0.0, **fields):
        container = fields.pop("container", None) or (
            self.run.container if self.run else a_container()
        )
        instance = fields.pop("instance", None) or (
            self.run.instance if self.run else an_instance()
        )
        known = {"was_started": False, "was_ready": False, "ending": False}
        started_at = utc_now() - timedelta(seconds=seconds)
        if self.run is not None and self.run.run == key:
            started_at = self.run.started_at
        self.run = ProbedRun(
            run=key,
            pod=a_pod().metadata,
            container=container,
            instance=instance,
            started_at=started_at,
            **{**known, **fields},
        )
        self.prober.tend({"app": self.run})

    def leave(self):
        self.prober.tend({})

    @property
    def verdict(self):
        return self.prober.verdict("app", self.run.run)

    @property
    def started(self):
        return self.verdict.started

    @property
    def ready(self):
        return self.verdict.ready

    @property
    def attempts(self):
        """Seconds since the beginning at which connections were tried."""
        return [round(each - self.began, 3) for each in self.guests.dialled]

    def messages(self, reason="Unhealthy"):
        return [event.message for event in self.events if event.reason == reason]


@pytest.fixture
def tended(nursery):
    return Tended(nursery)


async def test_container_without_probes_is_ready_at_once_and_costs_no_task(
    nursery, autojump_clock, tended
):
    tasks = len(nursery.child_tasks)
    tended.tend()
    assert (tended.started, tended.ready) == (True, True)
    assert len(nursery.child_tasks) == tasks


async def test_unknown_run_is_neither_started_nor_ready(autojump_clock, tended):
    tended.tend()
    verdict = tended.prober.verdict("app", "another")
    assert (verdict.started, verdict.ready) == (False, False)


async def test_readiness_gates_ready_and_rings_when_it_flips(autojump_clock, tended):
    tended.tend(container=a_container(readiness_probe=tcp(period_seconds=5)))
    await trio.sleep(12)
    assert (tended.started, tended.ready, tended.rings) == (True, False, 0)
    tended.guests.listen(8080)
    await trio.sleep(5)
    assert (tended.ready, tended.rings) == (True, 1)
    assert tended.attempts == [0, 5, 10, 15]
    assert tended.messages()[0].startswith(
        "Readiness probe failed: dial tcp 10.0.0.1:8080: connect: connection refused"
    )


async def test_ready_container_stays_so_until_the_failure_threshold(autojump_clock, tended):
    tended.guests.listen(8080)
    tended.tend(container=a_container(readiness_probe=tcp(failure_threshold=2)))
    await trio.sleep(1)
    tended.guests.unlisten(8080)
    await trio.sleep(10)
    assert tended.ready
    await trio.sleep(10)
    assert not tended.ready


async def test_success_threshold_is_counted_in_a_row(autojump_clock, tended):
    tended.guests.listen(8080)
    tended.tend(container=a_container(readiness_probe=tcp(period_seconds=1, success_threshold=3)))
    await trio.sleep(1.5)
    tended.guests.unlisten(8080)
    await trio.sleep(1)
    tended.guests.listen(8080)
    await trio.sleep(2)
    assert not tended.ready
    await trio.sleep(1)
    assert tended.ready


async def test_nothing_is_tried_before_the_initial_delay(autojump_clock, tended):
    probe = tcp(initial_delay_seconds=7, period_seconds=10)
    tended.tend(container=a_container(readiness_probe=probe))
    await trio.sleep(20)
    assert tended.attempts == [7, 17]


async def test_liveness_dooms_the_run_once_and_rests(autojump_clock, tended):
    probe = tcp(period_seconds=1, failure_threshold=3, termination_grace_period_seconds=4)
    tended.tend(container=a_container(liveness_probe=probe))
    assert (tended.ready, tended.verdict.doom) == (True, None)
    await trio.sleep(60)
    doom = tended.verdict.doom
    assert (doom.kind, doom.grace_seconds) == ("Liveness", 4)
    assert doom.message == "Container app failed liveness probe, will be restarted"
    assert tended.attempts == [0, 1, 2]
    assert tended.rings == 1


async def test_next_run_is_probed_anew(autojump_clock, tended):
    probe = tcp(period_seconds=1, failure_threshold=1)
    tended.tend(container=a_container(liveness_probe=probe))
    await trio.sleep(0.5)
    assert tended.verdict.doom
    tended.guests.listen(8080)
    tended.tend("2")
    await trio.sleep(5)
    assert tended.verdict.doom is None


async def test_startup_holds_back_the_others_and_readiness_follows_at_once(autojump_clock, tended):
    tended.tend(
        container=a_container(
            startup_probe=tcp(8081, period_seconds=1, failure_threshold=30),
            readiness_probe=tcp(period_seconds=100),
            liveness_probe=tcp(8082, period_seconds=4),
        )
    )
    tended.guests.listen(8080)
    await trio.sleep(5.5)
    assert (tended.started, tended.ready) == (False, False)
    tended.guests.listen(8081)
    await trio.sleep(0.75)
    assert (tended.started, tended.ready) == (True, True)
    assert tended.attempts == [0, 1, 2, 3, 4, 5, 6, 6]
    await trio.sleep(10)
    assert tended.attempts[8:] == [8, 12, 16]


async def test_startup_that_fails_dooms_the_run(autojump_clock, tended):
    probe = tcp(period_seconds=1, failure_threshold=2)
    tended.tend(container=a_container(startup_probe=probe, liveness_probe=tcp()))
    await trio.sleep(30)
    assert tended.verdict.doom.kind == "Startup"
    assert not tended.started
    assert len(tended.attempts) == 2


async def test_timeout_is_a_failure(autojump_clock, tended):
    tended.guests.hang = True
    tended.tend(container=a_container(liveness_probe=tcp(timeout_seconds=2, failure_threshold=1)))
    await trio.sleep(1.9)
    assert tended.verdict.doom is None
    await trio.sleep(0.2)
    assert tended.verdict.doom is not None
    assert "i/o timeout" in tended.messages()[0]
    assert "KRAFTLET_PROBE_NETWORK" in tended.messages()[0]


async def test_late_attempt_does_not_pile_up_ticks(autojump_clock, tended):
    tended.guests.hang = True
    tended.tend(container=a_container(readiness_probe=tcp(timeout_seconds=5, period_seconds=2)))
    await trio.sleep(16)
    assert tended.attempts == [0, 5, 10, 15]


async def test_attempt_that_cannot_be_made_is_tried_thrice_and_counts_for_nothing(
    autojump_clock, tended
):
    tended.guests.sandbox_error = SandboxMissing("no plugin")
    tended.tend(container=a_container(liveness_probe=command(failure_threshold=1)))
    await trio.sleep(25)
    assert tended.verdict.doom is None
    assert len(tended.guests.commands) == 9
    assert (
        tended.messages() == ["Liveness probe errored and resulted in unknown state: no plugin"] * 3
    )


async def test_unknown_port_name_counts_for_nothing(autojump_clock, tended):
    tended.tend(container=a_container(liveness_probe=tcp("web", failure_threshold=1)))
    await trio.sleep(1)
    assert tended.verdict.doom is None
    assert "no port named 'web'" in tended.messages()[0]


async def test_port_is_found_by_name(autojump_clock, tended):
    port = ContainerPort(name="web", container_port=8080)
    tended.guests.listen(8080)
    tended.tend(container=a_container(ports=(port,), readiness_probe=tcp("web")))
    await trio.sleep(1)
    assert tended.ready


async def test_exec_passes_by_exit_code(autojump_clock, tended):
    tended.guests.exit_code, tended.guests.output = 3, b"not yet"
    tended.tend(container=a_container(readiness_probe=command("sh", "-c", "exit 3")))
    await trio.sleep(1)
    assert not tended.ready
    assert tended.messages() == ["Readiness probe failed: not yet"]
    tended.guests.exit_code = 0
    await trio.sleep(10)
    assert tended.ready
    assert tended.guests.commands[0] == ("uuid-of-app", ("sh", "-c", "exit 3"))


async def test_exec_that_takes_too_long_fails(autojump_clock, tended):
    tended.guests.command_seconds = 5
    tended.tend(container=a_container(liveness_probe=command("slow", failure_threshold=1)))
    await trio.sleep(2)
    assert tended.verdict.doom is not None
    assert tended.messages() == [
        'Liveness probe failed: command timed out: "slow" timed out after 1s'
    ]


async def test_plugin_that_does_not_answer_is_a_failure(autojump_clock, tended):
    tended.guests.stuck = True
    tended.tend(container=a_container(liveness_probe=command(failure_threshold=1)))
    await trio.sleep(20)
    assert tended.verdict.doom is not None
    assert "does not answer" in tended.messages()[0]


async def test_restart_of_the_daemon_keeps_what_the_status_says(autojump_clock, tended):
    probe = tcp(period_seconds=10, failure_threshold=2)
    tended.tend(
        seconds=500,
        container=a_container(startup_probe=tcp(1), readiness_probe=probe),
        was_started=True,
        was_ready=True,
    )
    assert (tended.started, tended.ready) == (True, True)
    await trio.sleep(9.9)
    assert tended.ready  # one attempt at most: the first comes after a random part of a period
    await trio.sleep(10.2)
    assert not tended.ready


async def test_what_ran_before_the_daemon_is_probed_after_a_random_delay(nursery, autojump_clock):
    firsts = set()
    for _ in range(5):
        tended = Tended(nursery)
        tended.tend(seconds=500, container=a_container(readiness_probe=tcp(period_seconds=100)))
        await trio.sleep(100)
        firsts.add(tended.attempts[0])
        tended.leave()
    assert len(firsts) == 5


async def test_deletion_stops_liveness_and_startup_but_not_readiness(autojump_clock, tended):
    tended.guests.listen(8080)
    container = a_container(
        liveness_probe=tcp(1, failure_threshold=3), readiness_probe=tcp(failure_threshold=1)
    )
    tended.tend(container=container)
    await trio.sleep(1)
    assert tended.ready
    tended.guests.unlisten(8080)
    tended.tend(ending=True)
    await trio.sleep(60)
    assert tended.verdict.doom is None
    assert not tended.ready


async def test_run_that_is_over_is_not_probed_any_more(nursery, autojump_clock, tended):
    tended.tend(container=a_container(liveness_probe=tcp(), readiness_probe=tcp()))
    await trio.sleep(1)
    tended.leave()
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks
    assert len(tended.attempts) == 2


class TestScaleToZero:
    def sleepy(self, policy="on", cooldown_ms=3000, **fields):
        scaling = ScaleToZero(policy=policy, cooldown_time_ms=cooldown_ms)
        return an_instance(scale_to_zero=scaling, **fields)

    @pytest.mark.parametrize("policy", ["on", "idle"])
    async def test_sleeper_is_never_probed_and_keeps_its_result(
        self, autojump_clock, tended, policy
    ):
        tended.guests.listen(8080)
        container = a_container(liveness_probe=tcp(), readiness_probe=tcp())
        tended.tend(container=container, instance=self.sleepy(policy))
        await trio.sleep(1)
        assert tended.ready
        attempts = len(tended.attempts)
        tended.guests.unlisten(8080)
        tended.tend(instance=self.sleepy(policy, state=cloud.STANDBY))
        await trio.sleep(600)
        assert len(tended.attempts) == attempts
        assert (tended.started, tended.ready, tended.verdict.doom) == (True, True, None)
        tended.tend(instance=self.sleepy(policy))
        await trio.sleep(60)
        assert not tended.ready
        assert tended.verdict.doom

    async def test_one_that_falls_asleep_before_it_was_found_well_does_not_wait_for_ever(
        self, autojump_clock, tended
    ):
        container = a_container(startup_probe=tcp(), readiness_probe=tcp())
        tended.tend(container=container, instance=self.sleepy())
        await trio.sleep(1)
        assert not tended.ready
        tended.tend(instance=self.sleepy(state=cloud.STANDBY))
        assert not tended.ready  # it was never heard to listen
        tended.tend(instance=self.sleepy(state=cloud.STANDBY, net_time_us=1200))
        assert (tended.started, tended.ready) == (True, True)

    async def test_one_that_falls_asleep_unwell_is_not_ready(self, autojump_clock, tended):
        container = a_container(readiness_probe=tcp(failure_threshold=1))
        tended.tend(container=container, instance=self.sleepy())
        await trio.sleep(1)
        tended.tend(instance=self.sleepy(state=cloud.STANDBY, net_time_us=1200))
        assert not tended.ready

    async def test_state_is_read_right_before_each_attempt(self, autojump_clock, tended):
        tended.guests.listen(8080)
        tended.guests.state = cloud.STANDBY  # the feed has not told yet
        tended.tend(container=a_container(readiness_probe=tcp()), instance=self.sleepy())
        await trio.sleep(35)
        assert not tended.attempts
        assert tended.guests.states_read == 4

    async def test_awake_ones_are_probed_without_reading_their_state(self, autojump_clock, tended):
        tended.tend(container=a_container(readiness_probe=tcp()))
        await trio.sleep(35)
        assert tended.guests.states_read == 0

    async def test_probes_alone_do_not_keep_it_awake(self, autojump_clock, tended):
        for port in (8080, 8081):
            tended.guests.listen(port)
        container = a_container(
            liveness_probe=tcp(period_seconds=1),
            readiness_probe=tcp(8081, period_seconds=3, initial_delay_seconds=2),
        )
        tended.tend(container=container, instance=self.sleepy(cooldown_ms=10_000))
        await trio.sleep(200)
        rounds = sorted(set(tended.attempts))[5:]
        assert len(rounds) >= 5
        gaps = [after - before for before, after in pairwise(rounds)]
        assert min(gaps) > 10
        # Both are probed in each round.
        assert len(tended.attempts) >= 2 * len(rounds)

    async def test_trouble_is_looked_into_every_period(self, autojump_clock, tended):
        tended.guests.listen(8080)
        probe = tcp(period_seconds=1, failure_threshold=3)
        tended.tend(
            container=a_container(liveness_probe=probe), instance=self.sleepy(cooldown_ms=60_000)
        )
        await trio.sleep(1)
        tended.guests.unlisten(8080)
        await trio.sleep(65 + 3)
        assert tended.verdict.doom


class TestWithoutNetwork:
    @pytest.fixture
    def tended(self, nursery):
        return Tended(nursery, network=False)

    async def test_listening_stands_in_for_probes_that_are_not_sent(self, autojump_clock, tended):
        container = a_container(startup_probe=tcp(), readiness_probe=tcp(), liveness_probe=tcp())
        tended.tend(container=container)
        await trio.sleep(60)
        assert (tended.started, tended.ready) == (False, False)
        tended.tend(instance=attrs.evolve(tended.run.instance, net_time_us=1200))
        assert (tended.started, tended.ready, tended.verdict.doom) == (True, True, None)
        assert not tended.attempts
        assert len(tended.messages("ProbeWarning")) == 1
        tended.tend("2")
        assert len(tended.messages("ProbeWarning")) == 1

    async def test_commands_are_run_all_the_same(self, autojump_clock, tended):
        container = a_container(startup_probe=tcp(), liveness_probe=command(failure_threshold=1))
        tended.guests.exit_code = 1
        tended.tend(container=container)
        await trio.sleep(30)
        assert not tended.guests.commands
        tended.tend(instance=attrs.evolve(tended.run.instance, net_time_us=1200))
        await trio.sleep(30)
        assert tended.verdict.doom

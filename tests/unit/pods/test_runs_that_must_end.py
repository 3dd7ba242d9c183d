"""Runs that probes, hooks or something new bring to an end, and how they are stopped."""

import attrs
import pytest

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import InstanceUpdate
from kraftlet_trio.kubernetes.pod import ExecAction, Lifecycle, LifecycleHandler
from kraftlet_trio.mapping.annotations import Refresh
from kraftlet_trio.mapping.container_state import run_key
from kraftlet_trio.mapping.instance_updates import SpecHash
from kraftlet_trio.pods.hooks import HookDone, HookFailed, HookRunning
from kraftlet_trio.pods.plan import Memory, StartHook, StopInstance, UpdateInstance
from kraftlet_trio.pods.probed_run import Doom, Verdict
from tests.builders import NOW, a_container, a_pod, a_status, an_instance, running, waiting
from tests.unit.pods.planning import NEVER, deleted_pod, plan_for, seconds, steps_for

HOOK = LifecycleHandler(exec=ExecAction(command=("/bin/true",)))
UUID = "uuid-of-app"


def hooked(post_start=None, pre_stop=None):
    lifecycle = Lifecycle(post_start=post_start, pre_stop=pre_stop)
    return attrs.evolve(a_container(), lifecycle=lifecycle)


def verdict(instance, *, started=True, ready=True, doom=None):
    return {"app": Verdict(run_key(instance), started, ready, doom)}


def begun(**fields):
    return Memory(stop_begun={UUID: NOW}, stop_asked={UUID}, **fields)


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
@pytest.mark.parametrize("grace", [None, 3.0])
def test_doomed_run_is_stopped_within_the_probes_grace_or_the_pods(policy, grace):
    instance = an_instance()
    doom = Doom("Liveness", "it hangs", grace)
    pod = a_pod(status=a_status(running()), restart_policy=policy)
    steps = steps_for(pod, instance, verdicts=verdict(instance, doom=doom))
    why = "failed liveness probe, will be restarted"
    assert steps == (StopInstance("app", UUID, grace or 30.0, why),)


def test_probes_verdict_is_what_the_status_will_say():
    instance = an_instance()
    plan = plan_for(a_pod(), instance, verdicts=verdict(instance, ready=False))
    assert plan.held["app"].started
    assert not plan.held["app"].ready
    plan = plan_for(a_pod(), instance, verdicts=verdict(instance, started=False))
    assert not plan.held["app"].started


def test_post_start_hook_runs_once_in_a_run_and_holds_back_its_start():
    pod = a_pod(containers=[hooked(post_start=HOOK)], status=a_status(waiting()))
    first = plan_for(pod, an_instance())
    assert first.steps == (StartHook("postStart", "app", UUID),)
    assert not first.held["app"].started
    for state, started in ((HookRunning(), False), (HookDone(), True)):
        plan = plan_for(pod, an_instance(), hooks={("postStart", "app"): state})
        assert plan.steps == ()
        assert plan.held["app"].started == started


def test_run_that_an_earlier_daemon_saw_through_its_hook_has_no_second_one():
    pod = a_pod(containers=[hooked(post_start=HOOK)], status=a_status(running()))
    assert steps_for(pod, an_instance()) == ()


def test_failed_post_start_hook_ends_the_run():
    pod = a_pod(containers=[hooked(post_start=HOOK)], status=a_status(running(started=False)))
    [stop] = steps_for(pod, an_instance(), hooks={("postStart", "app"): HookFailed("no")})
    assert (stop.container, stop.why) == ("app", "failed its postStart hook")


def test_pre_stop_hook_goes_before_the_stop_and_counts_against_the_grace():
    pod = deleted_pod(running(), containers=[hooked(pre_stop=HOOK)], grace=20)
    memory = Memory(stopping_since=NOW)
    assert steps_for(pod, an_instance(), memory=memory) == (
        StartHook("preStop", "app", UUID, 20.0),
    )
    under_way = {"hooks": {("preStop", "app"): HookRunning()}, "memory": memory}
    plan = plan_for(pod, an_instance(), now=NOW + seconds(5), **under_way)
    assert (plan.steps, plan.wake_at) == ((), NOW + seconds(20))
    done = {"hooks": {("preStop", "app"): HookDone()}, "memory": memory}
    [stop] = steps_for(pod, an_instance(), now=NOW + seconds(5), **done)
    assert stop == StopInstance("app", UUID, 15.0)


@pytest.mark.parametrize("state", [cloud.STANDBY, cloud.STARTING, cloud.STOPPING])
def test_no_hook_is_run_where_nothing_is_awake(state):
    pod = deleted_pod(running(), containers=[hooked(pre_stop=HOOK)], grace=20)
    [step] = steps_for(pod, an_instance(state=state), memory=Memory(stopping_since=NOW))
    assert isinstance(step, StopInstance)


def test_run_that_does_not_stop_in_time_is_killed_once():
    instance = an_instance(state=cloud.STOPPING)
    verdicts = verdict(instance, doom=Doom("Liveness", "it hangs", None))
    waiting_for_it = plan_for(a_pod(), instance, memory=begun(), verdicts=verdicts)
    assert (waiting_for_it.steps, waiting_for_it.wake_at) == ((), NOW + seconds(30))
    later = NOW + seconds(30)
    [kill] = steps_for(a_pod(), instance, memory=begun(), verdicts=verdicts, now=later)
    assert kill.force
    forced = begun(stop_forced={UUID})
    assert steps_for(a_pod(), instance, memory=forced, verdicts=verdicts, now=later) == ()


def test_hook_that_took_all_the_grace_leaves_two_seconds():
    instance = an_instance()
    pod = a_pod(containers=[hooked(pre_stop=HOOK)], grace_seconds=1)
    known = {
        "memory": Memory(stop_begun={UUID: NOW}),
        "verdicts": verdict(instance, doom=Doom("Liveness", "it hangs", None)),
        "hooks": {("preStop", "app"): HookDone()},
    }
    [stop] = steps_for(pod, instance, now=NOW + seconds(0.9), **known)
    assert stop.drain_seconds == 2.0


OLD, NEW = SpecHash("1", "s", "z"), SpecHash("2", "s", "z")


def made_of(spec, **fields):
    return an_instance(tags=(f"kraftlet:spec={spec}",), **fields)


def test_outdated_instance_is_updated_and_then_restarted_without_back_off():
    assert steps_for(a_pod(), made_of(OLD), specs={"app": NEW}) == (UpdateInstance("app", UUID),)
    pending = made_of(NEW, updates=(InstanceUpdate(prop="image", status="pending"),))
    [stop] = steps_for(a_pod(), pending, specs={"app": NEW})
    assert stop.again
    assert steps_for(a_pod(), made_of(NEW), specs={"app": NEW}) == ()


@pytest.mark.parametrize(
    ("refresh", "stopped"),
    [(Refresh.OFF, False), (Refresh.NEXT_START, False), (Refresh.RESTART, True)],
)
def test_new_files_end_a_run_only_where_that_is_asked(refresh, stopped):
    pending = an_instance(updates=(InstanceUpdate(prop="roms", status="pending"),))
    assert bool(steps_for(a_pod(), pending, refresh=refresh)) == stopped


def test_pod_that_never_restarts_is_not_restarted_for_something_new():
    pending = made_of(NEW, updates=(InstanceUpdate(prop="image", status="pending"),))
    assert steps_for(a_pod(**NEVER), pending, specs={"app": NEW}) == ()
    assert steps_for(a_pod(**NEVER), made_of(OLD), specs={"app": NEW}) == ()


def test_instance_asleep_takes_something_new_over_as_it_wakes():
    pending = an_instance(
        state=cloud.STANDBY, updates=(InstanceUpdate(prop="image", status="pending"),)
    )
    assert steps_for(a_pod(), pending) == ()

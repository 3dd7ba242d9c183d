import pytest

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.pods.plan import (
    CreateInstance,
    DeleteInstance,
    LetGo,
    LookUpInstances,
    Memory,
    Plan,
    RecordOwnership,
    StartInstance,
    StopInstance,
)
from tests.builders import (
    NOW,
    a_new_instance,
    a_pod,
    a_sidecar,
    a_status,
    a_stopped_instance,
    an_exited_instance,
    an_instance,
    running,
    terminated,
    waiting,
)
from tests.unit.pods.planning import (
    a_failure,
    delete,
    deleted_pod,
    plan_for,
    seconds,
    steps_for,
    stop,
)


def stopping(**fields):
    return Memory(stopping_since=NOW, **fields)


@pytest.mark.parametrize(
    "state", [cloud.STARTING, cloud.RUNNING, cloud.STANDBY, cloud.DRAINING, cloud.STOPPING]
)
def test_a_deleted_pod_is_stopped_within_its_grace_period(state):
    plan = plan_for(deleted_pod(running(), grace=20), an_instance(state=state), memory=stopping())
    assert plan.steps == (stop(seconds=20),)
    assert plan.watch == {"uuid-of-app"}
    assert plan.wake_at == NOW + seconds(20)
    assert plan.report
    assert not plan.stopped_for_good


def test_a_stop_is_asked_for_once_and_then_forced_at_the_deadline():
    pod, memory = deleted_pod(running()), stopping(stop_asked={"uuid-of-app"})
    waiting_for_it = plan_for(pod, an_instance(), memory=memory, now=NOW + seconds(29))
    assert (waiting_for_it.steps, waiting_for_it.wake_at) == ((), NOW + seconds(30))
    assert steps_for(pod, an_instance(), memory=memory, now=NOW + seconds(30)) == (delete(),)


def test_a_stop_that_failed_is_asked_for_again_with_the_grace_that_is_left():
    pod, memory = deleted_pod(running()), stopping(failures={"stop app": a_failure()})
    early = plan_for(pod, an_instance(), memory=memory)
    assert (early.steps, early.wake_at) == ((), NOW + seconds(5))
    later = steps_for(pod, an_instance(), memory=memory, now=NOW + seconds(5))
    assert later == (stop(seconds=25),)


def test_a_pod_deleted_without_grace_is_stopped_by_force():
    assert steps_for(deleted_pod(running(), grace=0), an_instance(), memory=stopping()) == (
        delete(),
    )


def test_an_instance_that_sleeps_through_its_stop_is_deleted():
    asleep = an_instance(state=cloud.STANDBY)
    assert steps_for(deleted_pod(running()), asleep, memory=stopping()) == (stop(),)
    told = stopping(stop_asked={"uuid-of-app"})
    assert steps_for(deleted_pod(running()), asleep, memory=told) == (delete(),)


def test_a_second_deletion_with_less_grace_brings_the_deadline_forward():
    memory = stopping(stop_asked={"uuid-of-app"})
    at_5 = {"memory": memory, "now": NOW + seconds(5)}
    assert plan_for(
        deleted_pod(running(), grace=60), an_instance(), **at_5
    ).wake_at == NOW + seconds(60)
    assert plan_for(
        deleted_pod(running(), grace=8), an_instance(), **at_5
    ).wake_at == NOW + seconds(8)
    assert steps_for(deleted_pod(running(), grace=5), an_instance(), **at_5) == (delete(),)


def test_nothing_is_made_started_or_owned_for_a_deleted_pod():
    for instances in ([], [a_new_instance()], [an_exited_instance(exit_code=1)]):
        plan = plan_for(deleted_pod(terminated(exit_code=1)), *instances, owned=False)
        assert not any(
            isinstance(step, CreateInstance | StartInstance | RecordOwnership)
            for step in plan.steps
        )


def test_sidecars_are_stopped_after_all_others_the_last_one_first():
    pod = deleted_pod(
        init=[a_sidecar("one"), a_sidecar("two"), "setup"], containers=["a", "b"], grace=20
    )
    every = {name: an_instance(name) for name in ("one", "two", "setup", "a", "b")}
    gone = []
    for names in (["setup", "a", "b"], ["two"], ["one"]):
        alive = [one for name, one in every.items() if name not in gone]
        stopped = [an_exited_instance(name) for name in gone]
        plan = plan_for(pod, *alive, *stopped, memory=stopping())
        assert sorted(step.container for step in plan.steps) == sorted(names)
        assert {type(step) for step in plan.steps} == {StopInstance}
        gone += names


def test_the_end_of_a_deleted_pod_is_reported_while_its_instances_can_still_tell_it():
    pod = deleted_pod(running())
    plan = plan_for(pod, an_exited_instance(), memory=stopping())
    assert plan.steps == ()
    assert plan.report
    assert plan.stopped_for_good
    reported = stopping(reported=a_status(terminated(), phase="Succeeded"))
    plan = plan_for(pod, an_exited_instance(), memory=reported)
    assert plan.steps == (delete(),)
    assert not plan.report


def test_the_reason_of_a_stop_is_waited_for_in_a_deletion_too():
    unexplained = a_stopped_instance(stop_reason=0, seconds_ago=0)
    plan = plan_for(deleted_pod(running()), unexplained, memory=stopping())
    assert (plan.steps, plan.watch) == ((), {"uuid-of-app"})
    assert not plan.stopped_for_good
    assert plan.wake_at is not None


TERMINAL = a_status(terminated(), phase="Succeeded")


def test_instances_that_stand_for_no_container_go_too():
    stray = an_instance("stray")
    pod = deleted_pod(running())
    plan = plan_for(pod, surplus=[stray], memory=stopping())
    assert plan.steps == (StopInstance("web-stray", "uuid-of-stray", 30.0),)
    stray = an_exited_instance("stray")
    plan = plan_for(pod, surplus=[stray], memory=stopping(reported=TERMINAL))
    assert plan.steps == (DeleteInstance("web-stray", "uuid-of-stray"),)


def test_a_creation_that_went_unanswered_is_looked_up_before_the_pod_is_said_to_have_ended():
    memory = stopping(uncertain={"app"})
    pod = deleted_pod(waiting())
    plan = plan_for(pod, memory=memory)
    assert plan.steps == (LookUpInstances(frozenset({"app"})),)
    assert not plan.stopped_for_good
    memory.uncertain.clear()
    assert steps_for(pod, an_instance(), memory=memory) == (stop(),), "it was there"
    assert plan_for(pod, memory=memory).stopped_for_good, "it was not"


def test_a_look_up_does_not_hold_up_the_stopping_of_what_is_known():
    pod = deleted_pod(containers=["a", "b"])
    steps = steps_for(pod, an_instance("a"), memory=stopping(uncertain={"b"}))
    assert set(steps) == {LookUpInstances(frozenset({"b"})), stop("a")}


def test_a_pod_is_let_go_after_its_instances_and_its_groups():
    pod = deleted_pod(running())
    memory = stopping(reported=TERMINAL)
    assert steps_for(pod, an_exited_instance(), memory=memory) == (delete(),)
    assert steps_for(pod, memory=memory, groups_released=False) == ()
    assert steps_for(pod, memory=memory) == (LetGo(),)
    memory.let_go = True
    assert plan_for(pod, memory=memory) == Plan(report=False, finished=True)


def test_a_pod_that_others_hold_is_let_go_once():
    pod = deleted_pod(grace=0, status=TERMINAL)
    assert steps_for(pod) == (LetGo(),)
    assert plan_for(pod, owned=False) == Plan(report=False, finished=True)
    assert steps_for(deleted_pod(status=TERMINAL), owned=False) == (LetGo(),), (
        "the API server has yet to hear that the Pod has ended"
    )


def test_a_pod_that_ended_before_it_was_deleted_is_cleared_away_at_once():
    pod = deleted_pod(status=TERMINAL)
    assert steps_for(pod, an_exited_instance()) == (delete(),)
    assert steps_for(pod) == (LetGo(),)


def test_a_vanished_pod_is_stopped_by_force_and_let_go_of_without_a_word():
    pod = a_pod(status=a_status(running()))
    plan = plan_for(pod, an_instance(), vanished=True, memory=stopping())
    assert (plan.steps, plan.report) == ((delete(),), False)
    plan = plan_for(pod, an_exited_instance(), vanished=True, memory=stopping())
    assert (plan.steps, plan.report) == ((delete(),), False)
    uncertain = stopping(uncertain={"app"})
    assert steps_for(pod, vanished=True, memory=uncertain) == (LookUpInstances(frozenset({"app"})),)
    held = plan_for(pod, vanished=True, groups_released=False)
    assert (held.steps, held.report, held.finished) == ((), False, False)
    assert plan_for(pod, vanished=True) == Plan(report=False, finished=True)

import attrs
import pytest

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.kubernetes.pod import PodStatus
from kraftlet_trio.mapping.container_status import Held, Trouble, runs_told
from kraftlet_trio.mapping.pod_status import pod_status
from kraftlet_trio.pods.lifecycle import next_steps
from kraftlet_trio.pods.plan import (
    BackOff,
    CreateInstance,
    Memory,
    RecordOwnership,
)
from tests.builders import (
    NOW,
    a_new_instance,
    a_pod,
    a_sidecar,
    a_status,
    a_stopped_instance,
    ago,
    an_exited_instance,
    an_instance,
    an_instance_without_image,
    running,
    terminated,
    waiting,
)
from tests.unit.pods.planning import (
    JOINED,
    NEVER,
    ON_FAILURE,
    POLICIES,
    a_failure,
    deleted_pod,
    observed,
    plan_for,
    seconds,
    start,
    steps_for,
    stop,
)

# Ownership


def test_a_pod_is_owned_before_anything_of_it_is_made():
    assert steps_for(a_pod(), owned=False) == (RecordOwnership(frozenset()),)


def test_service_groups_are_noted_before_they_are_made():
    wanted = {"wanted_groups": {"app": "new"}, "recorded_groups": frozenset({"old"})}
    assert steps_for(a_pod(), **wanted) == (RecordOwnership(frozenset({"old", "new"})),)


def test_a_group_that_is_no_longer_wanted_stays_noted():
    assert steps_for(a_pod(), recorded_groups=frozenset({"old"})) == (CreateInstance("app"),)


# Bringing up


def test_containers_are_made_side_by_side():
    pod = a_pod(containers=["a", "b"])
    assert steps_for(pod) == (CreateInstance("a"), CreateInstance("b"))


def test_one_that_fails_to_come_up_does_not_hold_up_the_others():
    pod = a_pod(containers=["a", "b"])
    assert steps_for(pod, memory=Memory(failures={"run a": a_failure()})) == (CreateInstance("b"),)


def test_what_boots_is_watched():
    plan = plan_for(a_pod(), an_instance(state=cloud.STARTING))
    assert (plan.steps, plan.watch) == ((), {"uuid-of-app"})


@pytest.mark.parametrize(
    ("policy", "instance", "watched"),
    [
        ("Always", an_instance(), False),
        ("OnFailure", an_instance(), True),
        ("Never", an_instance(), True),
        ("Always", an_instance(private_ip=""), True),
    ],
)
def test_what_runs_is_watched_only_as_long_as_news_is_expected(policy, instance, watched):
    plan = plan_for(a_pod(restart_policy=policy), instance)
    assert plan.steps == ()
    assert bool(plan.watch) is watched
    assert plan.wake_at is None


def test_a_group_that_is_not_ready_is_waited_for():
    plan = plan_for(
        a_pod(containers=["a", "b"]),
        wanted_groups={"a": "web-a"},
        recorded_groups=frozenset({"web-a"}),
    )
    assert plan.steps == (CreateInstance("b"),)
    assert plan.held["a"] == Held()


def test_what_keeps_a_group_from_existing_is_told():
    groups = {"wanted_groups": {"app": "web"}, "recorded_groups": frozenset({"web"})}
    plan = plan_for(a_pod(), **groups, group_troubles={"web": "no domain left"})
    assert plan.steps == ()
    assert plan.held["app"].trouble == Trouble("CreateContainerError", "no domain left")
    assert steps_for(a_pod(), **groups, ready_groups=frozenset({"web"})) == (CreateInstance("app"),)


def test_a_claim_that_cannot_be_mounted_is_told_and_waited_for():
    plan = plan_for(a_pod(containers=["a", "b"]), claim_troubles={"a": "claim not found"})
    assert plan.steps == (CreateInstance("b"),)
    assert plan.held["a"].trouble == Trouble("CreateContainerConfigError", "claim not found")
    crashed = {"claim_troubles": {"app": "claim not found"}}
    pod = a_pod(status=a_status(terminated(exit_code=1)))
    assert steps_for(pod, an_exited_instance(exit_code=1), **crashed) == (start(restart=True),), (
        "an instance that exists has its volumes"
    )


def test_without_autostart_instances_are_made_but_not_started():
    pod = a_pod(init=["setup", a_sidecar()])
    assert steps_for(a_pod(), autostart=False) == (CreateInstance("app"),)
    assert steps_for(a_pod(), a_new_instance(), autostart=False) == ()
    assert steps_for(a_pod(), a_new_instance()) == (start(),)
    assert steps_for(pod, a_new_instance("setup"), autostart=False) == (start("setup"),), (
        "an init container has to run for the others to be made"
    )
    proxy = a_new_instance("proxy")
    done = {"status": a_status(init=[terminated("setup")])}
    pod = a_pod(init=["setup", a_sidecar()], **done)
    assert steps_for(pod, an_exited_instance("setup"), proxy, autostart=False) == (start("proxy"),)


# Init containers


def test_init_containers_run_one_after_another_before_the_others():
    pod = a_pod(init=["one", "two"])
    assert steps_for(pod) == (CreateInstance("one"),)
    assert steps_for(pod, a_new_instance("one")) == (start("one"),)
    plan = plan_for(pod, an_instance("one"))
    assert (plan.steps, plan.watch) == ((), {"uuid-of-one"})
    succeeded = an_exited_instance("one")
    pod = a_pod(init=["one", "two"], status=a_status(init=[terminated("one")]))
    assert steps_for(pod, succeeded) == (CreateInstance("two"),)
    both = a_status(init=[terminated("one"), terminated("two")])
    pod = a_pod(init=["one", "two"], status=both)
    assert steps_for(pod, succeeded, an_exited_instance("two")) == (CreateInstance("app"),)


def test_a_success_is_reported_before_the_next_one_relies_on_it():
    """Its instance might be lost meanwhile, and an init container that succeeded not run again."""
    assert steps_for(a_pod(init=["setup"]), an_exited_instance("setup")) == ()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_finished_init_container_does_not_run_again_when_its_instance_is_lost(policy):
    pod = a_pod(init=["setup"], restart_policy=policy, status=a_status(init=[terminated("setup")]))
    assert steps_for(pod) == (CreateInstance("app"),)


@pytest.mark.parametrize(
    "status", [PodStatus(), a_status(running()), a_status(terminated(exit_code=1))]
)
def test_no_init_container_runs_beside_the_others_or_after_them(status):
    pod = a_pod(init=["setup"], status=status)
    steps = steps_for(pod, an_instance()) + steps_for(pod, an_exited_instance(exit_code=1))
    assert not any(step.container == "setup" for step in steps)


@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
@pytest.mark.parametrize(
    ("restarts", "wait"), [(0, 1), (1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (50, 300)]
)
@pytest.mark.parametrize("instances", [[an_exited_instance("setup", exit_code=1)], []])
def test_a_failed_init_container_is_retried_from_1_s_to_5_min(policy, restarts, wait, instances):
    """Whether its instance is still there or not."""
    failed = terminated("setup", exit_code=1, restart_count=restarts)
    pod = a_pod(init=["setup"], restart_policy=policy, status=a_status(init=[failed]))
    due = ago(10) + seconds(wait)
    early = plan_for(pod, *instances, now=due - seconds(0.5))
    assert (early.steps, early.wake_at) == ((), due)
    if instances:
        assert early.held["setup"].back_off_seconds == wait
    again = start("setup", restart=True) if instances else CreateInstance("setup")
    assert steps_for(pod, *instances, now=due) == (again,)


def test_a_failed_init_container_ends_a_pod_that_must_not_restart():
    pod = a_pod(init=["setup"], **NEVER, status=a_status(init=[terminated("setup", exit_code=1)]))
    plan = plan_for(pod, an_exited_instance("setup", exit_code=1))
    assert (plan.steps, plan.wake_at) == ((), None)


def test_what_was_reported_of_an_end_stands_when_its_explanation_comes_late():
    lost = a_status(init=[terminated("setup", exit_code=137)])
    late = an_exited_instance("setup")
    assert steps_for(a_pod(init=["setup"], status=lost), late) == (start("setup", restart=True),)
    assert steps_for(a_pod(init=["setup"], **NEVER, status=lost), late) == ()


# Sidecars


def test_a_sidecar_is_waited_for_only_until_it_runs():
    pod = a_pod(init=[a_sidecar(), "setup"])
    assert steps_for(pod) == (CreateInstance("proxy"),)
    assert steps_for(pod, a_new_instance("proxy")) == (start("proxy"),)
    assert steps_for(pod, an_instance("proxy", cloud.STARTING)) == ()
    assert steps_for(pod, an_instance("proxy")) == (CreateInstance("setup"),)


@pytest.mark.parametrize("exit_code", [0, 1])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_sidecar_always_runs_again_and_holds_up_nobody_once_the_others_began(policy, exit_code):
    ended = terminated("proxy", exit_code=exit_code)
    pod = a_pod(
        init=[a_sidecar()],
        containers=["a", "b"],
        restart_policy=policy,
        status=a_status(running("a"), init=[ended]),
    )
    instances = [an_exited_instance("proxy", exit_code=exit_code), an_instance("a")]
    assert steps_for(pod, *instances) == (start("proxy", restart=True), CreateInstance("b"))


@pytest.mark.parametrize(("policy", "exit_code"), [("Never", 0), ("Never", 3), ("OnFailure", 0)])
def test_sidecars_are_stopped_when_the_others_are_done_the_last_one_first(policy, exit_code):
    """They would go on for ever, and the Pod's job would never be done."""
    pod = a_pod(
        init=[a_sidecar("one"), a_sidecar("two")],
        restart_policy=policy,
        status=a_status(terminated(exit_code=exit_code), init=[running("one"), running("two")]),
        grace_seconds=12,
    )
    done = an_exited_instance(exit_code=exit_code)
    both = [done, an_instance("one"), an_instance("two")]
    plan = plan_for(pod, *both)
    assert (plan.steps, plan.watch) == ((stop("two", 12),), {"uuid-of-two"})
    asked = Memory(stop_asked={"uuid-of-two"})
    assert steps_for(pod, *both, memory=asked) == ()
    first = [done, an_instance("one"), an_exited_instance("two")]
    assert steps_for(pod, *first, memory=asked) == (stop("one", 12),)
    neither = [done, an_exited_instance("one"), an_exited_instance("two")]
    assert steps_for(pod, *neither) == ()


def test_sidecars_are_stopped_when_an_init_container_has_failed_for_good():
    pod = a_pod(
        init=[a_sidecar(), "setup"],
        **NEVER,
        status=a_status(init=[running("proxy"), terminated("setup", exit_code=1)]),
    )
    failed = an_exited_instance("setup", exit_code=1)
    assert steps_for(pod, an_instance("proxy"), failed) == (stop("proxy"),)


def test_sidecars_run_as_long_as_something_is_to_run_again():
    pod = a_pod(
        init=[a_sidecar()],
        **ON_FAILURE,
        status=a_status(terminated(exit_code=1), init=[running("proxy")]),
    )
    crashed = an_exited_instance(exit_code=1)
    assert steps_for(pod, an_instance("proxy"), crashed) == (start(restart=True),)


# Ends and restarts


@pytest.mark.parametrize(
    ("policy", "exit_code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
@pytest.mark.parametrize("instances", [True, False], ids=["there", "lost"])
def test_the_restart_policy_decides_whether_a_container_runs_again(
    policy, exit_code, again, instances
):
    ended = an_exited_instance("a", exit_code=exit_code)
    pod = a_pod(
        containers=["a", "b"],
        restart_policy=policy,
        status=a_status(terminated("a", exit_code), running("b")),
    )
    steps = steps_for(pod, *([ended] if instances else []), an_instance("b"))
    anew = start("a", restart=True) if instances else CreateInstance("a")
    assert steps == ((anew,) if again else ())


def test_an_end_is_reported_before_the_next_run_begins():
    crashed = an_exited_instance(exit_code=1)
    assert steps_for(a_pod(status=a_status(running())), crashed) == ()
    assert steps_for(a_pod(), crashed) == ()
    before = a_status(terminated(exit_code=1, container_id="unikraft://another"))
    assert (
        steps_for(
            a_pod(
                status=a_status(attrs.evolve(before.container_statuses[0], state=running().state))
            ),
            crashed,
        )
        == ()
    )
    assert steps_for(a_pod(status=a_status(terminated(exit_code=1))), crashed) == (
        start(restart=True),
    )


def test_an_end_within_the_second_of_the_one_before_is_reported_too():
    pod = a_pod(status=a_status(terminated(exit_code=1)))
    memory = Memory(restarted={"app": runs_told(terminated(exit_code=1))})
    plan = plan_for(pod, an_exited_instance(exit_code=1), memory=memory)
    assert plan.steps == ()
    assert plan.held["app"].restarted
    memory.reported = a_status(terminated(exit_code=1, restart_count=1))
    plan = plan_for(pod, an_exited_instance(exit_code=1), memory=memory)
    assert plan.steps == (start(restart=True),)
    assert not plan.held["app"].restarted


@pytest.mark.parametrize(
    ("back_off", "wait"), [(None, 0), (10, 10), (20, 20), (160, 160), (300, 300)]
)
def test_a_container_that_crashes_again_waits_longer(back_off, wait):
    memory = Memory()
    if back_off:
        memory.back_offs["app"] = BackOff(seconds=back_off, bumped_at=ago(20))
    pod = a_pod(status=a_status(terminated(exit_code=1)))
    due = ago(10) + seconds(wait)
    crashed = an_exited_instance(exit_code=1)
    if wait:
        early = plan_for(pod, crashed, memory=memory, now=due - seconds(0.5))
        assert (early.steps, early.wake_at) == ((), due)
        assert early.held["app"].back_off_seconds == wait
    assert steps_for(pod, crashed, memory=memory, now=due) == (start(restart=True),)


def test_a_crash_loop_is_reported_along_with_the_end():
    memory = Memory(back_offs={"app": BackOff(seconds=20, bumped_at=ago(15))})
    plan = plan_for(
        a_pod(status=a_status(running())), an_exited_instance(exit_code=1), memory=memory
    )
    assert plan.steps == ()
    assert plan.held["app"].back_off_seconds == 20


def test_a_daemon_that_was_restarted_does_not_let_a_container_loop_at_once():
    crashed = terminated(exit_code=1, restart_count=3)
    plan = plan_for(a_pod(status=a_status(crashed)), an_exited_instance(exit_code=1))
    assert plan.steps == ()
    assert plan.held["app"].back_off_seconds == 40


@pytest.mark.parametrize("policy", POLICIES)
def test_an_image_that_cannot_be_fetched_is_tried_again_under_each_policy(policy):
    pod = a_pod(restart_policy=policy, status=a_status(waiting(reason="ErrImagePull")))
    failed = an_instance_without_image(seconds_ago=9)
    plan = plan_for(pod, failed)
    assert (plan.steps, plan.wake_at) == ((), NOW + seconds(1))
    assert plan.held["app"].back_off_seconds == 10
    assert steps_for(pod, failed, now=NOW + seconds(1)) == (start(restart=True),)


def test_a_stop_is_judged_only_once_its_reason_is_known():
    plan = plan_for(a_pod(), a_stopped_instance(stop_reason=0, seconds_ago=0.5))
    assert plan.steps == ()
    assert plan.watch == {"uuid-of-app"}
    assert NOW < plan.wake_at <= NOW + seconds(2)


def test_a_lost_instance_is_reported_before_it_is_made_anew():
    assert steps_for(a_pod(status=a_status(running()))) == ()
    lost = a_status(terminated(exit_code=137))
    assert steps_for(a_pod(status=lost)) == (CreateInstance("app"),)


def test_an_instance_that_keeps_vanishing_is_made_anew_with_back_off():
    pod = a_pod(status=a_status(terminated(exit_code=137, restart_count=2)))
    plan = plan_for(pod)
    assert (plan.steps, plan.wake_at) == ((), ago(10) + seconds(20))


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_terminal_pod_is_left_alone(phase):
    pod = a_pod(status=a_status(terminated(exit_code=1), phase=phase))
    plan = plan_for(pod, owned=False)
    assert (plan.steps, plan.report, plan.wake_at) == ((), False, None)


def test_a_sidecar_that_was_started_while_its_pod_ended_is_stopped():
    ended = a_status(terminated(), init=[terminated("proxy", exit_code=137)], phase="Succeeded")
    pod = a_pod(init=[a_sidecar()], **NEVER, status=ended)
    plan = plan_for(pod, an_instance("proxy", cloud.STARTING), an_exited_instance())
    assert (plan.steps, plan.report) == ((stop("proxy"),), False)


def test_what_was_written_last_counts_although_the_store_does_not_show_it_yet():
    pod = a_pod(status=a_status(running()))
    memory = Memory(reported=a_status(terminated(exit_code=1)))
    assert steps_for(pod, an_exited_instance(exit_code=1), memory=memory) == (start(restart=True),)


# Failures of steps


def test_a_step_that_failed_waits_and_its_trouble_is_told():
    memory = Memory(failures={"run app": a_failure()})
    plan = plan_for(a_pod(), memory=memory)
    assert (plan.steps, plan.wake_at) == ((), NOW + seconds(5))
    assert plan.held["app"].trouble == Trouble("CreateContainerError", "no more room")
    retried = plan_for(a_pod(), memory=memory, now=NOW + seconds(5))
    assert retried.steps == (CreateInstance("app"),)
    assert retried.held["app"].trouble, "told until it works"


def test_a_start_that_failed_waits_too():
    memory = Memory(failures={"run app": a_failure()})
    plan = plan_for(a_pod(), a_new_instance(), memory=memory)
    assert (plan.steps, plan.wake_at) == ((), NOW + seconds(5))
    assert plan.held["app"].trouble


def test_only_what_keeps_a_container_from_running_is_told_as_its_trouble():
    memory = Memory(failures={"delete app": a_failure(), "stop app": a_failure()})
    replaced = plan_for(a_pod(), a_new_instance(), memory=memory, **JOINED)
    assert replaced.wake_at == NOW + seconds(5)
    stopped = plan_for(deleted_pod(running()), an_instance(), memory=memory)
    assert replaced.held == stopped.held == {"app": Held()}


@pytest.mark.parametrize(
    ("instances", "status"),
    [
        ([an_instance("a")], running("a")),
        ([an_instance("a", cloud.STARTING)], waiting("a")),
        ([], terminated("a", exit_code=137)),
    ],
    ids=["runs", "starts", "lost for good"],
)
def test_trouble_is_forgotten_once_the_step_is_no_longer_wanted(instances, status):
    """As after a creation that failed for all we know, and did not."""
    memory = Memory(failures={"run a": a_failure()})
    pod = a_pod(containers=["a", "b"], **NEVER, status=a_status(status, running("b")))
    assert plan_for(pod, *instances, an_instance("b"), memory=memory).held["a"] == Held()


def test_an_ownership_that_could_not_be_recorded_waits():
    plan = plan_for(a_pod(), owned=False, memory=Memory(failures={"own": a_failure()}))
    assert (plan.steps, plan.wake_at) == ((), NOW + seconds(5))


def test_a_whole_life_in_a_few_plans():
    """From nothing to running: own, create, wait, rest."""
    pod, memory = a_pod(), Memory()
    assert steps_for(pod, owned=False, memory=memory) == (RecordOwnership(frozenset()),)
    assert steps_for(pod, memory=memory) == (CreateInstance("app"),)
    assert plan_for(pod, an_instance(state=cloud.STARTING), memory=memory).watch
    view = observed(pod, an_instance())
    plan = next_steps(view, memory, NOW)
    status = pod_status(
        pod,
        pod.status,
        view.instances,
        plan.held,
        host_ip="",
        now=NOW,
        stopped_for_good=plan.stopped_for_good,
    )
    memory.reported = status
    assert next_steps(view, memory, NOW) == plan
    assert (plan.steps, plan.watch, plan.wake_at) == ((), frozenset(), None)

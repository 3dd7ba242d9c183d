"""A Service that comes later: membership of a group is fixed at an instance's creation."""

import pytest

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.pods.plan import (
    CreateInstance,
    Memory,
)
from tests.builders import (
    a_new_instance,
    a_pod,
    a_status,
    a_stopped_instance,
    an_exited_instance,
    an_instance,
    an_instance_without_image,
    running,
    terminated,
)
from tests.unit.pods.planning import (
    JOINED,
    NEVER,
    ON_FAILURE,
    delete,
    plan_for,
    steps_for,
    stop,
)


@pytest.mark.parametrize("group", [None, "other"])
@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
def test_an_instance_is_replaced_by_one_in_the_group_of_its_service(policy, group):
    pod = a_pod(restart_policy=policy, status=a_status(running()), grace_seconds=7)
    plan = plan_for(pod, an_instance(group=group), **JOINED)
    assert (plan.steps, plan.watch) == ((stop(seconds=7),), {"uuid-of-app"})
    asked = Memory(stop_asked={"uuid-of-app"})
    for state in (cloud.RUNNING, cloud.DRAINING, cloud.STOPPING):
        assert steps_for(pod, an_instance(state=state), memory=asked, **JOINED) == ()
    stopped = a_stopped_instance(stop_reason=15, exit_code=0)
    assert steps_for(pod, stopped, **JOINED) == (), "its end is reported first"
    pod = a_pod(restart_policy=policy, status=a_status(terminated(exit_code=143)))
    assert steps_for(pod, stopped, **JOINED) == (delete(),)
    assert steps_for(pod, **JOINED) == (CreateInstance("app"),)
    assert steps_for(pod, an_instance(group="web"), **JOINED) == ()


def test_an_instance_that_was_not_started_yet_is_replaced_at_once():
    assert steps_for(a_pod(), a_new_instance(), **JOINED) == (delete(),)
    assert steps_for(a_pod(), a_new_instance(), autostart=False, **JOINED) == (delete(),)


def test_an_instance_whose_image_failed_is_replaced_when_it_is_due():
    failed = an_instance_without_image()
    assert steps_for(a_pod(), failed, **JOINED) == (delete(),)


def test_a_service_does_not_end_a_container_that_must_not_run_again():
    pod = a_pod(**NEVER, status=a_status(running()))
    assert steps_for(pod, an_instance(), **JOINED) == ()


@pytest.mark.parametrize("reported", [running("a"), terminated("a")])
def test_a_service_takes_no_finished_container_away(reported):
    """Its end may not have been reported, and its log is still of use."""
    pod = a_pod(containers=["a", "b"], **ON_FAILURE, status=a_status(reported, running("b")))
    joined = JOINED | {"wanted_groups": {"a": "web"}}
    assert steps_for(pod, an_exited_instance("a"), an_instance("b"), **joined) == ()


def test_a_service_that_goes_takes_no_instance_along():
    pod = a_pod(status=a_status(running()))
    assert steps_for(pod, an_instance(group="web")) == ()

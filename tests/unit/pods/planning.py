"""Plans for Pods as they are seen, and the steps in them."""

from datetime import timedelta

from kraftlet_trio.kubernetes.pod import PodStatus
from kraftlet_trio.mapping.container_status import Trouble
from kraftlet_trio.pods.lifecycle import next_steps
from kraftlet_trio.pods.plan import (
    DeleteInstance,
    Failure,
    Memory,
    Observed,
    StartInstance,
    StopInstance,
)
from tests.builders import (
    NOW,
    a_pod,
    a_status,
)

NEVER = {"restart_policy": "Never"}
ON_FAILURE = {"restart_policy": "OnFailure"}
POLICIES = ("Always", "OnFailure", "Never")

JOINED = {
    "wanted_groups": {"app": "web"},
    "recorded_groups": frozenset({"web"}),
    "ready_groups": frozenset({"web"}),
}
"""Of a Pod whose Service wants its container ``app`` in the group ``web``, which is there."""


def observed(pod, *instances, surplus=(), **fields):
    """What is seen of an owned Pod whose instances are *instances*."""
    return Observed(
        pod=pod,
        instances={one.name.removeprefix("web-"): one for one in instances},
        surplus=tuple(surplus),
        **{"owned": True, "groups_released": True} | fields,
    )


def plan_for(pod, *instances, memory=None, now=NOW, **fields):
    return next_steps(observed(pod, *instances, **fields), memory or Memory(), now)


def steps_for(pod, *instances, **options):
    return plan_for(pod, *instances, **options).steps


def start(name="app", *, restart=False):
    return StartInstance(name, f"uuid-of-{name}", restart)


def stop(name="app", seconds=30.0):
    return StopInstance(name, f"uuid-of-{name}", seconds)


def delete(name="app"):
    return DeleteInstance(name, f"uuid-of-{name}")


def seconds(count):
    return timedelta(seconds=count)


def a_failure(*, retry_in=5.0, attempts=1):
    return Failure(
        trouble=Trouble("CreateContainerError", "no more room"),
        attempts=attempts,
        retry_at=NOW + seconds(retry_in),
    )


def deleted_pod(*containers, grace=30, **options):
    status = a_status(*containers) if containers else PodStatus()
    return a_pod(**{"deleted": True, "deletion_grace_seconds": grace, "status": status} | options)

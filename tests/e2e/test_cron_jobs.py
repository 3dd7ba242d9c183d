"""CronJobs: Jobs that come by the clock or by hand, beside or instead of earlier ones.

Nobody waits for the clock: a schedule that names a minute just gone is due at once.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.bed.cloud import Cloud, tags
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import conditions
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import continuously, eventually
from tests.e2e.bed.workloads import a_cron_job

NEVER = "0 0 30 2 *"  # There is no 30th of February.


@pytest.fixture(scope="module", autouse=True)
def _node(shared_daemon: Daemon) -> None:
    """Every test here needs the node, and none of them the process behind it."""


def minutes_ago(minutes: int) -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=minutes)


def at(moment: datetime) -> str:
    """The schedule of that minute, every day."""
    return f"{moment.minute} {moment.hour} * * *"


def make_due(kubectl: Kubectl, name: str, moment: datetime) -> None:
    """Let the CronJob's next Job be one that should have come at *moment*."""
    kubectl("patch", "cronjob", name, f'--patch={{"spec": {{"schedule": "{at(moment)}"}}}}')


def a_past(kubectl: Kubectl, name: str, moment: datetime) -> None:
    """Let the CronJob have been looked after until *moment*, though it was made just now."""
    status = {"status": {"lastScheduleTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}}
    kubectl(
        *("patch", "cronjob", name, "--subresource=status", "--type=merge"),
        f"--patch={json.dumps(status)}",
    )


def jobs(kubectl: Kubectl, name: str) -> dict[str, dict[str, Any]]:
    """The CronJob's, by name; without those that are on their way out."""
    return {
        job["metadata"]["name"]: job
        for job in kubectl.items("jobs")
        if job["metadata"]["name"].startswith(f"{name}-")
        and "deletionTimestamp" not in job["metadata"]
    }


def the_job_runs(kubectl: Kubectl, cloud: Cloud, name: str) -> str:
    """The only Job of the CronJob, which has an instance that runs, and no other has one."""
    (job,) = jobs(kubectl, name)
    instances = [
        (tags(instance)["k8s.io:pod"].rpartition("-")[0], instance["state"])
        for instance in cloud.instances().values()
        if tags(instance)["k8s.io:pod"].startswith(f"{name}-")
    ]
    assert instances == [(job, "running")]
    return job


def test_job_comes_when_it_is_due(kubectl: Kubectl) -> None:
    kubectl.apply(a_cron_job("tick", "busybox", at(minutes_ago(2))))
    a_past(kubectl, "tick", minutes_ago(4))

    def done() -> bool:
        """its only Job has succeeded"""
        (job,) = jobs(kubectl, "tick").values()
        return conditions(job).get("Complete") == "True"

    eventually(done)
    status = kubectl.json("get", "cronjob", "tick")["status"]
    assert status["lastSuccessfulTime"] >= status["lastScheduleTime"]


def test_job_can_be_made_by_hand(kubectl: Kubectl) -> None:
    kubectl.apply(a_cron_job("nightly", "busybox", NEVER))
    kubectl("create", "job", "nightly-now", "--from=cronjob/nightly")
    kubectl("wait", "job/nightly-now", "--for=condition=Complete", "--timeout=30s", timeout=40)
    (owner,) = jobs(kubectl, "nightly")["nightly-now"]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("CronJob", "nightly")


@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
def test_second_job_comes_beside_none(kubectl: Kubectl, cloud: Cloud, policy: str) -> None:
    name = policy.lower()
    kubectl.apply(a_cron_job(name, "nginx", at(minutes_ago(6)), concurrencyPolicy=policy))
    a_past(kubectl, name, minutes_ago(8))
    first = eventually(lambda: the_job_runs(kubectl, cloud, name))

    make_due(kubectl, name, minutes_ago(3))
    if policy == "Forbid":

        def skipped() -> bool:
            """the second Job was left out"""
            reasons = kubectl.items("events", f"--field-selector=involvedObject.name={name}")
            return "JobAlreadyActive" in [event["reason"] for event in reasons]

        eventually(skipped)
        continuously(lambda: the_job_runs(kubectl, cloud, name) == first, seconds=0.5)
    else:
        eventually(lambda: the_job_runs(kubectl, cloud, name) != first)


def test_deleted_cron_job_takes_its_jobs_along(kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl.apply(a_cron_job("gone", "nginx", at(minutes_ago(2))))
    a_past(kubectl, "gone", minutes_ago(4))
    eventually(lambda: the_job_runs(kubectl, cloud, "gone"))
    kubectl("delete", "cronjob", "gone")

    def nothing_left() -> bool:
        """neither a Job nor an instance"""
        return not jobs(kubectl, "gone") and not any(
            tags(instance)["k8s.io:pod"].startswith("gone-")
            for instance in cloud.instances().values()
        )

    eventually(nothing_left)

"""Jobs: what their controller makes of the ends that the node reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.bed.cloud import Cloud, tags
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import conditions, container_statuses
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually
from tests.e2e.bed.workloads import a_job

ON_FAILURE = {"restartPolicy": "OnFailure"}


def failure_policy(action: str, **requirement: Any) -> dict[str, Any]:
    return {"rules": [{"action": action, **requirement}]}


def on_exit_code(code: int) -> dict[str, Any]:
    return {"onExitCodes": {"containerName": "app", "operator": "In", "values": [code]}}


DISRUPTED = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}

JOBS = [
    a_job("five", "busybox", completions=5, parallelism=2),
    a_job("indexed", "two-seconds", completions=3, parallelism=3, completionMode="Indexed"),
    a_job("never-again", "fails", backoffLimit=1),
    a_job("restarts-in-vain", "fails", backoffLimit=1, template=ON_FAILURE),
    a_job("third-time-lucky", "fails-twice", backoffLimit=6, template=ON_FAILURE),
    a_job("gives-up", "exits-42", podFailurePolicy=failure_policy("FailJob", **on_exit_code(42))),
    a_job(
        "counts",
        "exits-42",
        backoffLimit=0,
        podFailurePolicy=failure_policy("Count", **on_exit_code(42)),
    ),
    a_job(
        "ignores",
        "exits-42",
        backoffLimit=0,
        podFailurePolicy=failure_policy("Ignore", **on_exit_code(42)),
    ),
    a_job(
        "evicted",
        "terminated",
        backoffLimit=0,
        podFailurePolicy=failure_policy("Ignore", **DISRUPTED),
    ),
    a_job("too-late", "nginx", parallelism=2, activeDeadlineSeconds=2),
    a_job("suspended", "nginx", suspend=True),
    a_job(
        "with-sidecar",
        "busybox",
        template={
            "initContainers": [{"name": "proxy", "image": "nginx", "restartPolicy": "Always"}]
        },
    ),
    a_job("short-lived", "busybox", ttlSecondsAfterFinished=1),
]


@pytest.fixture(scope="module", autouse=True)
def evicted(shared_daemon: Daemon, kubectl: Kubectl) -> str:
    """All Jobs at once, for some have to wait for a back-off or a deadline. The name of a Pod that
    was evicted while it ran."""
    kubectl.apply(*JOBS)
    pod = eventually(one_is_running(kubectl, "evicted"))
    name = str(pod["metadata"]["name"])
    kubectl.evict(name)
    return name


def job(kubectl: Kubectl, name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = kubectl.json("get", "job", name)
    assert found is not None, f"there is no Job {name}"
    return found


def pods(kubectl: Kubectl, name: str) -> list[dict[str, Any]]:
    return kubectl.items("pods", f"--selector=batch.kubernetes.io/job-name={name}")


def instances(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    """Of the Job's Pods, whether those are still there or not."""
    return [
        instance
        for instance in cloud.instances().values()
        if tags(instance)["k8s.io:pod"].startswith(f"{name}-")
    ]


def complete(kubectl: Kubectl, name: str, *, timeout: float = 30.0) -> dict[str, Any]:
    """The Job, once it is."""
    kubectl(
        *("wait", f"job/{name}", "--for=condition=Complete", f"--timeout={timeout:g}s"),
        timeout=timeout + 10,
    )
    return job(kubectl, name)


def failed(kubectl: Kubectl, name: str) -> tuple[dict[str, Any], str]:
    """The Job, once it is, and why."""
    kubectl("wait", f"job/{name}", "--for=condition=Failed", "--timeout=30s", timeout=40)
    found = job(kubectl, name)
    (reason,) = (
        item["reason"] for item in found["status"]["conditions"] if item["type"] == "Failed"
    )
    return found, reason


def exit_codes(pods: list[dict[str, Any]]) -> list[int]:
    return [container_statuses(pod)["app"]["state"]["terminated"]["exitCode"] for pod in pods]


def restarts(pods: list[dict[str, Any]]) -> list[int]:
    return [container_statuses(pod)["app"]["restartCount"] for pod in pods]


def phases(pods: list[dict[str, Any]]) -> list[str]:
    return [pod["status"]["phase"] for pod in pods]


def one_is_running(kubectl: Kubectl, name: str) -> Callable[[], dict[str, Any]]:
    """A look for the only Pod that the Job has, and which runs."""

    def look() -> dict[str, Any]:
        found = [pod for pod in pods(kubectl, name) if "deletionTimestamp" not in pod["metadata"]]
        assert phases(found) == ["Running"]
        return found[0]

    return look


def test_indexed_job_tells_each_pod_its_index(kubectl: Kubectl, cloud: Cloud) -> None:
    def told() -> bool:
        """three instances know their index"""
        indexes = [
            instance["env"]["JOB_COMPLETION_INDEX"] for instance in instances(cloud, "indexed")
        ]
        return sorted(indexes) == ["0", "1", "2"]

    eventually(told)
    assert complete(kubectl, "indexed")["status"]["completedIndexes"] == "0-2"
    key = "batch.kubernetes.io/job-completion-index"
    indexes = [pod["metadata"]["annotations"][key] for pod in pods(kubectl, "indexed")]
    assert sorted(indexes) == ["0", "1", "2"]


def test_suspended_job_has_no_pods_until_it_is_resumed(kubectl: Kubectl, cloud: Cloud) -> None:
    assert pods(kubectl, "suspended") == []
    kubectl("patch", "job", "suspended", '--patch={"spec": {"suspend": false}}')
    eventually(one_is_running(kubectl, "suspended"))
    assert len(instances(cloud, "suspended")) == 1

    kubectl("patch", "job", "suspended", '--patch={"spec": {"suspend": true}}')
    eventually(lambda: pods(kubectl, "suspended") == [])
    assert instances(cloud, "suspended") == []
    status = job(kubectl, "suspended")["status"]
    assert conditions(job(kubectl, "suspended"))["Suspended"] == "True"
    assert "failed" not in status


def test_all_completions_succeed(kubectl: Kubectl) -> None:
    assert complete(kubectl, "five")["status"]["succeeded"] == 5
    assert phases(pods(kubectl, "five")) == ["Succeeded"] * 5
    assert exit_codes(pods(kubectl, "five")) == [0] * 5


def test_job_succeeds_beside_a_sidecar_that_never_ends(kubectl: Kubectl, cloud: Cloud) -> None:
    complete(kubectl, "with-sidecar")
    (pod,) = pods(kubectl, "with-sidecar")
    assert pod["status"]["phase"] == "Succeeded"
    proxy = container_statuses(pod)["proxy"]
    assert "terminated" in proxy["state"]
    assert proxy["restartCount"] == 0
    states = {instance["state"] for instance in instances(cloud, "with-sidecar")}
    assert states <= {"stopped"}


def test_finished_job_goes_with_its_pods_when_its_time_is_over(
    kubectl: Kubectl, cloud: Cloud
) -> None:
    eventually(lambda: kubectl.json("get", "job", "short-lived") is None)
    eventually(lambda: pods(kubectl, "short-lived") == [])
    assert instances(cloud, "short-lived") == []


def test_exit_code_that_the_policy_names_fails_the_job_at_once(kubectl: Kubectl) -> None:
    found, reason = failed(kubectl, "gives-up")
    assert reason == "PodFailurePolicy"
    assert found["status"]["failed"] == 1
    assert exit_codes(pods(kubectl, "gives-up")) == [42]


def test_exit_code_that_counts_uses_up_the_limit(kubectl: Kubectl) -> None:
    found, reason = failed(kubectl, "counts")
    assert reason == "BackoffLimitExceeded"
    assert found["status"]["failed"] == 1


def test_job_over_its_deadline_leaves_no_pod(kubectl: Kubectl, cloud: Cloud) -> None:
    _, reason = failed(kubectl, "too-late")
    assert reason == "DeadlineExceeded"
    eventually(lambda: pods(kubectl, "too-late") == [])
    assert instances(cloud, "too-late") == []


def test_restarts_of_one_pod_count_towards_the_limit(kubectl: Kubectl, cloud: Cloud) -> None:
    found, reason = failed(kubectl, "restarts-in-vain")
    assert reason == "BackoffLimitExceeded"
    assert found["status"]["failed"] == 1
    eventually(lambda: pods(kubectl, "restarts-in-vain") == [])
    assert instances(cloud, "restarts-in-vain") == []


def test_pod_that_succeeds_on_a_restart_completes_the_job(kubectl: Kubectl) -> None:
    found = complete(kubectl, "third-time-lucky")
    assert found["status"]["succeeded"] == 1
    assert "failed" not in found["status"]
    assert restarts(pods(kubectl, "third-time-lucky")) == [2]


def test_evicted_pod_of_a_job_is_replaced_and_not_held_against_it(
    kubectl: Kubectl, evicted: str
) -> None:
    def replaced() -> bool:
        """another Pod runs in its place"""
        return bool(one_is_running(kubectl, "evicted")()["metadata"]["name"] != evicted)

    eventually(replaced)
    status = job(kubectl, "evicted")["status"]
    assert status["active"] == 1
    assert "failed" not in status


def test_failed_pods_are_replaced_up_to_the_limit(kubectl: Kubectl) -> None:
    found, reason = failed(kubectl, "never-again")
    assert reason == "BackoffLimitExceeded"
    assert found["status"]["failed"] == 2
    assert phases(pods(kubectl, "never-again")) == ["Failed"] * 2
    assert exit_codes(pods(kubectl, "never-again")) == [1, 1]
    assert restarts(pods(kubectl, "never-again")) == [0, 0]


def test_exit_code_that_the_policy_ignores_is_not_held_against_the_job(kubectl: Kubectl) -> None:
    def replaced() -> bool:
        """a second Pod has come for the first"""
        return len(pods(kubectl, "ignores")) >= 2

    eventually(replaced)
    assert "failed" not in job(kubectl, "ignores")["status"]
    assert "Failed" not in conditions(job(kubectl, "ignores"))

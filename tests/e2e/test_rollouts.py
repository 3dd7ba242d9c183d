"""Deployments: rollouts that keep their promises, stall, wait and go back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.bed.cloud import Cloud, tags
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import conditions
from tests.e2e.bed.kubectl import Kubectl, KubectlError
from tests.e2e.bed.waiting import continuously, eventually
from tests.e2e.bed.workloads import a_deployment


@pytest.fixture(scope="module", autouse=True)
def _deployments(shared_daemon: Daemon, kubectl: Kubectl) -> None:
    """One for each test, all at once."""
    kubectl.apply(
        a_deployment(
            "steady",
            replicas=4,
            strategy={"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
        ),
        a_deployment("stalled", replicas=2, progressDeadlineSeconds=2),
        a_deployment("recreated", replicas=2, strategy={"type": "Recreate"}),
        a_deployment("held", replicas=2),
        a_deployment("restarted", replicas=2),
    )


def rolled_out(kubectl: Kubectl, name: str, *options: str) -> None:
    kubectl("rollout", "status", f"deployment/{name}", "--timeout=30s", *options, timeout=40)


def pods(kubectl: Kubectl, name: str) -> list[dict[str, Any]]:
    """Without those that are on their way out, for which the controller has replacements."""
    return [
        pod
        for pod in kubectl.items("pods", f"--selector=app={name}")
        if "deletionTimestamp" not in pod["metadata"]
    ]


def ready(pods: list[dict[str, Any]]) -> int:
    return sum(conditions(pod).get("Ready") == "True" for pod in pods)


def uids(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def images(pods: list[dict[str, Any]]) -> list[str]:
    return sorted(pod["spec"]["containers"][0]["image"] for pod in pods)


def runs(cloud: Cloud, name: str) -> dict[str, tuple[str, int]]:
    """Which instance each container of a Deployment has, and how often that was started."""
    return {
        key: (instance["uuid"], instance["start_count"])
        for key, instance in cloud.instances().items()
        if tags(instance)["k8s.io:pod"].startswith(f"{name}-")
    }


def is_done(kubectl: Kubectl, name: str) -> Callable[[], bool]:
    def look() -> bool:
        """the rollout is over, and the controller knows"""
        deployment = kubectl.json("get", "deployment", name)
        status, wanted = deployment["status"], deployment["spec"]["replicas"]
        return bool(
            status.get("observedGeneration") == deployment["metadata"]["generation"]
            and status.get("updatedReplicas") == status.get("availableReplicas") == wanted
            and status.get("replicas") == wanted
        )

    return look


def test_rolling_update_is_neither_short_of_pods_nor_over(kubectl: Kubectl, cloud: Cloud) -> None:
    rolled_out(kubectl, "steady")
    before = uids(pods(kubectl, "steady"))
    seen = []

    def all_new() -> bool:
        """all Pods run the new image"""
        now = pods(kubectl, "steady")
        seen.append((ready(now), len(now)))
        return images(now) == ["nginx:2"] * 4 and ready(now) == 4

    kubectl("set", "image", "deployment/steady", "app=nginx:2")
    eventually(all_new)
    assert min(up for up, _ in seen) >= 3
    assert max(every for _, every in seen) <= 5
    assert not before & uids(pods(kubectl, "steady"))


def test_rollout_of_an_image_that_is_not_there_stalls_and_can_be_undone(
    kubectl: Kubectl, cloud: Cloud
) -> None:
    rolled_out(kubectl, "stalled")
    before = runs(cloud, "stalled")
    kubectl("set", "image", "deployment/stalled", "app=missing")
    with pytest.raises(KubectlError, match="exceeded its progress deadline"):
        rolled_out(kubectl, "stalled")
    assert ready(pods(kubectl, "stalled")) == 2
    assert images(pods(kubectl, "stalled")) == ["missing", "nginx", "nginx"]

    kubectl("rollout", "undo", "deployment/stalled")
    rolled_out(kubectl, "stalled")
    eventually(lambda: images(pods(kubectl, "stalled")) == ["nginx", "nginx"])
    # Those that were there all the time, and never felt a thing.
    eventually(lambda: runs(cloud, "stalled") == before)


def test_recreated_pods_wait_for_the_last_of_the_old(kubectl: Kubectl, cloud: Cloud) -> None:
    rolled_out(kubectl, "recreated")
    kubectl("set", "image", "deployment/recreated", "app=nginx:2")
    seen = set()

    def all_new() -> bool:
        """both Pods run the new image"""
        every = kubectl.items("pods", "--selector=app=recreated")
        alive = [pod for pod in every if pod["status"]["phase"] in ("Pending", "Running")]
        seen.add(frozenset(images(alive)))
        return images(alive) == ["nginx:2"] * 2 and ready(alive) == 2

    eventually(all_new)
    assert seen <= {frozenset({"nginx"}), frozenset(), frozenset({"nginx:2"})}


def test_paused_rollout_waits_until_it_is_resumed(kubectl: Kubectl) -> None:
    rolled_out(kubectl, "held")
    before = uids(pods(kubectl, "held"))
    kubectl("rollout", "pause", "deployment/held")
    kubectl("set", "image", "deployment/held", "app=nginx:2")
    continuously(lambda: uids(pods(kubectl, "held")) == before, seconds=0.5)
    kubectl("rollout", "resume", "deployment/held")
    eventually(is_done(kubectl, "held"))
    assert not before & uids(pods(kubectl, "held"))
    assert images(pods(kubectl, "held")) == ["nginx:2"] * 2


def test_every_revision_can_be_gone_back_to(kubectl: Kubectl) -> None:
    rolled_out(kubectl, "restarted")
    before = uids(pods(kubectl, "restarted"))
    kubectl("rollout", "restart", "deployment/restarted")
    rolled_out(kubectl, "restarted")
    assert not before & uids(pods(kubectl, "restarted"))

    kubectl("set", "image", "deployment/restarted", "app=nginx:3")
    rolled_out(kubectl, "restarted")
    kubectl("rollout", "undo", "deployment/restarted", "--to-revision=1")
    rolled_out(kubectl, "restarted")
    assert images(pods(kubectl, "restarted")) == ["nginx"] * 2
    history = kubectl("rollout", "history", "deployment/restarted").stdout.split()
    assert [word for word in history if word.isdigit()] == ["2", "3", "4"]

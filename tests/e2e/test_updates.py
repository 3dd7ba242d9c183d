"""Pods that change while they run, as ``kubectl`` changes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import conditions, container_statuses, pod_is_ready
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually
from tests.e2e.bed.workloads import a_deployment, a_pod

SIZE = {"cpu": "1", "memory": "64Mi"}


def of_size(memory: str) -> dict[str, Any]:
    size = {**SIZE, "memory": memory}
    return {"requests": size, "limits": size}


def a_sized_pod(name: str) -> dict[str, Any]:
    pod = a_pod(name)
    pod["spec"]["containers"][0]["resources"] = of_size("64Mi")
    return pod


def app(kubectl: Kubectl, name: str) -> dict[str, Any]:
    return container_statuses(kubectl.json("get", "pod", name)).get("app", {})


@pytest.fixture(scope="module", autouse=True)
def _pods(shared_daemon: Daemon, kubectl: Kubectl) -> None:
    kubectl.apply(
        a_sized_pod("resized"),
        a_sized_pod("too-large"),
        a_pod("renewed"),
        a_pod("debugged"),
        a_pod("late", activeDeadlineSeconds=4),
    )


def test_image_that_is_set_restarts_the_container(kubectl: Kubectl, cloud: Cloud) -> None:
    eventually(lambda: pod_is_ready(kubectl, "renewed"))
    kubectl("set", "image", "pod/renewed", "app=foo")

    def is_renewed() -> bool:
        """the container runs again, with the new image"""
        pod = kubectl.json("get", "pod", "renewed")
        assert app(kubectl, "renewed")["image"] == "foo"
        assert app(kubectl, "renewed")["restartCount"] == 1
        assert pod["status"]["observedGeneration"] == pod["metadata"]["generation"]
        return pod_is_ready(kubectl, "renewed")

    eventually(is_renewed)
    assert cloud.instances()["renewed-app"]["image"].startswith("foo@")


def resize(kubectl: Kubectl, name: str, memory: str) -> None:
    patch = {"spec": {"containers": [{"name": "app", "resources": of_size(memory)}]}}
    kubectl("patch", "pod", name, "--subresource=resize", f"--patch={json.dumps(patch)}")


def test_resize_is_applied_by_a_restart_of_the_container(kubectl: Kubectl, cloud: Cloud) -> None:
    eventually(lambda: pod_is_ready(kubectl, "resized"))
    resize(kubectl, "resized", "96Mi")

    def is_resized() -> bool:
        """the status tells of the new size, and of no resize any more"""
        pod = kubectl.json("get", "pod", "resized")
        assert app(kubectl, "resized")["resources"]["limits"]["memory"] == "96Mi"
        assert app(kubectl, "resized")["allocatedResources"]["memory"] == "96Mi"
        assert not {"PodResizeInProgress", "PodResizePending"} & conditions(pod).keys()
        return pod_is_ready(kubectl, "resized")

    eventually(is_resized)
    assert cloud.instances()["resized-app"]["memory_mb"] == 96


def test_resize_that_cannot_be_says_so_and_leaves_the_container_alone(kubectl: Kubectl) -> None:
    eventually(lambda: pod_is_ready(kubectl, "too-large"))
    resize(kubectl, "too-large", "16Gi")

    def is_infeasible() -> bool:
        """the resize is told to be infeasible"""
        pod = kubectl.json("get", "pod", "too-large")
        [pending] = [
            one for one in pod["status"]["conditions"] if one["type"] == "PodResizePending"
        ]
        assert (pending["status"], pending["reason"]) == ("True", "Infeasible")
        assert app(kubectl, "too-large")["resources"]["limits"]["memory"] == "64Mi"
        return True

    eventually(is_infeasible)
    assert app(kubectl, "too-large")["restartCount"] == 0


def test_debug_is_answered_at_once(kubectl: Kubectl) -> None:
    eventually(lambda: pod_is_ready(kubectl, "debugged"))
    kubectl("debug", "debugged", "--image=busybox", "--container=debugger", "--attach=false")

    def is_answered() -> bool:
        """the ephemeral container has an end that says what to do instead"""
        pod = kubectl.json("get", "pod", "debugged")
        [status] = pod["status"]["ephemeralContainerStatuses"]
        assert status["state"]["terminated"]["reason"] == "StartError"
        assert "kubectl" in status["state"]["terminated"]["message"]
        return pod_is_ready(kubectl, "debugged")

    eventually(is_answered)


def test_pod_past_its_deadline_has_failed(kubectl: Kubectl) -> None:
    def has_failed() -> bool:
        """it failed, with the reason of every other node"""
        status = kubectl.json("get", "pod", "late")["status"]
        assert (status["phase"], status.get("reason")) == ("Failed", "DeadlineExceeded")
        return True

    eventually(has_failed)


def test_rollout_waits_for_readiness(kubectl: Kubectl) -> None:
    deployment = a_deployment("slow", "slow", replicas=2)
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    kubectl.apply(deployment)

    def are_running() -> bool:
        """both run, and neither is ready"""
        pods = kubectl.items("pods", "--selector=app=slow")
        assert [pod["status"]["phase"] for pod in pods] == ["Running", "Running"]
        assert {conditions(pod)["Ready"] for pod in pods} == {"False"}
        return True

    eventually(are_running)
    kubectl("rollout", "status", "deployment/slow", "--timeout=30s")
    pods = kubectl.items("pods", "--selector=app=slow")
    assert {conditions(pod)["Ready"] for pod in pods} == {"True"}

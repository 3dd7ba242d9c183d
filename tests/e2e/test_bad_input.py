"""Input that cannot be served is an event and a waiting reason on its own Pod; others go on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.bed import expectations
from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import NODE, Daemon
from tests.e2e.bed.expectations import container_statuses
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually

INSTANCES = "cloud.unikraft.v1.instances"


def a_pod(
    name: str, *, annotations: dict[str, str] | None = None, **container: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": NODE},
            "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}],
            "containers": [{"name": "app", "image": "nginx", **container}],
        },
    }


def waiting_reason(kubectl: Kubectl, pod: str) -> str:
    state = container_statuses(kubectl.json("get", "pod", pod)).get("app", {}).get("state", {})
    return str(state.get("waiting", {}).get("reason", ""))


def warnings(kubectl: Kubectl, pod: str) -> str:
    """The messages of a Pod's Warning events."""
    events = kubectl.items("events", f"--field-selector=involvedObject.name={pod},type=Warning")
    return "\n".join(event["message"] for event in events)


@pytest.fixture(autouse=True)
def _node(daemon: Daemon) -> None:
    """Every test here needs the node, and none of them the process behind it."""


def neighbour_is_ready(kubectl: Kubectl) -> None:
    """A Pod without fault, which comes after the faulty one, runs all the same."""
    kubectl.apply(a_pod("neighbour"))
    eventually(lambda: expectations.pod_is_ready(kubectl, "neighbour"))


def test_missing_config_map_is_waited_for(kubectl: Kubectl, cloud: Cloud) -> None:
    source = {"configMapKeyRef": {"name": "late", "key": "colour"}}
    kubectl.apply(a_pod("waits", env=[{"name": "COLOUR", "valueFrom": source}]))
    eventually(lambda: waiting_reason(kubectl, "waits") == "CreateContainerConfigError")
    eventually(lambda: "late" in warnings(kubectl, "waits"))
    neighbour_is_ready(kubectl)
    assert set(cloud.instances()) == {"neighbour-app"}

    kubectl("create", "configmap", "late", "--from-literal=colour=green")
    try:
        eventually(lambda: expectations.pod_is_ready(kubectl, "waits"))
    finally:
        kubectl("delete", "configmap", "late")
    assert cloud.instances()["waits-app"]["env"]["COLOUR"] == "green"


def test_image_that_cannot_be_pulled_backs_off(kubectl: Kubectl) -> None:
    kubectl.apply(a_pod("typo", image="missing:latest"))
    reasons = {"ErrImagePull", "ImagePullBackOff"}
    eventually(lambda: waiting_reason(kubectl, "typo") in reasons)
    neighbour_is_ready(kubectl)


def test_what_the_platform_refuses_is_said_in_its_words(kubectl: Kubectl, cloud: Cloud) -> None:
    huge = {"limits": {"memory": "9Gi"}}  # above the platform's 8 GiB an instance
    kubectl.apply(a_pod("huge", resources=huge))
    eventually(lambda: waiting_reason(kubectl, "huge").startswith("CreateContainer"))
    eventually(lambda: "memory" in warnings(kubectl, "huge"))
    neighbour_is_ready(kubectl)
    assert set(cloud.instances()) == {"neighbour-app"}


def test_annotation_that_means_nothing_is_told_and_left_out(kubectl: Kubectl, cloud: Cloud) -> None:
    key = f"{INSTANCES}/scale_to_zero.cooldown_time_ms"
    kubectl.apply(a_pod("odd", annotations={key: "soon"}))
    eventually(lambda: expectations.pod_is_ready(kubectl, "odd"))
    eventually(lambda: key in warnings(kubectl, "odd"))


def test_longest_pod_name_fits(kubectl: Kubectl, cloud: Cloud) -> None:
    name = "x" * 250
    kubectl.apply(a_pod(name))
    eventually(lambda: expectations.pod_is_ready(kubectl, name))
    (instance,) = cloud.instances()
    assert len(instance) <= 63

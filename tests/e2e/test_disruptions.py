"""What an administrator does to a node: drains, taints, deletes it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.e2e.bed.cloud import Cloud, tags
from tests.e2e.bed.daemon import NODE, Daemon
from tests.e2e.bed.expectations import conditions, pod_is_ready
from tests.e2e.bed.kubectl import Kubectl, KubectlError
from tests.e2e.bed.waiting import continuously, eventually
from tests.e2e.bed.workloads import TOLERATION, a_deployment, a_pod

OTHER_NODE = "kraftlet-b"
ANYWHERE = {"nodeSelector": {"type": "kubelet"}}


def a_budget(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, **spec},
    }


@pytest.fixture
def other_daemon(
    daemon: Daemon, folder: Any, daemon_kubeconfig: Any, kubectl: Kubectl
) -> Iterator[Daemon]:
    """A second node in the same account."""
    other = Daemon(daemon.cloud_url, daemon_kubeconfig, folder, node=OTHER_NODE)
    other.start()
    try:
        other.wait_until_ready()
        yield other
        kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")
    finally:
        other.stop()
        kubectl("delete", "node", OTHER_NODE, "--ignore-not-found")


def available(pods: list[dict[str, Any]]) -> int:
    return sum(
        conditions(pod).get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
        for pod in pods
    )


def test_drained_node_gives_its_pods_to_another_within_their_budget(
    other_daemon: Daemon, kubectl: Kubectl, cloud: Cloud
) -> None:
    kubectl("cordon", OTHER_NODE)
    kubectl.apply(
        a_budget("web", minAvailable=1), a_deployment("web", replicas=2, template=ANYWHERE)
    )
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert {tags(instance)["kraftlet:node"] for instance in cloud.instances().values()} == {NODE}

    kubectl("uncordon", OTHER_NODE)
    kubectl("drain", NODE, "--timeout=30s", timeout=40)
    try:
        kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        nodes = {tags(instance)["kraftlet:node"] for instance in cloud.instances().values()}
        assert nodes == {OTHER_NODE}
    finally:
        kubectl("uncordon", NODE)


def test_eviction_waits_for_the_budget(daemon: Daemon, kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl.apply(a_budget("web", maxUnavailable=1), a_deployment("web", replicas=2))
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("cordon", NODE)
    try:
        # The controller of budgets counts the Pods after that of Deployments.
        eventually(
            lambda: kubectl.json("get", "pdb", "web")["status"].get("disruptionsAllowed") == 1
        )
        first, second = (pod["metadata"]["name"] for pod in kubectl.items("pods"))
        kubectl.evict(first)
        eventually(partial(gone, kubectl, first))
        with pytest.raises(KubectlError, match="violate the pod's disruption budget"):
            kubectl.evict(second)
    finally:
        kubectl("uncordon", NODE)
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    eventually(lambda: kubectl.json("get", "pdb", "web")["status"].get("disruptionsAllowed") == 1)
    kubectl.evict(second)


def gone(kubectl: Kubectl, pod: str) -> bool:
    """the Pod is gone"""
    return kubectl.json("get", "pod", pod) is None


def test_tainted_node_loses_the_pods_that_do_not_tolerate_it(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud
) -> None:
    maintenance = {"key": "maintenance", "operator": "Exists", "effect": "NoExecute"}
    kubectl.apply(
        a_pod("leaves"),
        a_pod("lingers", tolerations=[TOLERATION, {**maintenance, "tolerationSeconds": 3}]),
        a_pod("stays", tolerations=[TOLERATION, maintenance]),
    )
    for name in ("leaves", "lingers", "stays"):
        eventually(partial(pod_is_ready, kubectl, name))
    kubectl("taint", "node", NODE, "maintenance=now:NoExecute")
    try:
        eventually(partial(gone, kubectl, "leaves"))
        pod_is_ready(kubectl, "lingers")
        eventually(partial(gone, kubectl, "lingers"))
        assert set(cloud.instances()) == {"stays-app"}
        pod_is_ready(kubectl, "stays")
    finally:
        kubectl("taint", "node", NODE, "maintenance-")


def test_deleted_node_registers_again_and_keeps_its_pods(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud
) -> None:
    kubectl.apply(a_pod("web"))
    eventually(partial(pod_is_ready, kubectl, "web"))
    before = cloud.instances()["web-app"]
    uid = kubectl.json("get", "node", NODE)["metadata"]["uid"]
    kubectl("delete", "node", NODE)

    def registered_again() -> bool:
        """another Node object of that name is Ready"""
        node = kubectl.json("get", "node", NODE)
        return (
            node is not None
            and node["metadata"]["uid"] != uid
            and conditions(node).get("Ready") == "True"
        )

    eventually(registered_again, timeout=60)
    continuously(partial(pod_is_ready, kubectl, "web"), seconds=0.5)
    after = cloud.instances()["web-app"]
    assert (after["uuid"], after["start_count"]) == (before["uuid"], before["start_count"])
    # The new Node takes new Pods.
    kubectl.apply(a_pod("later"))
    eventually(partial(pod_is_ready, kubectl, "later"))

"""The port's certificate by the cluster's own signer, approved with kubectl."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.bed import chart
from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.control_plane import ControlPlane
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.kubeconfig import write_kubeconfig
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import continuously, eventually

NODE = "kraftlet-signed"
USER = f"system:node:{NODE}"
ROLE = "kraftlet-signed"
ACCOUNT = f"system:serviceaccount:{chart.NAMESPACE}:{chart.SERVICE_ACCOUNT}"


@pytest.fixture(scope="module")
def rights(kubectl: Kubectl, daemon_kubeconfig: Path) -> Iterator[None]:
    """The chart's own with ``tls.rotateServerCertificates``, for its account and for the node."""
    every = chart.render(kubectl.home, "tls.rotateServerCertificates=true")
    (role,) = (item for item in every if item["kind"] == "ClusterRole")
    role["metadata"]["name"] = ROLE
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ROLE},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": ROLE,
        },
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
            for name in (USER, ACCOUNT)
        ],
    }
    kubectl.apply(role, binding)
    yield
    kubectl("delete", "clusterrolebinding,clusterrole", ROLE)


@contextmanager
def a_node(kubectl: Kubectl, cloud: Cloud, kubeconfig: Path, folder: Path) -> Iterator[Daemon]:
    options = {
        "KRAFTLET_ROTATE_SERVER_CERTIFICATES": "true",
        # Its lease is the other node's; a node's identity has no right to it.
        "KRAFTLET_ENABLE_PVC_WATCHER": "false",
    }
    daemon = Daemon(cloud.url, kubeconfig, folder, node=NODE, options=options)
    daemon.start()
    try:
        daemon.wait_until_ready()
        yield daemon
        assert daemon.bugs(0) == []
    finally:
        daemon.stop()
        kubectl("delete", "node", NODE, "--ignore-not-found")
        kubectl("delete", "csr", "--all")


@pytest.fixture(params=["service account", "node"])
def daemon(
    request: pytest.FixtureRequest,
    rights: None,
    kubectl: Kubectl,
    cloud: Cloud,
    control_plane: ControlPlane,
    daemon_kubeconfig: Path,
    tmp_path: Path,
) -> Iterator[Daemon]:
    """A node of its own, by either identity."""
    kubeconfig = daemon_kubeconfig
    if request.param == "node":
        kubeconfig = write_kubeconfig(
            tmp_path / "node.kubeconfig",
            server=control_plane.server,
            ca=control_plane.authority.certificate,
            user=control_plane.authority.issue(USER, organization="system:nodes"),
        )
    with a_node(kubectl, cloud, kubeconfig, tmp_path) as daemon:
        yield daemon


def undecided(kubectl: Kubectl) -> list[dict[str, Any]]:
    """requests that nobody has decided"""
    return [one for one in kubectl.items("csr") if not one["status"].get("conditions")]


def verified(kubectl: Kubectl, control_plane: ControlPlane) -> bool:
    """the port's certificate is one of the cluster's authority, for its address"""
    node = kubectl.json("get", "node", NODE)
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    trust = ssl.create_default_context(cafile=control_plane.authority.certificate)
    with httpx.Client(verify=trust, timeout=5, trust_env=False) as http:
        try:
            return http.get(f"https://127.0.0.1:{port}/pods").status_code == 401
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                return False
            raise


def test_approved_certificate_is_served(
    daemon: Daemon, kubectl: Kubectl, control_plane: ControlPlane, request: pytest.FixtureRequest
) -> None:
    (asked,) = eventually(lambda: undecided(kubectl))
    assert asked["spec"]["signerName"] == "kubernetes.io/kubelet-serving"
    by_node = "service account" not in request.node.name
    assert asked["spec"]["username"] == (USER if by_node else ACCOUNT)
    assert not verified(kubectl, control_plane)

    name = asked["metadata"]["name"]
    described = eventually(
        lambda: name in (text := kubectl("describe", "node", NODE).stdout) and text
    )
    assert f"kubectl certificate approve {name}" in described
    kubectl("certificate", "approve", name)
    approved = time.monotonic()
    eventually(lambda: verified(kubectl, control_plane), timeout=20)
    assert time.monotonic() - approved < 15


def test_denied_request_leaves_the_nodes_own_signature(
    rights: None,
    kubectl: Kubectl,
    cloud: Cloud,
    control_plane: ControlPlane,
    daemon_kubeconfig: Path,
    tmp_path: Path,
) -> None:
    with a_node(kubectl, cloud, daemon_kubeconfig, tmp_path):
        (asked,) = eventually(lambda: undecided(kubectl))
        kubectl("certificate", "deny", asked["metadata"]["name"])

        def told() -> bool:
            """the denial is an event of the node"""
            said = kubectl("describe", "node", NODE).stdout
            return "ServingCertificateRefused" in said and "denied" in said

        eventually(told)
        continuously(lambda: not undecided(kubectl), seconds=3)
        assert not verified(kubectl, control_plane)

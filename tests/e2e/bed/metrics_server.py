"""A real metrics-server as a process, behind the API server's aggregation layer."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.bed.control_plane import LOOPBACK, ControlPlane
from tests.e2e.bed.kubeconfig import write_kubeconfig
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.processes import Process, free_port
from tests.e2e.bed.waiting import eventually

BUILD = Path(__file__).parents[1] / "metrics_server" / "build"
NAME, NAMESPACE = "metrics-server", "kube-system"
API_SERVICE = "v1beta1.metrics.k8s.io"
RESOLUTION_SECONDS = 10
"""The least that it allows."""


@contextmanager
def running_metrics_server(kubectl: Kubectl, plane: ControlPlane) -> Iterator[Process]:
    """With the rights of its own manifest; yields once the API server passes requests on to it."""
    built = subprocess.run([BUILD], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    port = free_port()
    kubectl.apply(*_account())
    token = kubectl(
        "create", "token", NAME, f"--namespace={NAMESPACE}", "--duration=6h"
    ).stdout.strip()
    ca = plane.authority.certificate
    kubeconfig = write_kubeconfig(
        plane.folder / f"{NAME}.kubeconfig", server=plane.server, ca=ca, user=token
    )
    serving = plane.authority.issue(NAME, hosts=(f"{NAME}.{NAMESPACE}.svc",))
    process = Process.start(
        NAME,
        [
            f"{built}/{NAME}",
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={port}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--metric-resolution={RESOLUTION_SECONDS}s",
            "--kubelet-request-timeout=5s",  # less than that
            # The node signed for itself.
            "--kubelet-insecure-tls",
            "--kubelet-use-node-status-port",
            "--kubelet-preferred-address-types=InternalIP",
        ],
        log=plane.folder / f"{NAME}.log",
    )
    try:
        kubectl.apply(*_api(port, ca))

        def is_available() -> bool:
            """the API server passes requests on to metrics-server"""
            process.assert_alive()
            service = kubectl.json("get", "apiservice", API_SERVICE)
            conditions = (service or {}).get("status", {}).get("conditions", [])
            return any(one["type"] == "Available" and one["status"] == "True" for one in conditions)

        eventually(is_available, timeout=90)
        yield process
    finally:
        # One that nobody serves any more would keep namespaces from being deleted.
        kubectl("delete", "apiservice", API_SERVICE, "--ignore-not-found")
        process.kill()


def _account() -> list[dict[str, Any]]:
    """As metrics-server's own components.yaml has them."""
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    rbac = "rbac.authorization.k8s.io"

    def binding(name: str, role: str, kind: str, **metadata: str) -> dict[str, Any]:
        return {
            "apiVersion": f"{rbac}/v1",
            "kind": f"{kind}Binding",
            "metadata": {"name": name, **metadata},
            "roleRef": {"apiGroup": rbac, "kind": kind, "name": role},
            "subjects": [subject],
        }

    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": f"system:{NAME}"},
            "rules": [
                {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
                {
                    "apiGroups": [""],
                    "resources": ["pods", "nodes"],
                    "verbs": ["get", "list", "watch"],
                },
            ],
        },
        binding(f"system:{NAME}", f"system:{NAME}", "ClusterRole"),
        binding(f"{NAME}:system:auth-delegator", "system:auth-delegator", "ClusterRole"),
        binding(
            f"{NAME}-auth-reader",
            "extension-apiserver-authentication-reader",
            "Role",
            namespace=NAMESPACE,
        ),
    ]


def _api(port: int, ca: Path) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": LOOPBACK},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API_SERVICE},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": base64.b64encode(ca.read_bytes()).decode(),
                "service": {"name": NAME, "namespace": NAMESPACE, "port": port},
            },
        },
    ]

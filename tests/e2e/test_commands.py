"""``kubectl exec``, ``cp``, ``attach`` and ``port-forward``, by each of kubectl's protocols.

Containers are processes of this machine, and the API server is a real one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bed.cloud import Cloud, running_cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import pod_is_ready
from tests.e2e.bed.kubectl import KUBECTL, Kubectl
from tests.e2e.bed.waiting import eventually
from tests.e2e.bed.workloads import a_pod

NODE = "kraftlet-commands"
HERE: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": NODE}}
PROTOCOLS = {
    "websocket": {},
    "spdy": {
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false",
        "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false",
    },
}


@pytest.fixture(scope="module")
def processes(folder: Path) -> Iterator[Cloud]:
    with running_cloud(folder, processes=True) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def daemon(
    processes: Cloud, folder: Path, daemon_kubeconfig: Path, kubectl: Kubectl
) -> Iterator[Daemon]:
    """A node of its own, before a cloud of its own."""
    options = {"KRAFTLET_ENABLE_EXEC": "true", "KRAFTLET_PROBE_NETWORK": "direct"}
    daemon = Daemon(processes.url, daemon_kubeconfig, folder, node=NODE, options=options)
    daemon.start()
    try:
        daemon.wait_until_ready()
        shell = {"name": "app", "image": "busybox", "command": ["sh", "-c", "exec sleep 1000"]}
        kubectl.apply(a_pod("box", **HERE, containers=[shell]))
        eventually(lambda: pod_is_ready(kubectl, "box"))
        yield daemon
        assert daemon.bugs(0) == []
    finally:
        pods = f"--field-selector=spec.nodeName={NODE}"
        kubectl("delete", "pods", pods, "--grace-period=1", "--timeout=30s")
        daemon.stop()
        kubectl("delete", "node", NODE, "--ignore-not-found")


@pytest.fixture(params=PROTOCOLS)
def environment(request: pytest.FixtureRequest, kubectl: Kubectl) -> dict[str, str]:
    return {
        **os.environ,
        "KUBECONFIG": str(kubectl.kubeconfig),
        "HOME": str(kubectl.home),
        **PROTOCOLS[request.param],
    }


def run(
    environment: dict[str, str], *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [KUBECTL, *arguments], input=stdin, capture_output=True, env=environment, timeout=60
    )


def test_streams_are_apart_and_the_exit_code_is_the_commands(daemon, environment) -> None:
    script = "cat; echo to stderr >&2; exit 42"
    done = run(environment, "exec", "-i", "box", "--", "sh", "-c", script, stdin=b"to stdout")
    assert done.stdout == b"to stdout"
    assert done.stderr.splitlines() == [
        b"to stderr",
        b"command terminated with exit code 42",
    ]
    assert done.returncode == 42

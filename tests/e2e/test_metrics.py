"""What containers use, as ``kubectl top`` shows it by way of a real metrics-server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.e2e.bed.control_plane import ControlPlane
from tests.e2e.bed.daemon import NODE, Daemon
from tests.e2e.bed.kubectl import Kubectl, KubectlError
from tests.e2e.bed.metrics_server import running_metrics_server
from tests.e2e.bed.waiting import eventually
from tests.e2e.bed.workloads import a_pod

SHOWN_SECONDS = 60
"""Two scrapes, 10 s each, and what metrics-server takes to see a new node."""

Use = dict[str, tuple[int, int]]
"""Milli-CPUs and MiB, by name."""


@pytest.fixture(scope="module")
def metrics(
    shared_daemon: Daemon, kubectl: Kubectl, control_plane: ControlPlane
) -> Iterator[Kubectl]:
    """kubectl, where the cluster has a metrics-server and the node two Pods."""
    two = [{"name": "app", "image": "busy"}, {"name": "sidecar", "image": "nginx"}]
    kubectl.apply(a_pod("busy", containers=two), a_pod("idle"))
    with running_metrics_server(kubectl, control_plane):
        yield kubectl


def top(kubectl: Kubectl, *arguments: str) -> Use:
    """Empty while there are no metrics yet."""
    try:
        shown = kubectl("top", *arguments, "--no-headers").stdout
    except KubectlError:
        return {}
    lines = re.findall(r"^(.+?)\s+(\d+)m\s+(?:\d+%\s+)?(\d+)Mi", shown, re.MULTILINE)
    return {" ".join(name.split()): (int(cpu), int(memory)) for name, cpu, memory in lines}


def shown(kubectl: Kubectl, names: set[str], *arguments: str) -> Use:
    """Once all of *names* are."""

    def complete() -> Use | None:
        found = top(kubectl, *arguments)
        return found if found.keys() == names else None

    complete.__doc__ = f"kubectl top {' '.join(arguments)} shows {names}"
    return eventually(complete, timeout=SHOWN_SECONDS)


def test_top_pod(metrics: Kubectl) -> None:
    use = shown(metrics, {"busy", "idle"}, "pod")
    cpu, memory = use["busy"]
    assert 200 <= cpu <= 300
    assert memory == 32
    assert use["idle"] == (0, 16)


def test_top_pod_by_containers(metrics: Kubectl) -> None:
    use = shown(metrics, {"busy app", "busy sidecar", "idle app"}, "pod", "--containers")
    assert 200 <= use["busy app"][0] <= 300
    assert use["busy sidecar"] == use["idle app"] == (0, 16)


def test_top_node(metrics: Kubectl) -> None:
    cpu, memory = shown(metrics, {NODE}, "node")[NODE]
    assert 200 <= cpu <= 300
    assert memory == 48

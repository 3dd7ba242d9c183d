"""SIGKILL at any moment, then a new start: the same cloud resources, none twice, none left."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.bed import expectations
from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import EXAMPLES
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import continuously, eventually

# Claims wait for the dead daemon's lease, other Pods for nothing.
CONVERGED_WITHIN_SECONDS = 60.0
LAST_MOMENT_SECONDS = 1.2

Expectation = Callable[[Kubectl, Cloud], bool]

SCENARIOS = [
    pytest.param(EXAMPLES / "simple-app.yaml", expectations.simple_app, id="simple-app"),
    pytest.param(EXAMPLES / "stateful-app.yaml", expectations.stateful_app, id="stateful-app"),
    pytest.param(
        EXAMPLES / "multi-container.yaml", expectations.multi_container, id="multi-container"
    ),
    pytest.param(
        EXAMPLES / "init-containers.yaml", expectations.init_containers, id="init-containers"
    ),
]


def kill_soon_and_start_again(daemon: Daemon) -> None:
    """At a moment nobody chose; a failed test shows which it was."""
    moment = random.uniform(0.0, LAST_MOMENT_SECONDS)
    print(f"killed after {moment:.3f} s")
    time.sleep(moment)
    daemon.kill()
    daemon.start()


def runs(cloud: Cloud) -> dict[str, tuple[str, int]]:
    """Which instance bears each name, and how often it was started."""
    return {
        name: (instance["uuid"], instance["start_count"])
        for name, instance in cloud.instances().items()
    }


def runs_are(before: dict[str, tuple[str, int]], cloud: Cloud) -> bool:
    assert runs(cloud) == before
    return True


@pytest.mark.parametrize(("manifest", "expected"), SCENARIOS)
def test_killed_daemon_converges(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud, manifest: Path, expected: Expectation
) -> None:
    kubectl("apply", "--filename", manifest)
    kill_soon_and_start_again(daemon)
    eventually(lambda: expected(kubectl, cloud), timeout=CONVERGED_WITHIN_SECONDS)

    before = runs(cloud)
    daemon.kill()
    daemon.start()
    daemon.wait_until_ready()
    continuously(partial(runs_are, before, cloud), seconds=1)
    expected(kubectl, cloud)

    kubectl("delete", "--wait=false", "--filename", manifest)
    kill_soon_and_start_again(daemon)
    eventually(lambda: expectations.nothing(kubectl, cloud), timeout=CONVERGED_WITHIN_SECONDS)


def test_killed_daemon_converges_in_the_middle_of_scaling(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud
) -> None:
    kubectl("apply", "--filename", EXAMPLES / "simple-app.yaml")
    for replicas in (6, 2, 4):
        kubectl("scale", "deployment/web", f"--replicas={replicas}")
        kill_soon_and_start_again(daemon)
    eventually(
        lambda: expectations.simple_app(kubectl, cloud, replicas=4),
        timeout=CONVERGED_WITHIN_SECONDS,
    )


def test_daemon_killed_over_and_over_converges(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud
) -> None:
    for manifest in ("simple-app", "stateful-app", "init-containers"):
        kubectl("apply", "--filename", EXAMPLES / f"{manifest}.yaml")
    for _ in range(6):
        kill_soon_and_start_again(daemon)

    def everything_runs() -> bool:
        """all three examples are up, with one instance a container"""
        for pod in kubectl.items("pods"):
            expectations.pod_is_ready(kubectl, pod["metadata"]["name"])
        groups = cloud.service_groups()
        assert "web" in groups
        assert len(groups) == 2  # and the one for the Pod without a Service
        expectations.claim_is_bound(kubectl, cloud)
        return expectations.instances_match_pods(kubectl, cloud)

    eventually(everything_runs, timeout=CONVERGED_WITHIN_SECONDS)


def test_what_was_deleted_while_the_daemon_was_down_is_cleared_away(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud
) -> None:
    kubectl("apply", "--filename", EXAMPLES / "simple-app.yaml")
    eventually(lambda: expectations.simple_app(kubectl, cloud), timeout=60)
    daemon.kill()
    kubectl("delete", "--wait=false", "--filename", EXAMPLES / "simple-app.yaml")
    kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")
    daemon.start()
    eventually(lambda: expectations.nothing(kubectl, cloud), timeout=CONVERGED_WITHIN_SECONDS)


def test_a_stopped_daemon_leaves_its_instances_running(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud
) -> None:
    kubectl("apply", "--filename", EXAMPLES / "simple-app.yaml")
    eventually(lambda: expectations.simple_app(kubectl, cloud), timeout=60)
    before = runs(cloud)
    assert daemon.stop() == 0
    expectations.simple_app(kubectl, cloud)
    daemon.start()
    daemon.wait_until_ready()
    continuously(partial(runs_are, before, cloud), seconds=1)
    expectations.simple_app(kubectl, cloud)

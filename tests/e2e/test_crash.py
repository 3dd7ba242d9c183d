"""SIGKILL at any moment, then a new start: the same cloud resources, none twice, none left."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.bed import expectations
from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import EXAMPLES
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually

# Claims wait for the dead daemon's lease, other Pods for nothing.
CONVERGED_WITHIN_SECONDS = 60.0
LAST_MOMENT_SECONDS = 1.5

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
    print(f"killed {moment:.3f} s after kubectl returned")
    time.sleep(moment)
    daemon.kill()
    daemon.start()


@pytest.mark.parametrize(("manifest", "expected"), SCENARIOS)
def test_killed_daemon_converges(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud, manifest: Path, expected: Expectation
) -> None:
    kubectl("apply", "--filename", manifest)
    kill_soon_and_start_again(daemon)
    eventually(lambda: expected(kubectl, cloud), timeout=CONVERGED_WITHIN_SECONDS)

    uuids = {name: instance["uuid"] for name, instance in cloud.instances().items()}
    daemon.kill()
    daemon.start()
    eventually(lambda: expected(kubectl, cloud), timeout=CONVERGED_WITHIN_SECONDS)
    assert {name: instance["uuid"] for name, instance in cloud.instances().items()} == uuids

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
    before = cloud.instances()
    assert daemon.stop() == 0
    assert cloud.instances() == before
    daemon.start()
    eventually(lambda: expectations.simple_app(kubectl, cloud))
    assert {name: instance["uuid"] for name, instance in cloud.instances().items()} == {
        name: instance["uuid"] for name, instance in before.items()
    }

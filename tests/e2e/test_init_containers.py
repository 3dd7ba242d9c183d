"""Init containers: one after another, retried until they succeed, kept until the Pod goes."""

from __future__ import annotations

from typing import Any

import yaml

from tests.e2e.bed import expectations
from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import EXAMPLES, container_statuses
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually


def with_init(migrate_image: str, *, restart_policy: str = "Always") -> dict[str, Any]:
    """The example, its second init container running another image."""
    pod: dict[str, Any] = yaml.safe_load((EXAMPLES / "init-containers.yaml").read_text())
    pod["spec"]["restartPolicy"] = restart_policy
    pod["spec"]["initContainers"][1]["image"] = migrate_image
    return pod


def test_app_starts_once_the_second_init_container_succeeds(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud
) -> None:
    kubectl.apply(with_init("fails-twice"))
    eventually(lambda: expectations.init_containers(kubectl, cloud), timeout=60)

    statuses = container_statuses(kubectl.json("get", "pod", "with-init"))
    fetch, migrate, app = (statuses[name] for name in ("fetch", "migrate", "app"))
    assert fetch["state"]["terminated"]["reason"] == "Completed"
    assert migrate["state"]["terminated"]["exitCode"] == 0
    assert [item["restartCount"] for item in (fetch, migrate, app)] == [0, 2, 0]
    assert migrate["state"]["terminated"]["finishedAt"] <= app["state"]["running"]["startedAt"]

    instances = cloud.instances()
    assert instances["with-init-migrate"]["start_count"] == 3
    assert instances["with-init-fetch"]["start_count"] == 1
    stopped_at = instances["with-init-migrate"]["stopped_at"]
    assert stopped_at <= instances["with-init-app"]["created_at"]
    policies = {name: instance.get("restart_policy") for name, instance in instances.items()}
    assert policies["with-init-fetch"] == policies["with-init-migrate"] == "never"

    kubectl("delete", "pod", "with-init", "--timeout=60s", timeout=70)
    eventually(lambda: expectations.nothing(kubectl, cloud))


def test_app_never_starts_after_a_failure_under_policy_never(
    daemon: Daemon, kubectl: Kubectl, cloud: Cloud
) -> None:
    kubectl.apply(with_init("fails-twice", restart_policy="Never"))

    def failed() -> bool:
        """the Pod has failed"""
        return bool(kubectl.json("get", "pod", "with-init")["status"]["phase"] == "Failed")

    eventually(failed, timeout=60)
    statuses = container_statuses(kubectl.json("get", "pod", "with-init"))
    assert statuses["migrate"]["state"]["terminated"]["exitCode"] == 1
    assert statuses["migrate"]["restartCount"] == 0
    assert "with-init-app" not in cloud.instances()

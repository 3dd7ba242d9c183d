"""A Deployment behind a Service: instances that share one service group."""

from __future__ import annotations

from functools import partial

import pytest

from tests.e2e.bed import expectations
from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import EXAMPLES
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually

MANIFEST = EXAMPLES / "simple-app.yaml"


@pytest.fixture(autouse=True)
def simple_app(daemon: Daemon, kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl("apply", "--filename", MANIFEST)
    eventually(lambda: expectations.simple_app(kubectl, cloud), timeout=60)


def test_scaling_changes_the_instances_and_keeps_the_group(kubectl: Kubectl, cloud: Cloud) -> None:
    group = cloud.service_groups()["web"]
    for replicas in (5, 1):
        kubectl("scale", "deployment/web", f"--replicas={replicas}")
        eventually(partial(expectations.simple_app, kubectl, cloud, replicas=replicas))
    assert cloud.service_groups()["web"]["uuid"] == group["uuid"]
    assert cloud.service_groups()["web"]["domains"] == group["domains"]


def test_rolling_update_replaces_the_instances_behind_one_group(
    kubectl: Kubectl, cloud: Cloud
) -> None:
    group, before = cloud.service_groups()["web"], cloud.instances()
    kubectl("set", "image", "deployment/web", "nginx=nginx:1.29")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s", timeout=70)
    eventually(lambda: expectations.simple_app(kubectl, cloud))
    after = cloud.instances()
    assert not set(before) & set(after)
    images = {instance["image"] for instance in after.values()}
    assert len(images) == 1
    assert not images & {instance["image"] for instance in before.values()}
    assert cloud.service_groups()["web"]["uuid"] == group["uuid"]


def test_group_stays_until_its_last_pod_goes(kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl("scale", "deployment/web", "--replicas=1")
    eventually(lambda: expectations.simple_app(kubectl, cloud, replicas=1))
    kubectl("scale", "deployment/web", "--replicas=0")
    eventually(lambda: cloud.resources() == {})


def test_deletion_leaves_nothing(kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl("delete", "--filename", MANIFEST)
    eventually(lambda: expectations.nothing(kubectl, cloud))


def test_deleted_instance_is_made_anew(kubectl: Kubectl, cloud: Cloud) -> None:
    before = cloud.instances()
    victim = sorted(before)[0]
    cloud.delete_instance(victim)

    def replaced() -> bool:
        """the container has a new instance, and the others their old ones"""
        expectations.simple_app(kubectl, cloud)
        fresh = {
            name: instance["uuid"]
            for name, instance in cloud.instances().items()
            if instance["uuid"] != before[name]["uuid"]
        }
        return set(fresh) == {victim}

    eventually(replaced, timeout=60)

"""A claim and a Pod that mounts it: a volume that outlives the Pod and goes with the claim."""

from __future__ import annotations

import pytest

from tests.e2e.bed import expectations
from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import EXAMPLES
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually

MANIFEST = EXAMPLES / "stateful-app.yaml"


@pytest.fixture(autouse=True)
def stateful_app(daemon: Daemon, kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl("apply", "--filename", MANIFEST)
    eventually(lambda: expectations.stateful_app(kubectl, cloud), timeout=60)


def test_volume_outlives_the_pod_and_goes_with_the_claim(kubectl: Kubectl, cloud: Cloud) -> None:
    volume = cloud.volumes()["my-claim"]
    kubectl("delete", "pod", "stateful-app", "--timeout=60s", timeout=70)
    assert cloud.instances() == {}
    assert cloud.volumes()["my-claim"]["state"] == "available"

    kubectl("apply", "--filename", MANIFEST)
    eventually(lambda: expectations.stateful_app(kubectl, cloud))
    assert cloud.volumes()["my-claim"]["uuid"] == volume["uuid"]

    kubectl("delete", "--filename", MANIFEST, "--timeout=60s", timeout=70)
    eventually(lambda: expectations.nothing(kubectl, cloud))


def test_claim_deleted_under_its_pod_waits_for_the_pod(kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl("delete", "persistentvolumeclaim", "my-claim", "--wait=false")
    expectations.stateful_app(kubectl, cloud)
    kubectl("delete", "pod", "stateful-app", "--timeout=60s", timeout=70)
    eventually(lambda: expectations.nothing(kubectl, cloud))

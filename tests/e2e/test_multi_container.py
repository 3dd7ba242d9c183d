"""A Pod of two containers behind one Service: an instance and a service group for each."""

from __future__ import annotations

import pytest

from tests.e2e.bed import expectations
from tests.e2e.bed.cloud import Cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import DOMAIN, EXAMPLES, fqdns, published
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually

MANIFEST = EXAMPLES / "multi-container.yaml"
DOMAIN_KEY = "cloud.unikraft.v1.services/domain"


@pytest.fixture(autouse=True)
def multi_container(daemon: Daemon, kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl("apply", "--filename", MANIFEST)
    eventually(lambda: expectations.multi_container(kubectl, cloud), timeout=60)


def test_deletion_leaves_nothing(kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl("delete", "--filename", MANIFEST, "--timeout=60s", timeout=70)
    eventually(lambda: expectations.nothing(kubectl, cloud))


def test_groups_follow_the_service(kubectl: Kubectl, cloud: Cloud) -> None:
    kubectl("annotate", "service", "my-svc", f"{DOMAIN_KEY}.app=front.example.com")
    added = '[{"op": "add", "path": "/spec/ports/-", "value":'
    kubectl(
        *("patch", "service", "my-svc", "--type=json"),
        f'--patch={added} {{"name": "plain", "port": 80, "targetPort": "http"}}}}]',
    )

    def followed() -> bool:
        """the new port and the container's own domain are there"""
        groups = cloud.service_groups()
        assert (80, 8080, frozenset({"http"})) in published(groups["my-svc-app"])
        assert fqdns(groups["my-svc-app"]) == ["front.example.com"]
        assert fqdns(groups["my-svc-sidecar"]) == [f"sidecar-{DOMAIN}"]
        return True

    eventually(followed)

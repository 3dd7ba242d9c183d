from __future__ import annotations

import pytest

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from tests.unit.kubelet_api.reviewing import ReviewingApi


@pytest.fixture
def api() -> ReviewingApi:
    return ReviewingApi()


@pytest.fixture
def kubernetes(nursery, api) -> KubernetesClient:
    access = ClusterAccess(server="http://cluster.test")
    return KubernetesClient(access, transport=MemoryTransport(api, nursery))

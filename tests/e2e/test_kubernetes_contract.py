"""A real API server keeps the promises that the simulator is held to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import load_kubeconfig
from tests.e2e.bed.control_plane import ControlPlane
from tests.integration.kubernetes_contract import CLAIMS, Claim, a_namespace


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubernetesClient]:
    async with KubernetesClient(load_kubeconfig(control_plane.admin_kubeconfig)) as client:
        yield client


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
async def test_api_server(claim: Claim, client: KubernetesClient) -> None:
    async with a_namespace(client) as namespace:
        await claim(client, namespace)

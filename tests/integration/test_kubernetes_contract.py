"""The simulator keeps what an API server promises."""

import pytest

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.kubernetes.errors import Expired
from kraftlet_trio.kubernetes.resources import CONFIG_MAPS
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.integration.kubernetes_contract import CLAIMS, a_namespace, config_map


@pytest.fixture
async def simulator(nursery):
    simulator = KubernetesSimulator()
    await nursery.start(simulator.run)
    return simulator


@pytest.fixture
async def client(simulator, nursery):
    access = ClusterAccess(server="http://cluster.test")
    transport = MemoryTransport(simulator.handle, nursery)
    async with KubernetesClient(access, transport=transport) as client:
        yield client


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
async def test_simulator(claim, client, autojump_clock):
    async with a_namespace(client) as namespace:
        await claim(client, namespace)


async def test_watch_from_a_forgotten_version_is_expired(simulator, client):
    async with a_namespace(client) as namespace:
        made = await client.create(CONFIG_MAPS, config_map(), namespace=namespace)
        await client.patch(CONFIG_MAPS, "one", {"data": {"a": "b"}}, namespace=namespace)
        simulator.expire_history()
        with pytest.raises(Expired):
            async with client.watch(
                CONFIG_MAPS, resource_version=made.metadata.resource_version
            ) as events:
                await anext(events)

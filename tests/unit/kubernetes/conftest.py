import pytest

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import ClusterAccess


@pytest.fixture
def client_of(nursery):
    """Builds a client whose server is a handler in memory."""

    def client_of(handler, *, token=None) -> KubernetesClient:
        access = ClusterAccess(server="http://cluster.test", token=token)
        return KubernetesClient(access, transport=MemoryTransport(handler, nursery))

    return client_of

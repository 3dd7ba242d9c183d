"""One read of the certificate serves all who ask at once, and nobody is left with a failed one."""

import pytest
import trio

from kraftlet_trio.http.messages import json_response
from kraftlet_trio.kubernetes.errors import NotFound
from kraftlet_trio.kubernetes.root_certificates import FRESH_SECONDS, RootCertificates
from tests.unit.kubernetes.scripted import status


class Server:
    """Answers after a second; ``version`` is what it answers with, 0 for nothing at all."""

    def __init__(self):
        self.version = 1
        self.asked = []

    async def __call__(self, request):
        self.asked.append(request.path)
        version = self.version
        await trio.sleep(1)
        if not version:
            return status(404, "NotFound")
        return json_response({"metadata": {"name": "x"}, "data": {"ca.crt": str(version)}})


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def certificates(client_of, server):
    return RootCertificates(client_of(server))


async def version(certificates, namespace="default"):
    return int((await certificates.get(namespace)).data["ca.crt"])


async def test_one_read_serves_all_who_ask_soon(autojump_clock, server, certificates):
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(version, certificates)
        nursery.start_soon(version, certificates, "other")
    assert sorted(server.asked) == [
        f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt"
        for namespace in ("default", "other")
    ]
    server.version = 2
    assert await version(certificates) == 1
    await trio.sleep(FRESH_SECONDS)
    assert await version(certificates) == 2


async def test_change_is_seen_at_once_by_who_hears_of_it(autojump_clock, server, certificates):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(version, certificates)
        await trio.sleep(0.5)
        server.version = 2
        certificates.forget("default")
        assert await version(certificates) == 2
    assert await version(certificates) == 2


async def test_absence_is_not_remembered(autojump_clock, server, certificates):
    server.version = 0
    with pytest.raises(NotFound):
        await certificates.get("default")
    server.version = 1
    assert await version(certificates) == 1


async def test_others_take_over_from_a_cancelled_reader(autojump_clock, server, certificates):
    scope = trio.CancelScope()

    async def first():
        with scope:
            await certificates.get("default")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.sleep(0.1)
        for _ in range(3):
            nursery.start_soon(version, certificates)
        await trio.sleep(0.1)
        scope.cancel()
    assert len(server.asked) == 2

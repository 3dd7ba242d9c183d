"""The port's certificate as callers see it, while a cluster signs it, refuses to, or is silent."""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise

import attrs
import pytest
import trio
from cryptography import x509

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.cloud.faults import AnswerStatus, CommitThenDrop, DropBefore
from kraftlet_trio.simulators.kubernetes.resources import Json
from tests.log_reader import open_ports
from tests.manifests import NODE
from tests.signer import REQUESTS, Signer, decide
from tests.world import World, a_world

PORT = 10250
PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
HOUR = 3600.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    # Nothing happens in the cloud, and hours pass.
    async with a_world(pod_status_update_interval="1h") as world:
        open_ports(world)
        assert world.settings.kubelet_api is not None
        port = attrs.evolve(
            world.settings.kubelet_api, address="192.0.2.1", rotate_server_certificates=True
        )
        world.settings = attrs.evolve(world.settings, kubelet_api=port)
        await world.start_daemon()
        yield world


def served(world: World) -> x509.Certificate:
    """What a new connection gets."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(to_client, to_server)
    server = world.tls[PORT]().wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = client.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate)


def issuer(world: World) -> str:
    return served(world).issuer.rfc4514_string()


def own_signature(world: World) -> bool:
    return issuer(world) == f"CN=system:node:{NODE}"


def names(world: World) -> set[str]:
    told = served(world).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in told.value}


def requests(world: World) -> list[str]:
    """Names of those that nobody has decided."""
    every = world.cluster.objects(REQUESTS)
    every.sort(key=lambda one: int(one["metadata"]["resourceVersion"]))
    return [one["metadata"]["name"] for one in every if not one["status"].get("conditions")]


async def next_request(world: World, *, seconds: float = 60.0) -> str:
    await world.eventually(lambda: requests(world), seconds=seconds, every=1)
    [name] = requests(world)
    return name


def add_address(world: World, address: str) -> None:
    def change(node: Json) -> Json:
        node["status"]["addresses"].append({"type": "ExternalIP", "address": address})
        return node

    world.cluster.change("nodes", NODE, change, subresource="status")


async def test_own_signature_serves_until_the_cluster_signs(autojump_clock, world):
    name = await next_request(world)
    await trio.sleep(HOUR / 6)
    assert own_signature(world)
    assert requests(world) == [name]
    [event] = world.events("ServingCertificateRequested")
    assert f"kubectl certificate approve {name}" in event["message"]

    Signer().approve(world.cluster, name)
    await world.eventually(lambda: issuer(world) == "CN=signer", seconds=1)
    assert names(world) == {NODE, "192.0.2.1"}


async def test_certificate_is_renewed_in_the_last_third_of_its_life(autojump_clock, world):
    signer = Signer(timedelta(hours=2))
    signer.approve(world.cluster, await next_request(world))
    begin = trio.current_time()
    await trio.sleep(60)
    first = served(world)
    name = await next_request(world, seconds=2 * HOUR)
    assert 1.39 * HOUR < trio.current_time() - begin < 1.85 * HOUR
    assert served(world) == first
    signer.approve(world.cluster, name)
    await world.eventually(lambda: served(world) != first, seconds=1)
    assert served(world).not_valid_after_utc > first.not_valid_after_utc


async def test_new_address_asks_for_a_new_certificate(autojump_clock, world):
    signer = Signer()
    signer.approve(world.cluster, await next_request(world))
    add_address(world, "203.0.113.7")
    signer.approve(world.cluster, await next_request(world, seconds=120))
    await trio.sleep(1)
    assert names(world) == {NODE, "192.0.2.1", "203.0.113.7"}


async def test_new_address_makes_an_open_request_useless(autojump_clock, world):
    first = await next_request(world)
    add_address(world, "203.0.113.7")
    await world.eventually(lambda: len(requests(world)) == 2, seconds=120)
    # Decided too late: nobody waits for it any more.
    Signer().approve(world.cluster, first)
    await trio.sleep(120)
    assert own_signature(world)


async def test_denied_requests_are_told_and_made_ever_more_rarely(autojump_clock, world):
    begin, times = trio.current_time(), []
    for _ in range(3):
        name = await next_request(world, seconds=HOUR)
        times.append(trio.current_time() - begin)
        decide(world.cluster, name, "Denied", "not in this house")
        await trio.sleep(1)
        assert own_signature(world)
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[0] >= 60
    assert pauses[1] >= 120
    told = world.events("ServingCertificateRefused")
    assert "denied (Test: not in this house); approve the next request" in told[0]["message"]
    Signer().approve(world.cluster, await next_request(world, seconds=HOUR))
    await world.eventually(lambda: not own_signature(world), seconds=1)


async def test_forgotten_request_is_made_again(autojump_clock, world):
    name = await next_request(world)
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    world.cluster.delete({**kind, "metadata": {"name": name}})
    again = await next_request(world, seconds=300)
    assert again != name


async def test_missing_right_is_named_and_asked_for_again(autojump_clock, world):
    world.cluster_faults.add(AnswerStatus(403), method="POST", path=PATH, times=1)
    await world.eventually(lambda: world.events("ServingCertificateRefused"))
    [event] = world.events("ServingCertificateRefused")
    assert "grant the daemon create, get, list and watch" in event["message"]
    assert own_signature(world)
    Signer().approve(world.cluster, await next_request(world, seconds=180))
    await world.eventually(lambda: not own_signature(world), seconds=1)


async def test_outage_of_the_api_server_is_waited_out_without_a_word_to_users(
    autojump_clock, world
):
    # The first request is made, though the daemon never hears of it.
    world.cluster_faults.add(CommitThenDrop(), method="POST", path=PATH, times=1)
    world.cluster_faults.add(AnswerStatus(503), method="POST", path=PATH, times=5, skip=1)
    await world.eventually(lambda: len(requests(world)) == 2, seconds=600, every=1)
    assert not world.events("ServingCertificateRefused")
    Signer().approve(world.cluster, requests(world)[-1])
    await world.eventually(lambda: not own_signature(world), seconds=1)


async def test_decision_made_while_the_watch_is_broken_is_seen(autojump_clock, world):
    name = await next_request(world)
    world.cluster_faults.add(DropBefore(), method="GET", path=PATH + ".*", times=math.inf)
    await trio.sleep(HOUR / 4)
    Signer().approve(world.cluster, name)
    await trio.sleep(HOUR / 12)
    assert own_signature(world)
    world.cluster_faults.clear()
    await world.eventually(lambda: not own_signature(world), seconds=180, every=5)


async def test_restart_asks_anew_for_its_key_was_only_in_memory(autojump_clock, world):
    signer = Signer()
    signer.approve(world.cluster, await next_request(world))
    await trio.sleep(1)
    world.kill_daemon()
    await world.start_daemon()
    assert own_signature(world)
    signer.approve(world.cluster, await next_request(world))
    await world.eventually(lambda: issuer(world) == "CN=signer", seconds=1)


async def test_signed_certificate_is_good_for_who_knows_the_authority(autojump_clock, world):
    signer = Signer()
    signer.approve(world.cluster, await next_request(world))
    await trio.sleep(1)
    authority = x509.load_pem_x509_certificate(signer.authority(utc_now()).encode())
    served(world).verify_directly_issued_by(authority)

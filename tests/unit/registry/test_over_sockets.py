"""The client over TCP and TLS, as it is used."""

from __future__ import annotations

import ssl
from functools import partial

import pytest
import trio
import trustme

from kraftlet_trio.http.server import serve
from kraftlet_trio.registry.client import RegistryClient
from kraftlet_trio.registry.errors import Unreachable
from kraftlet_trio.registry.objects import Credential
from kraftlet_trio.registry.reference import parse_reference
from kraftlet_trio.simulators.registry import RegistrySimulator

ROBOT = Credential(username="robot", password="s3cret")


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def address(nursery, registry, authority) -> str:
    """Of the registry, which speaks TLS there."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    return await at(nursery, registry, "https", tls)


async def at(
    nursery: trio.Nursery,
    registry: RegistrySimulator,
    scheme: str,
    tls: ssl.SSLContext | None = None,
) -> str:
    port = await nursery.start(partial(serve, registry.handle, host="127.0.0.1", port=0, tls=tls))
    registry.url = f"{scheme}://127.0.0.1:{port}"
    registry.put_image("team/app", "1", config={"Cmd": ["serve"]}, readers=["robot"])
    return f"127.0.0.1:{port}"


async def test_over_tls(address, authority):
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    client = RegistryClient(ssl_context=trust)
    resolved = await client.resolve(parse_reference(f"{address}/team/app:1"), [ROBOT])
    assert resolved.config.cmd == ("serve",)


async def test_a_certificate_of_another_authority_is_refused(address, registry):
    client = RegistryClient()
    with pytest.raises(Unreachable, match="certificate verify failed"):
        await client.resolve(parse_reference(f"{address}/team/app:1"), [ROBOT])
    assert not registry.requests


async def test_without_tls(nursery, registry):
    address = await at(nursery, registry, "http")
    client = RegistryClient(plain_hosts=[address])
    resolved = await client.resolve(parse_reference(f"{address}/team/app:1"), [ROBOT])
    assert resolved.credential == ROBOT


async def test_no_proxy_of_the_environment_is_used(nursery, registry, monkeypatch):
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    address = await at(nursery, registry, "http")
    client = RegistryClient(plain_hosts=[address])
    assert await client.resolve(parse_reference(f"{address}/team/app:1"), [ROBOT])

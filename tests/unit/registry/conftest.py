from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import httpx
import pytest
import trio

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.http.messages import Handler
from kraftlet_trio.registry.client import RegistryClient
from kraftlet_trio.simulators.registry import RegistrySimulator


@attrs.define
class Internet(httpx.AsyncBaseTransport):
    """Hosts by the beginning of their URLs; all others cannot be reached."""

    nursery: trio.Nursery
    hosts: dict[str, Handler]
    asked: list[httpx.Request] = attrs.field(factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        host = f"{request.url.scheme}://{request.url.netloc.decode()}"
        if host not in self.hosts:
            raise httpx.ConnectError("Connection refused", request=request)
        transport = MemoryTransport(self.hosts[host], self.nursery)
        return await transport.handle_async_request(request)

    def urls(self) -> list[str]:
        return [str(request.url) for request in self.asked]


@pytest.fixture
def registry() -> RegistrySimulator:
    """What is at registry.test."""
    return RegistrySimulator(passwords={"robot": "s3cret"}, identity_tokens={"t0ken": "robot"})


@pytest.fixture
def internet(nursery, registry) -> Internet:
    return Internet(nursery, {"https://registry.test": registry.handle})


@pytest.fixture
def client_of(internet) -> Callable[..., RegistryClient]:
    """A client; the handlers by host are what it reaches besides the registry."""

    def make(hosts: Mapping[str, Handler] | None = None, **options) -> RegistryClient:
        internet.hosts.update(hosts or {})
        return RegistryClient(transport=internet, **options)

    return make

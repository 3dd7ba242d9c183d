"""Calls the node's port in a world in memory, with or without an upgrade of the connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import attrs
import trio
from trio.testing import memory_stream_pair

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Request, Response
from tests.spdy_client import ClientStream, SPDYClient
from tests.websocket_client import WebSocketClient
from tests.world import World

PORT = 10250
SPDY = {
    "connection": "Upgrade",
    "upgrade": "SPDY/3.1",
    "x-stream-protocol-version": "v4.channel.k8s.io",
}
WEBSOCKET = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "sec-websocket-protocol": "v5.channel.k8s.io",
}


@attrs.define(eq=False)
class SPDYCommand:
    """The streams that were asked for are open, and the others are not there."""

    client: SPDYClient
    streams: dict[str, ClientStream]

    async def end(self) -> bytes:
        """What the error stream says."""
        return await self.streams["error"].whole()


@attrs.define
class NodeCaller:
    world: World
    seconds: int = 3600
    """How long the token lasts."""
    _token: str = attrs.field(default="", init=False)

    async def ask(
        self,
        path: str,
        query: object = (),
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        if not self._token:
            account = {"metadata": {"namespace": "default", "name": "caller", "uid": "1"}}
            self._token = self.world.cluster.identities.issue(account, (), self.seconds, utc_now())
        return await self.world.ports[PORT](
            Request(
                method=method,
                path=path,
                query_string=urlencode(query, doseq=True),  # type: ignore[arg-type]
                headers={"authorization": f"Bearer {self._token}", **(headers or {})},
            )
        )

    async def refusal(self, path: str, query: object = (), **fields: object) -> tuple[int, str]:
        response = await self.ask(path, query, **fields)  # type: ignore[arg-type]
        return response.status, response.body.decode()

    @asynccontextmanager
    async def upgraded(self, response: Response) -> AsyncIterator[trio.abc.Stream]:
        """The client's end of the connection, which is closed at the end."""
        assert response.status == 101, response.body
        assert response.upgrade is not None
        upgrade = response.upgrade
        ours, theirs = memory_stream_pair()

        async def serve() -> None:
            async with theirs:
                try:
                    await upgrade(theirs)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield ours
            await ours.aclose()

    @asynccontextmanager
    async def spdy_command(
        self, path: str, query: object, *names: str
    ) -> AsyncIterator[SPDYCommand]:
        """With these streams besides that of errors."""
        response = await self.ask(path, query, method="POST", headers=SPDY)
        async with self.upgraded(response) as stream, trio.open_nursery() as nursery:
            client = SPDYClient(stream)
            nursery.start_soon(client.run)
            streams = {name: await client.open({"streamtype": name}) for name in ("error", *names)}
            yield SPDYCommand(client, streams)
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def websocket(
        self, path: str, query: object, **headers: str
    ) -> AsyncIterator[WebSocketClient]:
        response = await self.ask(path, query, headers=WEBSOCKET | headers)
        async with self.upgraded(response) as stream, trio.open_nursery() as nursery:
            client = WebSocketClient(stream)
            nursery.start_soon(client.run)
            yield client
            nursery.cancel_scope.cancel()

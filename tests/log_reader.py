"""Reads containers' logs off the node's port in a world in memory, as the API server does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import attrs
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.settings import parse_settings
from tests.world import World

_PORT = 10250


def open_ports(world: World) -> None:
    """Let the next daemon have a kubelet API."""
    parsed = parse_settings({"ukc_default_metro": "http://cloud.test", "ukc_token": "token"})
    world.settings = attrs.evolve(world.settings, kubelet_api=parsed.kubelet_api)


@attrs.define
class Following:
    """What has come so far."""

    data: bytes = b""
    ended: bool = False


@attrs.define
class LogReader:
    world: World

    async def ask(self, pod: str = "web", container: str = "app", **options: object) -> Response:
        account = {"metadata": {"namespace": "default", "name": "reader", "uid": "1"}}
        token = self.world.cluster.identities.issue(account, (), 3600, utc_now())
        words = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in options.items()
        }
        return await self.world.ports[_PORT](
            Request(
                method="GET",
                path=f"/containerLogs/default/{pod}/{container}",
                query_string=urlencode(words),
                headers={"authorization": f"Bearer {token}"},
            )
        )

    async def read(self, pod: str = "web", container: str = "app", **options: object) -> bytes:
        response = await self.ask(pod, container, **options)
        assert response.status == 200, response.body
        assert response.stream is not None
        read = Following()
        await response.stream(_taker(read))
        return read.data

    async def refusal(
        self, pod: str = "web", container: str = "app", **options: object
    ) -> tuple[int, str]:
        response = await self.ask(pod, container, **options)
        return response.status, response.body.decode()

    @asynccontextmanager
    async def follow(
        self, pod: str = "web", container: str = "app", **options: object
    ) -> AsyncIterator[Following]:
        response = await self.ask(pod, container, follow=True, **options)
        assert response.status == 200, response.body
        stream = response.stream
        assert stream is not None
        following = Following()

        async def take() -> None:
            await stream(_taker(following))
            following.ended = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            yield following
            nursery.cancel_scope.cancel()


def _taker(following: Following):  # type: ignore[no-untyped-def]
    async def take(data: bytes) -> None:
        assert data, "an empty chunk would end the answer"
        await trio.lowlevel.checkpoint()
        following.data += data

    return take

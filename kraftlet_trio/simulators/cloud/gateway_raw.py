"""Bytes both ways between a client and a member of a service group."""

from __future__ import annotations

import trio

from kraftlet_trio.simulators.cloud.gateway_route import Route, Unavailable
from kraftlet_trio.simulators.cloud.records import Instance


async def serve_raw(client: trio.abc.Stream, route: Route) -> None:
    """Connect *client*, whose TLS is off already, to a member until either side ends it.

    Where there is no member or nobody listens, the connection is just closed.
    """
    try:
        instance = await route.member()
        with route.counted(instance):
            async with await route.connect(instance) as guest:
                await relay(client, guest, route, instance)
    except (Unavailable, OSError):
        return


async def relay(
    client: trio.abc.Stream, guest: trio.abc.Stream, route: Route, instance: Instance
) -> None:
    """Until the guest ends its side, or the connection breaks.

    The client may end its own side before: a guest that has read all may still have to answer.
    """

    async def to_guest() -> None:
        async for data in client:
            # It may have gone to standby over a silent connection.
            await route.awake(instance)
            await guest.send_all(data)
            instance.traffic.received(len(data))
        if isinstance(guest, trio.abc.HalfCloseableStream):
            await guest.send_eof()

    async def to_client() -> None:
        async for data in guest:
            instance.traffic.sent(len(data))
            await client.send_all(data)
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(to_guest)
            nursery.start_soon(to_client)
    except* (Unavailable, trio.BrokenResourceError, trio.ClosedResourceError):
        pass

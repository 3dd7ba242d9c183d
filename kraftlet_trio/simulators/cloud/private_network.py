"""Connections to instances at their private addresses, as other instances make them.

They pass by the load balancer: they count for scale to zero, and wake what sleeps, but are in no
limit or metric (reference, scale to zero: traffic to the private name wakes an instance).
"""

from __future__ import annotations

import errno
from contextlib import ExitStack

import trio

from kraftlet_trio.cloud.objects import DRAINING, RUNNING, STANDBY, STARTING, STOPPING
from kraftlet_trio.simulators.cloud.calls import Cloud
from kraftlet_trio.simulators.cloud.records import Instance


async def connect_privately(cloud: Cloud, address: str, port: int) -> trio.abc.HalfCloseableStream:
    """Raises ``OSError`` where there is nobody, or nobody who listens."""
    instance = next((one for one in cloud.account.instances if one.private_ip == address), None)
    if instance is None or not await _is_up(cloud, instance):
        raise OSError(errno.EHOSTUNREACH, "No route to host")
    with ExitStack() as stack:
        stack.enter_context(instance.traffic.private_connection())
        stream = await cloud.runtime.connect(instance.uuid, address, port)
        return _PrivateStream(cloud, instance, stream, stack.pop_all())


async def _is_up(cloud: Cloud, instance: Instance) -> bool:
    """Whether it runs, after having been woken up if need be."""
    if instance.state == STANDBY or instance.is_falling_asleep:
        with instance.traffic.queued():
            while instance.is_falling_asleep:
                await instance.changed.wait()
            cloud.lifecycle.wake(instance, origin="proxy")
            while instance.state == STARTING:
                await instance.changed.wait()
    return instance.state in (RUNNING, DRAINING, STOPPING)


class _PrivateStream(trio.abc.HalfCloseableStream):
    def __init__(
        self, cloud: Cloud, instance: Instance, stream: trio.abc.Stream, counted: ExitStack
    ) -> None:
        self._cloud = cloud
        self._instance = instance
        self._stream = stream
        self._counted = counted

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not await _is_up(self._cloud, self._instance):
            raise trio.BrokenResourceError("the instance is gone")
        self._instance.traffic.moved()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self._instance.traffic.moved()
        return data

    async def aclose(self) -> None:
        self._counted.close()
        await self._stream.aclose()

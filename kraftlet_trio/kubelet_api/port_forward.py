"""``/portForward``: connections to a Pod's ports, whichever of its containers listens there."""

from __future__ import annotations

from functools import partial

import attrs
import structlog
import trio

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.cloud.sandbox import SandboxClient
from kraftlet_trio.commands.tunnel import open_tunnel
from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.kubelet_api.answers import text
from kraftlet_trio.kubelet_api.running_containers import (
    NotThere,
    RunningContainers,
    executes_commands,
)
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.probes.means import Dial, cannot_connect, took_too_long
from kraftlet_trio.streaming.upgrade import upgrade_to_port_forward

log = structlog.get_logger()

DIRECT_SECONDS = 5.0
"""For a connection to an address that the daemon may not reach; waking an instance is in it."""


@attrs.frozen
class PortForward:
    _containers: RunningContainers
    _sandbox: SandboxClient
    _dial: Dial | None
    """To private addresses; None where the daemon does not reach them."""

    async def answer(self, request: Request, *path: str) -> Response:
        """*path* is as ``RunningContainers.pod`` takes it."""
        try:
            pod = self._containers.pod(*path)
            if not self._containers.of_pod(pod):
                raise NotThere(500, f"no container of Pod {pod.metadata.name} runs")
        except NotThere as refusal:
            return text(str(refusal), refusal.status)
        await trio.lowlevel.checkpoint()
        return upgrade_to_port_forward(request, partial(self._connect, pod))

    async def _connect(self, pod: Pod, port: int) -> trio.abc.HalfCloseableStream:
        """To whoever listens: those that declare the port are asked first. Raises ``OSError``."""
        running = self._containers.of_pod(pod)
        running.sort(key=lambda each: not _declares(each[0], port))
        problem = OSError(f"no container of Pod {pod.metadata.name} runs")
        for _, instance in running:
            try:
                return await self._connect_to(instance, port)
            except OSError as error:
                # What the likeliest one says tells the most.
                if instance is running[0][1]:
                    problem = error
        raise problem

    async def _connect_to(self, instance: Instance, port: int) -> trio.abc.HalfCloseableStream:
        """Raises ``OSError``."""
        if self._dial is not None:
            try:
                return await _dialled(self._dial, instance.private_ip, port)
            except ConnectionRefusedError:
                raise
            except OSError as error:
                if not executes_commands(instance):
                    raise
                log.debug("not reached directly", instance=instance.name, error=str(error))
        if not executes_commands(instance):
            raise OSError(
                f"the daemon reaches no private addresses, and instance {instance.name} has no "
                "sandbox plugin to go through"
            )
        return await open_tunnel(self._sandbox, instance.uuid, port)


async def _dialled(dial: Dial, host: str, port: int) -> trio.abc.HalfCloseableStream:
    try:
        with trio.fail_after(DIRECT_SECONDS):
            return await dial(host, port)
    except trio.TooSlowError as error:
        raise OSError(took_too_long(host, port)) from error
    except OSError as error:
        words = cannot_connect(error, host, port)
        kind = ConnectionRefusedError if "refused" in words else OSError
        raise kind(words) from error


def _declares(container: Container, port: int) -> bool:
    return any(declared.container_port == port for declared in container.ports)

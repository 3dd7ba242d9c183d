"""One attempt of a container's probe, whichever of the four actions it has."""

from __future__ import annotations

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.pod import Container, Probe
from kraftlet_trio.mapping.environment import expand
from kraftlet_trio.probes.exec_command import probe_exec
from kraftlet_trio.probes.grpc_health import probe_grpc
from kraftlet_trio.probes.http_get import probe_http
from kraftlet_trio.probes.http_request import http_request
from kraftlet_trio.probes.means import ProbeMeans
from kraftlet_trio.probes.outcome import CannotProbe, Outcome
from kraftlet_trio.probes.ports import container_port
from kraftlet_trio.probes.tcp_socket import probe_tcp


def needs_network(probe: Probe) -> bool:
    """Whether it goes to the instance's private address, not through the platform."""
    return probe.exec is None


async def attempt_probe(
    means: ProbeMeans, probe: Probe, container: Container, instance: Instance
) -> Outcome:
    """Raises ``CannotProbe``."""
    seconds = float(probe.timeout_seconds)
    if probe.exec is not None:
        argv = expanded(probe.exec.command, container)
        return await probe_exec(means.sandbox, instance.uuid, argv, timeout_seconds=seconds)
    if probe.http_get is not None:
        host = probe.http_get.host or _private_ip(instance)
        request = http_request(probe.http_get, container, host, "probe")
        return await probe_http(means.dial, request, timeout_seconds=seconds)
    if probe.tcp_socket is not None:
        port = container_port(probe.tcp_socket.port, container)
        host = probe.tcp_socket.host or _private_ip(instance)
        return await probe_tcp(means.dial, host, port, timeout_seconds=seconds)
    if probe.grpc is not None:
        host, port = _private_ip(instance), container_port(probe.grpc.port, container)
        service = probe.grpc.service
        return await probe_grpc(means.dial, host, port, service, timeout_seconds=seconds)
    raise CannotProbe(f"container {container.name} has a probe without a known action")


def expanded(command: tuple[str, ...], container: Container) -> tuple[str, ...]:
    """With ``$(NAME)`` replaced by the values that the container's spec itself gives.

    Source: kubelet's ExpandContainerCommandOnlyStatic, which it applies to exec probes alone.
    """
    variables = {variable.name: variable.value for variable in container.env}
    return tuple(expand(word, variables) for word in command)


def _private_ip(instance: Instance) -> str:
    if not instance.private_ip:
        raise CannotProbe("the instance has no private address yet")
    return instance.private_ip

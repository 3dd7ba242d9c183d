"""Single attempts and hooks against real processes: real sockets, real commands, real time."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.objects import InstanceRequest, PluginRequest
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.kubernetes.pod import (
    EnvVar,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    LifecycleHandler,
    Probe,
    TCPSocketAction,
)
from kraftlet_trio.probes.attempt import attempt_probe
from kraftlet_trio.probes.handler import HookError, run_handler
from kraftlet_trio.probes.means import ProbeMeans
from kraftlet_trio.probes.outcome import CannotProbe, Healthy, Unhealthy
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from tests.builders import a_container

SETTINGS = CloudSettings(boot_seconds=0, stop_grace_seconds=2)
CONTAINER = a_container(env=(EnvVar(name="CODE", value="7"),))


@asynccontextmanager
async def an_echo_server(plugins=()):
    """The means to reach its instance, and the instance."""
    async with trio.open_nursery() as nursery:
        cloud = CloudSimulator(token="t", runtime=ProcessRuntime(), settings=SETTINGS)
        await nursery.start(cloud.run)
        access = CloudAccess(base_url="http://cloud.test", token=lambda: "t")
        async with CloudClient(access, transport=MemoryTransport(cloud.handle, nursery)) as client:
            request = InstanceRequest(name="web", image="echo", autostart=True, plugins=plugins)
            created = await client.create_instance(request)
            [instance] = await client.get_instances(uuids=[created.uuid])
            with trio.fail_after(20):
                await _listens(instance.private_ip)

            async def read_state(uuid):
                return (await client.get_instances(uuids=[uuid]))[0].state

            yield ProbeMeans(sandbox=client.sandbox, read_state=read_state), instance
        nursery.cancel_scope.cancel()


async def _listens(address):
    while True:
        try:
            await trio.aclose_forcefully(await trio.open_tcp_stream(address, 8080))
        except OSError:
            await trio.sleep(0.05)
        else:
            return


async def test_network_probes_over_real_sockets():
    async with an_echo_server() as (means, instance):

        async def attempt(**action):
            return await attempt_probe(
                means, Probe(timeout_seconds=5, **action), CONTAINER, instance
            )

        assert await attempt(http_get=HTTPGetAction(path="/x", port=8080)) == Healthy()
        assert await attempt(tcp_socket=TCPSocketAction(port=8080)) == Healthy()
        assert isinstance(await attempt(grpc=GRPCAction(port=8080)), Unhealthy)
        refused = f"dial tcp {instance.private_ip}:81: connect: connection refused"
        assert await attempt(tcp_socket=TCPSocketAction(port=81)) == Unhealthy(refused)
        outcome = await attempt(http_get=HTTPGetAction(path="/", port=81))
        assert outcome.message.endswith(refused)
        await run_handler(
            means,
            LifecycleHandler(http_get=HTTPGetAction(path="/", port=8080)),
            CONTAINER,
            instance,
        )


async def test_commands_of_probes_and_hooks_run_beside_the_application():
    plugins = (PluginRequest(name="sandbox", image="plugins/sandbox:latest", config={}),)
    async with an_echo_server(plugins) as (means, instance):

        async def attempt(*argv, seconds=5):
            probe = Probe(timeout_seconds=seconds, exec=ExecAction(command=argv))
            return await attempt_probe(means, probe, CONTAINER, instance)

        assert await attempt("true") == Healthy()
        assert await attempt("sh", "-c", "echo no; exit $(CODE)") == Unhealthy("no\n")
        timed_out = await attempt("sleep", "60", seconds=1)
        assert timed_out == Unhealthy('command timed out: "sleep 60" timed out after 1s')
        with pytest.raises(CannotProbe, match="no-such-program"):
            await attempt("no-such-program")
        hook = LifecycleHandler(exec=ExecAction(command=("sh", "-c", "exit 3")))
        with pytest.raises(HookError, match="exit code 3"):
            await run_handler(means, hook, CONTAINER, instance)


async def test_command_without_the_plugin_cannot_be_run():
    async with an_echo_server() as (means, instance):
        probe = Probe(exec=ExecAction(command=("true",)))
        with pytest.raises(CannotProbe, match="plugin is not attached"):
            await attempt_probe(means, probe, CONTAINER, instance)

"""Traffic to instances' private addresses: what scripted guests answer, and whom it wakes."""

import pytest
import trio

from kraftlet_trio.probes.grpc_health import probe_grpc
from kraftlet_trio.probes.outcome import Healthy, Unhealthy
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.runtime_virtual import VirtualRuntime
from kraftlet_trio.simulators.cloud.scripted_ports import Health
from kraftlet_trio.simulators.cloud.settings import CloudSettings

IMAGES = """
images:
  web: {ports: {8080: http, 9000: grpc, 5432: tcp}}
  late: {ports: {8080: http}, listens_after_seconds: 5}
"""
GROUP = {"services": [{"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}]}
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.fixture
async def cloud(cloud_of):
    settings = CloudSettings(idle_instances_go_to_standby=True)
    return await cloud_of(
        images=ImageCatalogue.parse(IMAGES), runtime=VirtualRuntime(settings), settings=settings
    )


async def sleepy(cloud, policy="on", image="web"):
    scaling = {"policy": policy, "cooldown_time_ms": 2000}
    instance = await cloud.create(image, scale_to_zero=scaling, service_group=GROUP)
    return await cloud.wait(instance["uuid"], "running")


async def running(cloud, image="web"):
    instance = await cloud.create(image)
    return await cloud.wait(instance["uuid"], "running")


async def ask(cloud, instance, port=8080):
    """The first line of what a GET is answered."""
    async with await cloud.simulator.dial(instance["private_ip"], port) as stream:
        await stream.send_all(REQUEST)
        said = b""
        async for data in stream:
            said += data
    return said.partition(b"\r\n")[0].decode()


async def state(cloud, instance):
    return (await cloud.read(instance["uuid"]))["state"]


async def test_scripted_ports_speak_their_protocols(autojump_clock, cloud):
    instance = await running(cloud)
    assert await ask(cloud, instance) == "HTTP/1.1 200 OK"
    address = instance["private_ip"]
    assert await probe_grpc(cloud.simulator.dial, address, 9000, "", timeout_seconds=1) == Healthy()
    async with await cloud.simulator.dial(address, 5432) as stream:
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"


async def test_health_of_a_port_can_be_turned(autojump_clock, cloud):
    instance = await running(cloud)
    runtime, uuid, address = cloud.simulator.runtime, instance["uuid"], instance["private_ip"]
    for port in (8080, 9000):
        runtime.port(uuid, port).health = Health.BAD
    assert await ask(cloud, instance) == "HTTP/1.1 503 Service Unavailable"
    outcome = await probe_grpc(cloud.simulator.dial, address, 9000, "", timeout_seconds=1)
    assert isinstance(outcome, Unhealthy)
    runtime.port(uuid, 8080).health = Health.SILENT
    with trio.move_on_after(10) as scope:
        await ask(cloud, instance)
    assert scope.cancelled_caught
    runtime.port(uuid, 8080).health = Health.CLOSED
    with pytest.raises(ConnectionRefusedError):
        await ask(cloud, instance)


async def test_next_run_feels_well_again(autojump_clock, cloud):
    instance = await running(cloud)
    path = f"/instances/{instance['uuid']}"
    cloud.simulator.runtime.port(instance["uuid"], 8080).health = Health.BAD
    await cloud.call("PUT", f"{path}/stop", {})
    await cloud.wait(instance["uuid"], "stopped")
    with pytest.raises(OSError, match="No route"):
        await ask(cloud, instance)
    await cloud.call("PUT", f"{path}/start", {})
    await cloud.wait(instance["uuid"], "running")
    assert await ask(cloud, instance) == "HTTP/1.1 200 OK"


async def test_connections_end_with_the_guest(autojump_clock, cloud):
    instance = await running(cloud)
    async with await cloud.simulator.dial(instance["private_ip"], 5432) as stream:
        await cloud.call("PUT", f"/instances/{instance['uuid']}/stop", {"force": True})
        assert await stream.receive_some() == b""


async def test_nobody_listens_before_the_application_does(autojump_clock, cloud):
    instance = await running(cloud, "late")
    with pytest.raises(ConnectionRefusedError):
        await ask(cloud, instance)
    await trio.sleep(5)
    assert await ask(cloud, instance) == "HTTP/1.1 200 OK"


async def test_unknown_addresses_and_ports_do_not_answer(autojump_clock, cloud):
    instance = await running(cloud)
    with pytest.raises(OSError, match="No route"):
        await cloud.simulator.dial("10.99.99.99", 8080)
    with pytest.raises(ConnectionRefusedError):
        await cloud.simulator.dial(instance["private_ip"], 81)


async def test_private_traffic_wakes_a_sleeper_and_begins_its_cooldown_anew(autojump_clock, cloud):
    instance = await sleepy(cloud)
    await trio.sleep(1.5)
    await ask(cloud, instance)
    await trio.sleep(1.5)
    assert await state(cloud, instance) == "running"
    await cloud.wait(instance["uuid"], "standby")
    assert await ask(cloud, instance) == "HTTP/1.1 200 OK"
    assert await state(cloud, instance) == "running"


@pytest.mark.parametrize(("policy", "sleeps"), [("on", False), ("idle", True)])
async def test_open_connection_keeps_awake_by_policy(autojump_clock, cloud, policy, sleeps):
    instance = await sleepy(cloud, policy)
    async with await cloud.simulator.dial(instance["private_ip"], 5432):
        await trio.sleep(30)
        assert (await state(cloud, instance) == "standby") == sleeps
    await cloud.wait(instance["uuid"], "standby")


async def test_private_connections_are_in_no_metric(autojump_clock, cloud):
    instance = await running(cloud)
    async with await cloud.simulator.dial(instance["private_ip"], 5432):
        [record] = cloud.simulator.account.instances
        traffic = record.traffic
        assert (traffic.nconns, traffic.ntotal, traffic.nprivate) == (0, 0, 1)
    assert traffic.nprivate == 0

"""Service groups that serve, over sockets of the loopback, with guests inside the test.

On the real clock, for sockets are outside of a mocked one; waits are milliseconds.
"""

import ssl
from contextlib import asynccontextmanager
from ipaddress import IPv4Network

import attrs
import httpx
import pytest
import trio
import trio.testing

from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.http.server import serve_connection
from kraftlet_trio.simulators.cloud.runtime import Crashed
from kraftlet_trio.simulators.cloud.runtime_virtual import VirtualRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings

HTTPS = [{"port": 443, "destination_port": 8080, "handlers": ["http", "tls"]}]
TLS = [{"port": 5432, "destination_port": 8080, "handlers": ["tls"]}]
SCALING = {"policy": "on", "cooldown_time_ms": 50}


@attrs.define
class TalkingRuntime(VirtualRuntime):
    """Scripted guests that listen on 8080: each connection is served by :attr:`talk`."""

    nursery: trio.Nursery = None
    network = IPv4Network("10.0.0.0/8")
    talk: object = None
    frozen: set = attrs.field(factory=set)
    connected: list = attrs.field(factory=list)

    async def connect(self, uuid, address, port):
        if port != 8080 or uuid not in self._running:
            raise ConnectionRefusedError(port)
        ours, theirs = trio.testing.memory_stream_pair()
        self.connected.append(uuid)
        self.nursery.start_soon(self.talk, uuid, theirs)
        return ours

    def freeze(self, uuid):
        self.frozen.add(uuid)
        return True

    def thaw(self, uuid):
        self.frozen.remove(uuid)


async def say_who(uuid, stream):
    async def answer(request):
        return json_response(
            {"who": uuid, "path": request.path, "headers": dict(request.headers)}
            | {"body": request.body.decode()}
        )

    await serve_connection(answer, stream)


async def shout(_uuid, stream):
    async for data in stream:
        await stream.send_all(data.upper())
    await stream.aclose()


@pytest.fixture
async def serving(cloud_of, nursery):
    async def serving(talk=say_who, **settings):
        runtime = TalkingRuntime(nursery=nursery, talk=talk)
        settings = {"boot_seconds": 0.01, "port_opens_within_seconds": 0, **settings}
        return await cloud_of(
            runtime=runtime, settings=CloudSettings(serve_groups=True, **settings)
        )

    return serving


async def group_of(cloud, services=HTTPS, *, members=1, name="web", limits=None, **spec):
    """A group with running members; their UUIDs."""
    await cloud.item("POST", "/services", {"name": name, "services": services, **(limits or {})})
    uuids = []
    for _ in range(members):
        instance = await cloud.create(service_group={"name": name}, **spec)
        await cloud.wait(instance["uuid"], "running")
        uuids.append(instance["uuid"])
    return uuids


async def own(cloud, path):
    response = await cloud.http.get(f"/simulator/v1/{path}")
    assert response.status_code == 200, response.text
    return response


async def address(cloud, port=443, group="web"):
    host, port = (await own(cloud, "gateways")).json()[group][str(port)].split(":")
    return host, int(port)


async def trust(cloud):
    return ssl.create_default_context(cadata=(await own(cloud, "ca.pem")).text)


@asynccontextmanager
async def browser(cloud, port=443, group="web"):
    host, local_port = await address(cloud, port, group)
    scheme = "http" if port == 80 else "https"
    async with httpx.AsyncClient(
        base_url=f"{scheme}://{host}:{local_port}", verify=await trust(cloud), timeout=5
    ) as client:
        yield client


async def raw_connection(cloud, port=5432):
    host, local_port = await address(cloud, port)
    stream = await trio.open_ssl_over_tcp_stream(
        host, local_port, ssl_context=await trust(cloud), https_compatible=True
    )
    await stream.do_handshake()
    return stream


async def metrics(cloud, uuid):
    return await cloud.item("GET", f"/instances/{uuid}/metrics")


async def test_requests_of_one_connection_reach_the_members_in_turn(serving):
    cloud = await serving()
    uuids = await group_of(cloud, members=3)
    async with browser(cloud) as client:
        answers = [(await client.get("/a?b")).json()["who"] for _ in range(6)]
    assert answers == [*uuids, *uuids]


async def test_request_arrives_as_it_was_sent(serving):
    cloud = await serving()
    await group_of(cloud)
    async with browser(cloud) as client:
        answer = await client.post("/path?q", content="text", headers={"x-own": "1"})
    seen = answer.json()
    assert (seen["path"], seen["body"]) == ("/path", "text")
    assert seen["headers"]["x-own"] == "1"
    assert "connection" not in seen["headers"]


async def test_long_bodies_stream_both_ways(serving):
    async def echo(_uuid, stream):
        async def answer(request):
            async def send_back(send):
                for _ in range(3):
                    await send(request.body)

            return Response(stream=send_back)

        await serve_connection(answer, stream)

    cloud = await serving(echo)
    await group_of(cloud)
    big = b"x" * 1_000_000

    async def chunks():
        for at in range(0, len(big), 100_000):
            yield big[at : at + 100_000]

    async with browser(cloud) as client:
        answer = await client.post("/", content=chunks())
    assert answer.content == big * 3


async def test_head_is_answered_without_a_body(serving):
    cloud = await serving()
    await group_of(cloud)
    async with browser(cloud) as client:
        answers = [await client.head("/"), await client.get("/")]
    assert answers[0].content == b""
    assert answers[1].json()["path"] == "/"


async def test_client_that_leaves_ends_its_request_to_the_guest(serving):
    left = trio.Event()

    async def drip(_uuid, stream):
        async def answer(_request):
            async def forever(send):
                try:
                    while True:
                        await send(b"drop")
                        await trio.sleep(0.01)
                finally:
                    left.set()

            return Response(stream=forever)

        await serve_connection(answer, stream)

    cloud = await serving(drip)
    [uuid] = await group_of(cloud)
    stream = await raw_connection(cloud, 443)
    await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
    assert (await metrics(cloud, uuid))["nreqs"] == 1
    await trio.aclose_forcefully(stream)
    with trio.fail_after(2):
        await left.wait()
        while (await metrics(cloud, uuid))["nreqs"]:  # noqa: ASYNC110 - no event tells
            await trio.sleep(0.01)


async def test_certificate_covers_the_generated_domain(serving):
    cloud = await serving()
    [uuid] = await group_of(cloud)
    [domain] = (await cloud.read(uuid))["service_group"]["domains"]
    host, port = await address(cloud)
    stream = await trio.open_tcp_stream(host, port)
    secure = trio.SSLStream(stream, await trust(cloud), server_hostname=domain["fqdn"])
    await secure.do_handshake()
    await trio.aclose_forcefully(secure)


async def test_bytes_pass_as_they_are_behind_tls_alone(serving):
    cloud = await serving(shout)
    [uuid] = await group_of(cloud, TLS)
    stream = await raw_connection(cloud)
    await stream.send_all(b"hello")
    assert await stream.receive_some() == b"HELLO"
    seen = await metrics(cloud, uuid)
    assert [seen[name] for name in ("nconns", "nreqs", "ntotal")] == [1, 0, 1]
    assert (seen["rx_bytes"], seen["tx_bytes"]) == (5, 5)
    await trio.aclose_forcefully(stream)


async def test_switched_protocol_is_a_relay(serving):
    async def switch(_uuid, stream):
        while b"\r\n\r\n" not in await stream.receive_some():
            pass
        await stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: loud\r\n\r\n"
        )
        await shout(_uuid, stream)

    cloud = await serving(switch)
    await group_of(cloud)
    stream = await raw_connection(cloud, 443)
    await stream.send_all(
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: loud\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive_some()
    assert head.startswith(b"HTTP/1.1 101 ")
    await stream.send_all(b"words")
    assert await stream.receive_some() == b"WORDS"
    await trio.aclose_forcefully(stream)


async def test_wrong_guest_port_is_a_502_page(serving):
    cloud = await serving()
    await group_of(cloud, [{**HTTPS[0], "destination_port": 1234}])
    async with browser(cloud) as client:
        answer = await client.get("/")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "text/html"


async def test_guest_that_hangs_up_is_a_502_page(serving):
    async def hang_up(_uuid, stream):
        await stream.receive_some()
        await stream.aclose()

    cloud = await serving(hang_up)
    await group_of(cloud)
    async with browser(cloud) as client:
        assert (await client.get("/")).status_code == 502


async def test_group_without_a_running_member_answers_503(serving):
    cloud = await serving()
    await group_of(cloud, members=0)
    async with browser(cloud) as client:
        assert (await client.post("/", content=b"x" * 1000)).status_code == 503


async def test_redirect_leads_to_https(serving):
    cloud = await serving()
    await group_of(cloud, [*HTTPS, {"port": 80, "handlers": ["http", "redirect"]}])
    async with browser(cloud, 80) as client:
        answer = await client.get("/path?q", headers={"host": "web.example:8080"})
    assert answer.status_code == 301
    assert answer.headers["location"] == "https://web.example/path?q"


async def test_ports_follow_the_group(serving):
    cloud = await serving()
    await group_of(cloud, members=0)
    before = (await own(cloud, "gateways")).json()
    assert before["web"].keys() == {"443"}
    change = {"name": "web", "prop": "services", "op": "add", "value": TLS}
    await cloud.item("PATCH", "/services", [change])
    after = (await own(cloud, "gateways")).json()
    assert after["web"].keys() == {"443", "5432"}
    assert after["web"]["443"] == before["web"]["443"]
    await cloud.item("DELETE", "/services", [{"name": "web"}])
    assert (await own(cloud, "gateways")).json() == {}
    host, _, port = after["web"]["443"].partition(":")
    with pytest.raises(OSError):  # noqa: PT011 - the message is the system's
        await trio.open_tcp_stream(host, int(port))


async def test_without_serving_there_are_no_gateways(cloud):
    assert (await cloud.http.get("/simulator/v1/gateways")).status_code == 404


async def test_idle_instance_sleeps_and_a_request_wakes_it(serving):
    cloud = await serving()
    [uuid] = await group_of(cloud, scale_to_zero=SCALING)
    asleep = await cloud.wait(uuid, "standby")
    assert asleep["stop_reason"] == 39
    async with browser(cloud) as client:
        assert (await client.get("/")).json()["who"] == uuid
    seen = await metrics(cloud, uuid)
    assert seen["start_count"] == 2
    assert sum(bucket["count"] for bucket in seen["wakeup_latency"]) == 1
    await cloud.wait(uuid, "standby")


async def test_requests_that_come_as_it_falls_asleep_wake_it_again(serving):
    cloud = await serving(stop_seconds=0.1)
    [uuid] = await group_of(cloud, scale_to_zero=SCALING)
    await cloud.wait(uuid, "stopping")
    async with browser(cloud) as client:
        assert (await client.get("/")).status_code == 200


async def test_instance_outside_of_a_group_never_sleeps(serving):
    cloud = await serving()
    plugin = {"name": "sandbox", "image": "plugins/sandbox:latest"}
    instance = await cloud.create(scale_to_zero=SCALING, plugins=[plugin])
    await cloud.wait(instance["uuid"], "running")
    await trio.sleep(0.15)
    assert (await cloud.read(instance["uuid"]))["state"] == "running"


@pytest.mark.parametrize(("policy", "state"), [("on", "running"), ("idle", "standby")])
async def test_silent_connection_keeps_up_only_policy_on(serving, policy, state):
    cloud = await serving(shout)
    stateful = {"policy": policy, "stateful": True, "cooldown_time_ms": 50}
    [uuid] = await group_of(cloud, TLS, scale_to_zero=stateful)
    stream = await raw_connection(cloud)
    await stream.send_all(b"a")
    assert await stream.receive_some() == b"A"
    await trio.sleep(0.2)
    assert (await cloud.read(uuid))["state"] == state
    # Either way the connection is there still, and what it says is heard.
    await stream.send_all(b"b")
    assert await stream.receive_some() == b"B"
    await trio.aclose_forcefully(stream)
    await cloud.wait(uuid, "standby")


async def test_request_in_progress_keeps_it_awake_under_every_policy(serving):
    async def slow(uuid, stream):
        async def answer(_request):
            await trio.sleep(0.4)
            return Response(body=b"done")

        await serve_connection(answer, stream)

    cloud = await serving(slow)
    [uuid] = await group_of(cloud, scale_to_zero={"policy": "idle", "cooldown_time_ms": 200})
    async with browser(cloud) as client:
        assert (await client.get("/")).text == "done"
    assert (await cloud.read(uuid))["start_count"] == 1


async def test_stateful_instance_keeps_its_run_over_standby(serving):
    cloud = await serving()
    runtime = cloud.simulator.runtime
    [uuid] = await group_of(cloud, scale_to_zero={**SCALING, "stateful": True})
    assert (await cloud.wait(uuid, "standby"))["stop_reason"] == 39
    assert runtime.frozen == {uuid}
    run = runtime._running[uuid]
    async with browser(cloud) as client:
        assert (await client.get("/")).status_code == 200
    assert runtime._running[uuid] is run
    assert not runtime.frozen


@pytest.mark.parametrize("call", [("PUT", "/stop"), ("DELETE", "")])
async def test_stop_ends_a_frozen_instance(serving, call):
    cloud = await serving()
    [uuid] = await group_of(cloud, scale_to_zero={**SCALING, "stateful": True})
    await cloud.wait(uuid, "standby")
    await cloud.item(call[0], f"/instances/{uuid}{call[1]}")
    with trio.fail_after(2):
        while cloud.simulator.runtime._running:  # noqa: ASYNC110 - no event tells
            await trio.sleep(0.01)


async def test_start_right_after_the_stop_of_a_frozen_instance_boots_it(serving):
    cloud = await serving()
    [uuid] = await group_of(cloud, scale_to_zero={**SCALING, "stateful": True})
    await cloud.wait(uuid, "standby")
    run = cloud.simulator.runtime._running[uuid]
    await cloud.item("PUT", f"/instances/{uuid}/stop")
    await cloud.item("PUT", f"/instances/{uuid}/start")
    await cloud.wait(uuid, "running")
    assert cloud.simulator.runtime._running[uuid] is not run


async def test_queued_change_makes_the_next_start_a_boot(serving):
    cloud = await serving()
    [uuid] = await group_of(cloud, scale_to_zero={**SCALING, "stateful": True})
    await cloud.item(
        "PATCH", f"/instances/{uuid}", {"prop": "env", "op": "set", "value": {"A": "1"}}
    )
    asleep = await cloud.wait(uuid, "standby")
    assert asleep["env"] == {"A": "1"}
    assert not cloud.simulator.runtime.frozen


async def test_above_the_soft_limit_the_next_one_wakes(serving):
    cloud = await serving(shout)
    first, second = await group_of(cloud, TLS, members=2, scale_to_zero=SCALING)
    await cloud.wait(first, "standby")
    await cloud.wait(second, "standby")
    streams = [await raw_connection(cloud) for _ in range(2)]
    await cloud.wait(first, "running")
    await cloud.wait(second, "running")
    for stream in streams:
        await trio.aclose_forcefully(stream)


async def test_above_the_hard_limit_traffic_is_refused(serving):
    release = trio.Event()

    async def slow(_uuid, stream):
        async def answer(_request):
            await release.wait()
            return Response()

        await serve_connection(answer, stream)

    cloud = await serving(slow)
    await group_of(cloud, limits={"soft_limit": 1, "hard_limit": 1})
    async with browser(cloud) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/")
        with trio.fail_after(2):
            while not cloud.simulator.runtime.connected:  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.01)
        assert (await client.get("/")).status_code == 503
        release.set()


async def test_draining_waits_for_open_connections(serving):
    cloud = await serving(shout)
    first, second = await group_of(cloud, TLS, members=2)
    stream = await raw_connection(cloud)
    await stream.send_all(b"a")
    await stream.receive_some()
    await cloud.item("PUT", f"/instances/{first}/stop", {"drain_timeout_ms": 5000})
    assert (await cloud.read(first))["state"] == "draining"
    for _ in range(2):  # new ones go elsewhere
        other = await raw_connection(cloud)
        await other.send_all(b"a")
        await other.receive_some()
        await trio.aclose_forcefully(other)
    assert cloud.simulator.runtime.connected == [first, second, second]
    await stream.send_all(b"b")
    assert await stream.receive_some() == b"B"
    await trio.aclose_forcefully(stream)
    assert (await cloud.wait(first, "stopped"))["stop_reason"] == 15


async def test_draining_ends_at_its_timeout(serving):
    cloud = await serving(shout)
    [uuid] = await group_of(cloud, TLS)
    stream = await raw_connection(cloud)
    await stream.send_all(b"a")
    await stream.receive_some()
    await cloud.item("PUT", f"/instances/{uuid}/stop", {"drain_timeout_ms": 50})
    assert (await cloud.wait(uuid, "stopped"))["stop_reason"] == 15
    await trio.aclose_forcefully(stream)


async def test_guest_that_ends_while_draining_is_not_restarted(serving):
    cloud = await serving(shout)
    [uuid] = await group_of(cloud, TLS, restart_policy="always")
    stream = await raw_connection(cloud)
    await stream.send_all(b"a")
    await stream.receive_some()
    await cloud.item("PUT", f"/instances/{uuid}/stop", {"drain_timeout_ms": 5000})
    cloud.simulator.runtime.end(uuid, Crashed(1))
    await cloud.wait(uuid, "stopped")
    await trio.sleep(0.05)
    assert (await cloud.read(uuid))["state"] == "stopped"
    await trio.aclose_forcefully(stream)


async def test_a_stop_overtakes_an_instance_that_falls_asleep(serving):
    cloud = await serving()
    [uuid] = await group_of(cloud, scale_to_zero={**SCALING, "stateful": False})
    await cloud.wait(uuid, "stopping")
    assert (await cloud.item("PUT", f"/instances/{uuid}/stop"))["status"] == "success"
    stopped = await cloud.wait(uuid, "stopped")
    assert stopped["stop_reason"] == 15

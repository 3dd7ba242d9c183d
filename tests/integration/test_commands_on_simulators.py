"""exec, run, attach and port-forward as they come to the node's port."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import attrs
import orjson
import pytest
import trio

from kraftlet_trio.commands.terminal import NOTICE
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud.faults import AnswerStatus
from kraftlet_trio.simulators.cloud.scripted_sandbox import ScriptedCommand
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from tests.log_reader import open_ports
from tests.manifests import a_container, a_pod
from tests.node_caller import NodeCaller
from tests.spdy_client import SPDYClient
from tests.world import World, a_world

EXECUTES = {"cloud.unikraft.v1.instances/enable-exec": "true"}
SLEEPY = {
    "cloud.unikraft.v1.instances/scale_to_zero.policy": "on",
    "cloud.unikraft.v1.instances/scale_to_zero.cooldown_time_ms": "2000",
}
EXEC = "/exec/default/web/app"
OUT = {"command": "program", "output": 1}
ALL = {**OUT, "input": 1, "error": 1}
PLUGIN = r"/v1/instances/[^/]+/plugins/sandbox/"


@pytest.fixture(params=[CloudSettings()])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """As everywhere, with a kubelet API."""
    async with a_world(request.param) as world:
        open_ports(world)
        yield world


sleeps = pytest.mark.parametrize(
    "world", [CloudSettings(idle_instances_go_to_standby=True)], indirect=True
)


@pytest.fixture
def caller(world: World) -> NodeCaller:
    return NodeCaller(world)


@pytest.fixture
def programs(world: World) -> dict[str, ScriptedCommand]:
    """What there is to run in guests."""
    programs: dict[str, ScriptedCommand] = {}
    world.cloud.runtime.commands = lambda _guest, argv: programs.get(argv[0])  # type: ignore[attr-defined]
    return programs


async def start(world: World, *containers, annotations=EXECUTES, **spec) -> None:  # type: ignore[no-untyped-def]
    await world.start_daemon()
    world.apply(a_pod("web", *(containers or (a_container(),)), annotations=annotations, **spec))
    await world.eventually(world.is_ready)


def kept_commands(world: World) -> int:
    """How many the sandbox of the only instance knows."""
    [uuid] = [instance.uuid for instance in world.cloud.account.instances]
    handler = world.cloud.runtime.sandbox(uuid)
    return len(handler.__self__.commands)  # type: ignore[union-attr]


async def test_what_is_not_there_is_told_before_the_upgrade(
    autojump_clock, world, caller, programs
):
    await start(world)
    uid = world.pod()["metadata"]["uid"]
    for path in (EXEC, "/attach/default/web/app"):
        for name in ("exec", "attach"):
            gone = path.replace("web", "gone").replace(path.split("/")[1], name)
            assert await caller.refusal(gone, OUT) == (404, "pod does not exist")
        other = path.replace("/app", "/no-such-uid/app")
        assert await caller.refusal(other, OUT) == (404, "pod does not exist")
        assert await caller.refusal(path.replace("/app", "/c"), OUT) == (
            500,
            'container not found ("c")',
        )
        assert await caller.refusal(path, {"command": "program"}) == (
            400,
            "you must specify at least 1 of stdin, stdout, stderr",
        )
        whole = path.replace("/app", f"/{uid}/app")
        programs["program"] = ScriptedCommand()
        assert await caller.refusal(whole, OUT) == (400, "missing upgrade headers")
    assert (await caller.refusal(EXEC, {"output": 1}))[0] == 400
    assert await caller.refusal("/portForward/default/gone") == (404, "pod does not exist")


async def test_a_container_that_does_not_run_has_no_commands(
    autojump_clock, world, caller, programs
):
    world.script("once", run_seconds=1)
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="once"), restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Succeeded")
    assert await caller.refusal(EXEC, OUT) == (500, 'container not found ("app")')
    status, words = await caller.refusal("/portForward/default/web")
    assert (status, words) == (500, "no container of Pod web runs")


async def test_without_the_plugin_the_cure_is_told(autojump_clock, world, caller):
    await start(world, annotations={})
    status, words = await caller.refusal(EXEC, OUT)
    assert status == 501
    assert 'cloud.unikraft.v1.instances/enable-exec: "true"' in words
    assert "KRAFTLET_ENABLE_EXEC" in words


@pytest.mark.parametrize("code", [0, 1, 42, 255])
async def test_commands_end_with_their_exit_code(autojump_clock, world, caller, programs, code):
    programs["program"] = ScriptedCommand(exit_code=code, output=b"hello", seconds=3)
    await start(world)
    async with caller.spdy_command(EXEC, OUT, "stdout") as command:
        assert await command.streams["stdout"].whole() == b"hello"
        end = orjson.loads(await command.end())
    async with caller.websocket(EXEC, OUT) as client:
        await client.wait_closed()
        assert client.on(1) == b"hello"
        assert orjson.loads(client.on(3)) == end
        assert client.close_code == 1000
    if code == 0:
        assert end["status"] == "Success"
    else:
        assert end["details"]["causes"] == [{"reason": "ExitCode", "message": str(code)}]
    assert kept_commands(world) == 0


async def test_input_goes_in_and_comes_back(autojump_clock, world, caller, programs):
    programs["program"] = ScriptedCommand(copies_input=True)
    await start(world)
    data = bytes(range(256)) * 4096
    async with caller.spdy_command(EXEC, ALL, "stdin", "stdout", "stderr") as command:
        for begin in range(0, len(data), 30_000):
            await command.streams["stdin"].send(data[begin : begin + 30_000])
        await command.streams["stdin"].send(b"", fin=True)
        assert await command.streams["stdout"].whole() == data
        assert orjson.loads(await command.end())["status"] == "Success"
    async with caller.websocket(EXEC, ALL) as client:
        await client.send(b"\x00some words")
        await client.until(lambda: client.on(1) == b"some words")
        await client.send(b"\xff\x00")
        await client.wait_closed()
        assert orjson.loads(client.on(3))["status"] == "Success"


async def test_what_nobody_reads_ends_nothing(autojump_clock, world, caller, programs):
    programs["program"] = ScriptedCommand(seconds=5, output=b"done")
    await start(world)
    async with caller.spdy_command(EXEC, ALL, "stdin", "stdout", "stderr") as command:
        for _ in range(20):
            await command.streams["stdin"].send(bytes(30_000))
        assert await command.streams["stdout"].whole() == b"done"
        assert orjson.loads(await command.end())["status"] == "Success"


async def test_output_of_many_pages_comes_whole(autojump_clock, world, caller, programs):
    whole = b"".join(b"%07d\n" % number for number in range(100_000))
    programs["program"] = ScriptedCommand(output=whole)
    await start(world)
    async with caller.spdy_command(EXEC, OUT, "stdout") as command:
        assert await command.streams["stdout"].whole() == whole


async def test_no_such_program_is_said(autojump_clock, world, caller, programs):
    await start(world)
    async with caller.spdy_command(EXEC, OUT, "stdout") as command:
        end = orjson.loads(await command.end())
        assert (end["status"], end["reason"]) == ("Failure", "InternalError")
        assert "program" in end["message"]


async def test_a_command_ends_when_its_client_leaves(autojump_clock, world, caller, programs):
    programs["program"] = ScriptedCommand(seconds=10_000)
    await start(world)
    for connection in (
        caller.spdy_command(EXEC, OUT, "stdout"),
        caller.websocket(EXEC, OUT),
    ):
        async with connection:
            await world.eventually(lambda: kept_commands(world) == 1)
        await world.eventually(lambda: kept_commands(world) == 0)


async def test_a_command_of_a_container_that_stops_was_killed(
    autojump_clock, world, caller, programs
):
    programs["program"] = ScriptedCommand(seconds=10_000)
    await start(world)
    async with caller.spdy_command(EXEC, OUT, "stdout") as command:
        await world.eventually(lambda: kept_commands(world) == 1)
        world.end("web-app", 1)
        end = orjson.loads(await command.end())
        assert end["details"]["causes"] == [{"reason": "ExitCode", "message": "137"}]


async def test_without_a_terminal_lines_can_be_typed_all_the_same(
    autojump_clock, world, caller, programs
):
    programs["program"] = ScriptedCommand(copies_input=True)
    await start(world)
    query = {**ALL, "tty": 1}
    async with caller.spdy_command(EXEC, query, "stdin", "stdout", "resize") as command:
        stdin, stdout = command.streams["stdin"], command.streams["stdout"]
        await command.streams["resize"].send(b'{"Width":80,"Height":24}')
        await stdout.until(lambda: stdout.data == NOTICE)
        await stdin.send(b"helo\x7flo\r")
        shown = NOTICE + b"helo\b \blo\r\n" + b"hello\r\n"
        await stdout.until(lambda: stdout.data == shown)
        await stdin.send(b"\x04")
        assert await stdout.whole() == shown
        assert orjson.loads(await command.end())["status"] == "Success"
    programs["program"] = ScriptedCommand(seconds=1000)
    async with caller.spdy_command(EXEC, query, "stdin", "stdout", "resize") as command:
        await command.streams["stdin"].send(b"\x03")
        end = orjson.loads(await command.end())
        assert end["details"]["causes"] == [{"reason": "ExitCode", "message": "130"}]


async def test_a_short_outage_loses_nothing(autojump_clock, world, caller, programs):
    programs["program"] = ScriptedCommand(seconds=20, output=b"after all")
    await start(world)
    async with caller.spdy_command(EXEC, OUT, "stdout") as command:
        await trio.sleep(2)
        world.cloud_faults.add(AnswerStatus(503), times=math.inf)
        await trio.sleep(5)
        world.cloud_faults.clear()
        assert await command.streams["stdout"].whole() == b"after all"
        assert orjson.loads(await command.end())["status"] == "Success"


async def test_a_long_outage_is_no_success(autojump_clock, world, caller, programs):
    programs["program"] = ScriptedCommand(seconds=20, output=b"unread")
    await start(world)
    async with caller.spdy_command(EXEC, OUT, "stdout") as command:
        await trio.sleep(2)
        world.cloud_faults.add(AnswerStatus(503), times=math.inf)
        end = orjson.loads(await command.end())
        assert (end["status"], end["code"]) == ("Failure", 500)
        assert "503" in end["message"]


@sleeps
async def test_a_sleeping_container_is_woken(autojump_clock, world, caller, programs):
    programs["program"] = ScriptedCommand(output=b"awake")
    await start(world, a_container(ports=[8080]), annotations=EXECUTES | SLEEPY)
    await world.eventually(lambda: world.instances()["web-app"].state == "standby")
    async with caller.spdy_command(EXEC, OUT, "stdout") as command:
        assert await command.streams["stdout"].whole() == b"awake"


async def test_run_answers_with_all_of_the_output(autojump_clock, world, caller, programs):
    programs["program"] = ScriptedCommand(output=b"hello")
    programs["fails"] = ScriptedCommand(output=b"oh no", exit_code=3)
    await start(world)

    async def run(cmd: str, method: str = "POST") -> Response:
        return await caller.ask("/run/default/web/app", {"cmd": cmd}, method=method)

    assert (await run("program with words")).body == b"hello"
    failed = await run("fails at once")
    assert failed.status == 500
    assert failed.body == b'command "fails at once" exited with 3: oh no'
    assert (await run("nothing")).status == 500
    assert (await run("")).status == 400
    assert (await run("program", "GET")).status == 405
    assert kept_commands(world) == 0


async def test_a_console_is_shown_from_now_on(autojump_clock, world, caller):
    world.script("talks", log=("before",))
    await start(world, a_container(image="talks"))
    query = {"output": 1, "error": 1}
    path = "/attach/default/web/app"
    async with caller.spdy_command(path, query, "stdout", "stderr") as attached:
        stdout = attached.streams["stdout"]
        await trio.sleep(1)
        world.instances()["web-app"].log.append(b"now\n")
        await stdout.until(lambda: stdout.data == b"now\n")
        world.instances()["web-app"].log.append(b"bye")
        world.end("web-app", 1)
        assert await stdout.whole() == b"now\nbye"
        assert orjson.loads(await attached.end())["status"] == "Success"


async def test_what_cannot_be_attached_to_is_said(autojump_clock, world, caller):
    await start(world)
    status, words = await caller.refusal("/attach/default/web/app", {"input": 1, "output": 1})
    assert status == 400
    assert "cannot be reached on Unikraft Cloud" in words
    status, words = await caller.refusal("/attach/default/web/app", {"output": 1, "tty": 1})
    assert (status, words) == (400, "container app has no terminal: ask for tty=0")


async def forwarded(caller: NodeCaller, port: int, request: bytes) -> tuple[bytes, bytes]:
    """What comes back, and what went wrong."""
    response = await caller.ask(
        "/portForward/default/web",
        method="POST",
        headers={
            "connection": "Upgrade",
            "upgrade": "SPDY/3.1",
            "x-stream-protocol-version": "portforward.k8s.io",
        },
    )
    async with caller.upgraded(response) as stream, trio.open_nursery() as nursery:
        client = SPDYClient(stream)
        nursery.start_soon(client.run)
        pair = {"port": str(port), "requestid": "0"}
        error = await client.open({"streamtype": "error", **pair}, fin=True)
        data = await client.open({"streamtype": "data", **pair})
        await data.send(request, fin=True)
        told = await data.whole(), await error.whole()
        nursery.cancel_scope.cancel()
    return told


GET = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


async def test_a_port_leads_to_whoever_listens(autojump_clock, world, caller):
    world.script("front", ports={8080: "http"})
    world.script("back", ports={9090: "http"})
    await start(
        world,
        a_container("front", image="front", ports=[8080]),
        a_container("back", image="back"),
    )
    for port in (8080, 9090):
        answer, error = await forwarded(caller, port, GET)
        assert answer.startswith(b"HTTP/1.1 200")
        assert error == b""
    answer, error = await forwarded(caller, 7070, GET)
    assert answer == b""
    assert error.startswith(b"error forwarding port 7070: ")
    assert error.endswith(b"connect: connection refused")


@sleeps
async def test_a_sleeping_container_is_woken_by_its_port(autojump_clock, world, caller):
    world.script("web", ports={8080: "http"})
    await start(world, a_container(image="web", ports=[8080]), annotations=SLEEPY)
    await world.eventually(lambda: world.instances()["web-app"].state == "standby")
    answer, error = await forwarded(caller, 8080, GET)
    assert (answer[:12], error) == (b"HTTP/1.1 200", b"")


async def test_far_from_the_network_the_plugin_is_needed(autojump_clock, world, caller):
    world.settings = attrs.evolve(
        world.settings, pods=attrs.evolve(world.settings.pods, probe_network=False)
    )
    world.script("web", ports={8080: "http"})
    await start(world, a_container(image="web", ports=[8080]), annotations={})
    answer, error = await forwarded(caller, 8080, GET)
    assert answer == b""
    assert b"the daemon reaches no private addresses" in error
    assert b"has no sandbox plugin" in error


async def test_a_token_gets_in_until_it_expires(autojump_clock, world):
    caller = NodeCaller(world, seconds=600)
    await start(world)
    assert (await caller.ask("/runningpods/")).status == 200
    # Two minutes are how long an accepted token is remembered.
    await trio.sleep(600 + 121)
    for path in ("/runningpods/", "/metrics", EXEC):
        assert await caller.refusal(path) == (401, "Unauthorized")

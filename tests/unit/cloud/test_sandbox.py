"""The client of the sandbox plugin, over the simulated plugin: scripted, and with real commands."""

import os
import signal
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio

from kraftlet_trio.cloud.errors import CloudRefused, CloudUnauthorized, CloudUnavailable
from kraftlet_trio.cloud.sandbox import (
    CommandGone,
    CommandNotFound,
    CommandTimedOut,
    SandboxMissing,
)
from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud.runtime import Surroundings
from kraftlet_trio.simulators.cloud.sandbox import opened_sandbox
from kraftlet_trio.simulators.cloud.sandbox_api import SandboxApi
from kraftlet_trio.simulators.cloud.sandbox_place import SurroundingsPlace
from kraftlet_trio.simulators.cloud.scripted_sandbox import ScriptedCommand, ScriptedSandbox
from tests.unit.cloud.platform import Recorder, in_memory

UUID = "11111111-0000-4000-8000-000000000000"
ROUTE = f"/v1/instances/{UUID}/plugins/sandbox"


def routed(handler):
    """The plugin behind the platform's route."""

    async def handle(request):
        assert request.path.startswith(f"{ROUTE}/"), request.path
        return await handler(attrs.evolve(request, path=request.path.removeprefix(ROUTE)))

    return handle


@asynccontextmanager
async def scripted(**commands):
    """A client, and the sandbox it talks to, where these are the programs."""
    sandbox = ScriptedSandbox(None, lambda _, argv: commands.get(argv[0]))
    async with in_memory(routed(sandbox.handle)) as client:
        yield partial(client.sandbox.run, UUID), sandbox


async def test_command_runs_to_its_end_and_leaves_no_record(autojump_clock):
    check = ScriptedCommand(exit_code=3, output=b"not well", seconds=0.5)
    async with scripted(check=check) as (run, sandbox):
        result = await run(["check", "-v"], timeout_seconds=1, most_bytes=100)
        assert (result.exit_code, result.output) == (3, b"not well")
        assert not sandbox.commands


async def test_output_is_cut(autojump_clock):
    async with scripted(check=ScriptedCommand(output=b"x" * 1000)) as (run, _):
        result = await run(["check"], timeout_seconds=1, most_bytes=10)
        assert result.output == b"x" * 10


async def test_command_that_takes_too_long_is_killed_and_freed(autojump_clock):
    async with scripted(slow=ScriptedCommand(seconds=1000)) as (run, sandbox):
        with pytest.raises(CommandTimedOut, match='"slow down" timed out after 2s'):
            await run(["slow", "down"], timeout_seconds=2, most_bytes=10)
        assert trio.current_time() == 2
        assert not sandbox.commands


async def test_long_command_is_waited_for_in_parts(autojump_clock):
    async with scripted(slow=ScriptedCommand(seconds=95)) as (run, _):
        assert (await run(["slow"], timeout_seconds=None, most_bytes=10)).exit_code == 0
        assert trio.current_time() == 95


async def test_cancelled_command_is_killed_and_freed(autojump_clock):
    async with scripted(slow=ScriptedCommand(seconds=1000)) as (run, sandbox):
        with trio.move_on_after(5):
            await run(["slow"], timeout_seconds=None, most_bytes=10)
        assert not sandbox.commands


async def test_unknown_program_is_told(autojump_clock):
    async with scripted() as (run, _):
        with pytest.raises(CommandNotFound, match="Program not found: nothing"):
            await run(["nothing"], timeout_seconds=1, most_bytes=10)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response(status=404, headers={"content-type": "text/html"}), SandboxMissing),
        (Response(status=404), SandboxMissing),
        (Response(status=502, headers={"content-type": "text/html"}), CloudUnavailable),
        (Response(status=504), CloudUnavailable),
        (Response(status=401), CloudUnauthorized),
        (Response(status=500, body=b"{}"), CloudRefused),
        (Response(body=b"not JSON"), CloudUnavailable),
        (Response(body=b'{"data": {"uuid": 7}}'), CloudUnavailable),
    ],
)
async def test_answers_that_are_none_become_errors(answer, error):
    async with in_memory(Recorder(answer)) as client:
        with pytest.raises(error):
            await client.sandbox.start(UUID, ["check"])


async def test_start_is_not_tried_again():
    platform = Recorder(Response(status=502))
    async with in_memory(platform) as client:
        with pytest.raises(CloudUnavailable):
            await client.sandbox.start(UUID, ["check"])
    assert len(platform.requests) == 1


async def test_silence_ends(autojump_clock):
    async def silent(_request):
        await trio.sleep_forever()

    async with in_memory(silent) as client:
        with pytest.raises(CloudUnavailable, match="no answer within 30 s"):
            await client.sandbox.start(UUID, ["check"])


class TestRealCommands:
    @pytest.fixture
    async def sandbox(self, tmp_path, nursery):
        place = SurroundingsPlace(
            Surroundings(
                command_prefix=(), root=tmp_path, cwd=tmp_path, env={"PATH": os.environ["PATH"]}
            )
        )
        clients = []

        async def serve(task_status):
            async with (
                opened_sandbox(place) as opened,
                in_memory(routed(SandboxApi(opened).handle)) as client,
            ):
                clients.append(client.sandbox)
                task_status.started()
                await trio.sleep_forever()

        await nursery.start(serve)
        return clients[0]

    async def test_exit_code_and_both_outputs_are_told(self, sandbox):
        argv = ["sh", "-c", "echo out; echo err >&2; exit 4"]
        result = await sandbox.run(UUID, argv, timeout_seconds=10, most_bytes=1000)
        assert (result.exit_code, result.output) == (4, b"out\nerr\n")

    async def test_signal_shows_as_a_shell_tells_it(self, sandbox):
        command = await sandbox.start(UUID, ["sleep", "100"])
        assert await sandbox.exit_code(UUID, command) is None
        with pytest.raises(CloudRefused):
            await sandbox.delete(UUID, command)
        await sandbox.send_signal(UUID, command, signal.SIGTERM)
        assert await sandbox.wait(UUID, command, 10)
        assert await sandbox.exit_code(UUID, command) == 143
        with pytest.raises(CommandGone):
            await sandbox.send_signal(UUID, command, signal.SIGTERM)

    async def test_input_goes_in_and_output_comes_by_offset(self, sandbox):
        command = await sandbox.start(UUID, "cat; pwd; echo $A", cwd="/", env={"A": "b"})
        await sandbox.write_stdin(UUID, command, b"hello\n")
        await sandbox.write_stdin(UUID, command, b"you\n", eof=True)
        assert await sandbox.wait(UUID, command, 10)
        logs = await sandbox.logs(UUID, command, stdout_from=6, most_bytes=5)
        assert logs.stdout == b"you\n/"
        assert logs.stdout_available > 11
        with pytest.raises(CommandGone):
            await sandbox.write_stdin(UUID, command, b"more")
        await sandbox.delete(UUID, command)
        await sandbox.delete(UUID, command)
        with pytest.raises(CommandGone):
            await sandbox.exit_code(UUID, command)

    async def test_files_are_written_in_pieces_and_read(self, sandbox):
        await sandbox.make_directory(UUID, "/a/b", parents=True)
        await sandbox.write_file(UUID, "/a/b/file", b"\x00one")
        await sandbox.write_file(UUID, "/a/b/file", b"two", append=True)
        assert await sandbox.read_file(UUID, "/a/b/file") == b"\x00onetwo"
        with pytest.raises(CloudRefused):
            await sandbox.read_file(UUID, "/a/none")

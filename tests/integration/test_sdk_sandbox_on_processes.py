"""The SDK's own layer above its plumbing, at work inside instances that are real processes."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from unikraft_cloud import UnikraftCloud

from kraftlet_trio.http.server import serve
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.isolation import Isolation, IsolationUnavailable
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

TOKEN = "secret"
IMAGES = """
images:
  app: {entrypoint: [sh, -c, "echo up >started; exec sleep 1000"], env: {MODE: prod}}
"""
PLUGIN = {"name": "sandbox", "image": "plugins/sandbox:latest", "config": {}}


@asynccontextmanager
async def a_cloud(isolated):
    simulator = CloudSimulator(
        token=TOKEN,
        images=ImageCatalogue.parse(IMAGES),
        settings=CloudSettings(boot_seconds=0.01, stop_grace_seconds=1),
        runtime=ProcessRuntime(Isolation() if isolated else None),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(simulator.run)
        port = await nursery.start(partial(serve, simulator.handle, host="127.0.0.1", port=0))
        yield f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


def isolation_is_lacking():
    try:
        with Isolation().opened():
            return False
    except IsolationUnavailable:
        return True


@pytest.fixture(params=["isolated", "shared"])
async def url(request):
    isolated = request.param == "isolated"
    if isolated and isolation_is_lacking():
        pytest.skip("no isolation")
    with trio.fail_after(60):
        async with a_cloud(isolated) as url:
            yield url


async def in_the_sdk(url, use):
    """Run *use* as a program of the SDK, in its own event loop."""

    async def program():
        async with UnikraftCloud(base_url=url, token=TOKEN) as ukc:
            await use(ukc)

    await trio.to_thread.run_sync(asyncio.run, program())


async def a_sandbox(ukc, **members):
    made = ukc.instances.create(
        image="app", plugins=[PLUGIN], autostart=True, timeout_s=10, **members
    )
    sandbox = made.sandbox()
    await sandbox.wait_ready(timeout=20)
    return sandbox


async def test_a_command_is_run_to_its_end(url):
    async def use(ukc):
        sandbox = await a_sandbox(ukc)
        result = await sandbox.exec("cat; echo done >&2; exit 3", stdin=b"hello", forget=True)
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"hello", b"done\n")
        assert await sandbox.commands() == []

    await in_the_sdk(url, use)


async def test_a_command_that_takes_too_long_is_interrupted(url):
    async def use(ukc):
        sandbox = await a_sandbox(ukc)
        result = await sandbox.exec(["sleep", "60"], timeout=0.2)
        assert (result.exit_code, result.interrupted) == (-2, True)

    await in_the_sdk(url, use)


async def test_a_command_is_in_the_applications_surroundings(url):
    async def use(ukc):
        sandbox = await a_sandbox(ukc, env={"OWN": "1"})
        result = await sandbox.exec("cat started; echo $MODE $OWN")
        assert (result.stderr, result.stdout) == (b"", b"up\nprod 1\n")

    await in_the_sdk(url, use)


async def test_files_that_are_written_are_those_that_commands_see(url):
    async def use(ukc):
        volume = {"name": "data", "at": "/data", "size_mb": 10}
        sandbox = await a_sandbox(ukc, volumes=[volume])
        content = bytes(range(256)) * 8192  # more than one request takes
        await sandbox.fs.write("/data/file", content)
        assert await sandbox.fs.read("/data/file") == content
        result = await sandbox.exec(["wc", "-c", "file"], cwd="/data")
        assert result.stdout.split()[0] == b"2097152"

    await in_the_sdk(url, use)


async def test_a_program_that_is_not_there_is_refused(url):
    async def use(ukc):
        sandbox = await a_sandbox(ukc)
        with pytest.raises(Exception, match="Program not found"):
            await sandbox.run(["no-such-program"])

    await in_the_sdk(url, use)


async def test_nothing_answers_once_the_instance_is_gone(url):
    async def use(ukc):
        sandbox = await a_sandbox(ukc, name="web")
        await ukc.instances.get(name="web").delete()
        assert not await sandbox.ready()

    await in_the_sdk(url, use)

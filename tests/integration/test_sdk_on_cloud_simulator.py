"""The official SDK drives the simulated cloud over HTTP, and finds its models' every field.

Each story is told twice: in this event loop, and from a thread with a blocking call, as a
synchronous program uses the SDK, which has no synchronous client.
"""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from kraftlet_trio.http.server import serve
from kraftlet_trio.simulators.cloud.api import OWN_PATHS, ROUTES
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from tests.sdk import Seen, strict_sdk
from tests.sdk_stories import NEVER_SEEN, STORIES

TOKEN = "secret"
IMAGES = """
images:
  job: {run_seconds: 0.05, exit_code: 7, log: ["working"]}
  unpullable: {pull: fail}
  sleeper: {entrypoint: [sleep, "1000"]}
"""


@asynccontextmanager
async def a_cloud(story):
    """Yields a simulated cloud and its URL, on a port of its own."""
    simulator = CloudSimulator(
        token=TOKEN,
        images=ImageCatalogue.parse(IMAGES),
        settings=CloudSettings(boot_seconds=0.01, stop_seconds=0.01, **story.settings),
        runtime=ProcessRuntime() if story.processes else None,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(simulator.run)
        port = await nursery.start(partial(serve, simulator.handle, host="127.0.0.1", port=0))
        yield simulator, f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


async def tell(story, url, seen):
    async with strict_sdk(url, TOKEN, seen) as sdk:
        await story(sdk)


async def tell_from_a_thread(story, url, seen):
    await trio.to_thread.run_sync(asyncio.run, tell(story, url, seen))


@pytest.mark.parametrize(
    "story", [each for each in STORIES if not each.streams], ids=lambda story: story.__name__
)
async def test_answers_are_spelled_as_the_models_are(story):
    async with a_cloud(story) as (_, url):
        with trio.fail_after(30):
            await tell(story, url, Seen())


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_a_blocking_program_is_served_alike(story):
    async with a_cloud(story) as (_, url):
        with trio.fail_after(30):
            await tell_from_a_thread(story, url, Seen())


async def test_every_endpoint_is_driven_and_every_field_comes():
    seen, driven = Seen(), Counter()
    for story in STORIES:
        async with a_cloud(story) as (simulator, url):
            with trio.fail_after(30):
                await tell_from_a_thread(story, url, seen)
            driven += simulator.requests
    endpoints = {
        f"{method} {route.path}"
        for route in ROUTES
        for method in route.endpoints
        if not route.path.startswith(OWN_PATHS) and "plugins" not in route.path
    }
    assert endpoints - driven.keys() == set()
    assert seen.never_seen() == NEVER_SEEN

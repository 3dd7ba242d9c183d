"""Two thousand instances: what the simulated cloud may cost with them, over real HTTP.

Its processor time is held against the limits, so that a busy machine does not matter much; the
client's is not what these are about.
"""

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.objects import RUNNING, InstanceRequest

INSTANCES = 2000
MOST_STEP_SECONDS = 10.0
MOST_LISTING_SECONDS = 1.0
AT_A_TIME = 8
PROGRAM = "from kraftlet_trio.simulators.cloud.command import cloud; cloud()"
QUOTAS = {"instances": 5000, "live_vcpus": 5000, "live_memory_mb": 10**7}


@asynccontextmanager
async def simulator(*options: str):
    """The URL and the process of a simulator on a port of its own."""
    arguments = ["--listen", "127.0.0.1:0", "--token", "t", *options]
    for name, number in QUOTAS.items():
        arguments += ["--quota", f"{name}={number}"]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PROGRAM, *arguments], stderr=subprocess.PIPE
    )
    try:
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stderr.receive_some()
        yield json.loads(line)["url"], process.pid
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stderr.aclose()


def cpu_seconds(pid: int) -> float:
    """Of the process, its own and the system's on its behalf."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Stopwatch:
    """Processor time of one step."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begin = cpu_seconds(pid)

    def seconds(self) -> float:
        """Since the last call."""
        begin, self._begin = self._begin, cpu_seconds(self._pid)
        return self._begin - begin


async def for_each(items, act) -> None:
    async def work(channel) -> None:
        async for item in channel:
            await act(item)

    send, receive = trio.open_memory_channel(0)
    async with trio.open_nursery() as nursery:
        for _ in range(AT_A_TIME):
            nursery.start_soon(work, receive.clone())
        receive.close()
        async with send:
            for item in items:
                await send.send(item)


@pytest.mark.parametrize("keeps_state", [False, True])
async def test_thousands_of_instances_are_made_listed_and_deleted(keeps_state, tmp_path):
    options = ["--state", str(tmp_path)] if keeps_state else []
    with trio.fail_after(240):
        async with simulator(*options) as (url, pid):
            access = CloudAccess(base_url=url, token=lambda: "t")
            async with CloudClient(access) as cloud:
                watch = Stopwatch(pid)

                async def create(number: int) -> None:
                    tags = ("k:even" if number % 2 == 0 else "k:odd", "k:all")
                    await cloud.create_instance(
                        InstanceRequest(name=f"i-{number}", image="x", autostart=True, tags=tags)
                    )

                await for_each(range(INSTANCES), create)
                assert watch.seconds() < MOST_STEP_SECONDS

                assert len(await cloud.list_instances(tags=["k:even", "k:all"])) == INSTANCES / 2
                listed = await cloud.list_instances(tags=["k:all"])
                assert len(listed) == INSTANCES
                assert {one.state for one in listed} <= {"starting", RUNNING}
                assert watch.seconds() < MOST_STEP_SECONDS

                await for_each((one.uuid for one in listed), cloud.delete_instance)
                assert watch.seconds() < MOST_STEP_SECONDS
                assert await cloud.list_instances(tags=["k:all"]) == []


async def test_one_listing_of_thousands_takes_less_than_a_second():
    headers = {"authorization": "Bearer t"}
    with trio.fail_after(120):
        async with (
            simulator() as (url, pid),
            httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http,
        ):
            for _ in range(INSTANCES // 200):
                body = {"image": "x", "replicas": 199, "env": {"A": "b"}, "tags": ["k:v"]}
                await http.post("/v1/instances", json=body)
            watch = Stopwatch(pid)
            listed: dict[str, dict] = {}
            query = "details=true&count=1000"
            while len(listed) < INSTANCES:
                page = (await http.get(f"/v1/instances?{query}")).json()["data"]["instances"]
                listed.update((one["uuid"], one) for one in page)
                query = f"details=true&count=1001&from={page[-1]['uuid']}"
            assert all(one["tags"] == ["k:v"] for one in listed.values())
            assert watch.seconds() < MOST_LISTING_SECONDS

"""A simulated cloud and a client that speaks plain JSON to it.

Tests take ``autojump_clock`` themselves: pytest-trio looks for a clock in their own arguments.
"""

from typing import Any

import httpx
import pytest
import trio

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

TOKEN = "secret"

IMAGES = """
images:
  job: {run_seconds: 3, exit_code: 0, log: ["working"]}
  failing-job: {run_seconds: 3, exit_code: 7}
  flaky: {exits: [1, 1], run_seconds: 1, exit_code: 0}
  crasher: {run_seconds: 1, crash_code: 818948}
  unpullable: {pull: fail, pull_seconds: 2}
  private: {credentials: "robot:s3cret"}
  slow: {boot_seconds: 30}
  stubborn: {ignores_stop: true}
  offended: {stop_exit_code: 143}
"""


class Caller:
    """Speaks to the API; answers are the envelope, or the items under its one list."""

    def __init__(self, simulator: CloudSimulator, http: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.http = http
        self._life = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        with self._life:
            await self.simulator.run(task_status)
        self._ended.set()

    async def stop(self) -> None:
        """End the simulator; returns once nothing of it is left."""
        self._life.cancel()
        await self._ended.wait()

    async def send(self, method: str, path: str, body: Any = None, **kwargs: Any) -> httpx.Response:
        if body is not None:
            kwargs["json"] = body
        return await self.http.request(method, f"/v1{path}", **kwargs)

    async def call(self, method: str, path: str, body: Any = None, **kwargs: Any) -> dict:
        response = await self.send(method, path, body, **kwargs)
        assert response.status_code == 200, response.text
        return response.json()

    async def items(self, method: str, path: str, body: Any = None) -> list[dict]:
        data = (await self.call(method, path, body))["data"]
        [items] = data.values()
        return items

    async def item(self, method: str, path: str, body: Any = None) -> dict:
        [item] = await self.items(method, path, body)
        return item

    async def create(self, image: str = "app", **members: Any) -> dict:
        """A new instance, started, as it can then be read."""
        body = {"image": image, "autostart": True, **members}
        created = await self.item("POST", "/instances", body)
        assert created["status"] == "success", created
        return await self.read(created["uuid"])

    async def read(self, uuid: str, kind: str = "instances") -> dict:
        return await self.item("GET", f"/{kind}/{uuid}?details=true")

    async def wait(self, uuid: str, state: str, timeout_s: int = 60) -> dict:
        """The instance, once it is in *state*."""
        waited = await self.item(
            "GET", f"/instances/{uuid}/wait", {"state": state, "timeout_s": timeout_s}
        )
        assert waited["status"] == "success", waited
        return await self.read(uuid)


@pytest.fixture
async def cloud_of(nursery):
    """Makes callers of simulators with settings of their own."""

    async def cloud_of(**kwargs: Any) -> Caller:
        kwargs.setdefault("images", ImageCatalogue.parse(IMAGES))
        simulator = CloudSimulator(token=TOKEN, **kwargs)
        http = httpx.AsyncClient(
            base_url="http://cloud.test",
            headers={"authorization": f"Bearer {TOKEN}", "accept": "application/json"},
            transport=MemoryTransport(simulator.handle, nursery),
            timeout=None,
        )
        caller = Caller(simulator, http)
        await nursery.start(caller.run)
        return caller

    return cloud_of


@pytest.fixture
async def cloud(cloud_of):
    return await cloud_of()

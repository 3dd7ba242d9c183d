"""A simulated cloud that takes one request at a time, from code that is not asynchronous.

Between two requests nothing moves in it: Trio's loop itself waits for the next one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import orjson
import trio

from kraftlet_trio.http.messages import ConnectionDropped, Request, Response
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

TOKEN = "t"
_STATUSES = {"success", "error", "partial_success"}


class Loop:
    """Trio in a thread of its own, standing still but for what it is told to do."""

    def __init__(self, simulator: CloudSimulator, clock: trio.abc.Clock | None) -> None:
        self._orders: queue.SimpleQueue[Callable[[], Awaitable[Any]] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=lambda: self._results.put(self._outcome_of_run(simulator, clock)), daemon=True
        )
        self._thread.start()
        self._result()

    def _outcome_of_run(self, simulator: CloudSimulator, clock: trio.abc.Clock | None) -> Any:
        try:
            return trio.run(self._serve, simulator, clock=clock)
        except BaseException as error:  # noqa: BLE001 - raised in the other thread
            return error

    async def _serve(self, simulator: CloudSimulator) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(simulator.run)
            self._results.put(None)
            while (order := self._orders.get()) is not None:
                try:
                    result = await order()
                except Exception as error:  # noqa: BLE001 - likewise
                    result = error
                self._results.put(result)
            nursery.cancel_scope.cancel()

    def _result(self) -> Any:
        result = self._results.get(timeout=60)
        if isinstance(result, BaseException):
            raise result
        return result

    def do(self, order: Callable[[], Awaitable[Any]]) -> Any:
        self._orders.put(order)
        return self._result()

    def end(self) -> None:
        self._orders.put(None)
        self._thread.join(60)
        self._result()


@attrs.define
class History:
    """Requests to *simulator*, every answer to which is held against the envelope's rules."""

    simulator: CloudSimulator
    loop: Loop

    def sleep(self, seconds: float) -> None:
        self.loop.do(partial(trio.sleep, seconds))

    def request(self, method: str, path: str, body: Any = None) -> list[dict[str, Any]]:
        """The items of the answer; none where the answer was lost."""
        path, _, query = path.partition("?")
        request = Request(
            method=method,
            path=f"/v1{path}",
            query_string=query,
            headers={"authorization": f"Bearer {TOKEN}", "accept": "application/json"},
            body=b"" if body is None else orjson.dumps(body),
        )
        try:
            response = self.loop.do(lambda: self.simulator.handle(request))
        except ConnectionDropped:
            return []
        return items_of(response)

    def list(self, kind: str) -> list[dict[str, Any]]:
        items = self.request("GET", f"/{kind}?details=true")
        assert all(item["status"] == "success" for item in items)
        return items

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        return next((item for item in self.list(kind) if item["name"] == name), None)


def items_of(response: Response) -> list[dict[str, Any]]:
    """The items in a well-formed envelope; none of a refused request."""
    assert response.stream is None
    if response.headers["content-type"] == "text/html":
        return []
    envelope = orjson.loads(response.body)
    assert envelope["status"] in _STATUSES
    assert isinstance(envelope["op_time_us"], int)
    assert envelope["op_time_us"] >= 0
    if response.status != 200:
        assert envelope["status"] == "error"
        assert envelope["errors"] == [{"status": response.status, "message": envelope["message"]}]
        assert "data" not in envelope
        return []
    [items] = envelope["data"].values()
    failed = [item for item in items if item["status"] == "error"]
    assert all(item["status"] in ("success", "error") for item in items)
    for item in failed:
        if "error" in item:
            assert isinstance(item["error"], int)
            assert item["message"]
    if not failed:
        assert envelope["status"] == "success"
        assert "message" not in envelope
    else:
        assert envelope["status"] == ("error" if len(failed) == len(items) else "partial_success")
        assert envelope["message"]
    return list(items)

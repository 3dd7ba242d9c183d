from __future__ import annotations

import pytest

from kraftlet_trio.http.messages import Request
from kraftlet_trio.kubelet_api.health import Health, HealthPort
from kraftlet_trio.kubelet_api.run import STALE_SECONDS, stale_feed


@pytest.fixture
def health() -> Health:
    return Health()


async def status(health: Health, path: str, method: str = "GET") -> int:
    return (await HealthPort(health).answer(Request(method=method, path=path))).status


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
async def test_health_is_told_without_credentials(health, path):
    assert await status(health, path) == 200
    assert await status(health, path, "HEAD") == 200
    assert await status(health, path, "POST") == 405


@pytest.mark.parametrize("path", ["/", "/metrics", "/pods", "/healthz/ping", "/livez/"])
async def test_the_health_port_tells_nothing_else(health, path):
    assert await status(health, path) == 404


async def test_whoever_is_unwell_is_not_ready_but_alive(health):
    health.checks["syncloop"] = lambda: "instances are old"
    assert await status(health, "/readyz") == 500
    assert await status(health, "/healthz") == 500
    assert await status(health, "/livez") == 200


async def test_a_reason_is_not_for_everybody(health):
    health.checks["syncloop"] = lambda: "token s3cret"
    answer = await HealthPort(health).answer(Request(method="GET", path="/healthz"))
    assert answer.body == (
        b"[+]ping ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n"
    )


class Feed:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def seconds_since_success(self) -> float:
        return self.seconds


@pytest.mark.parametrize("seconds", [0, STALE_SECONDS - 1])
def test_a_fresh_list_of_instances_is_well(seconds):
    assert stale_feed(Feed(seconds)) is None


@pytest.mark.parametrize("seconds", [STALE_SECONDS, 10 * STALE_SECONDS, float("inf")])
def test_an_old_list_of_instances_is_not(seconds):
    assert "listed" in stale_feed(Feed(seconds))

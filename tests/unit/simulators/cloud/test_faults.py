import math

import httpx
import pytest
import trio

from kraftlet_trio.simulators.cloud.faults import (
    AnswerHtml,
    AnswerStatus,
    CommitThenDrop,
    Delay,
    DropBefore,
)

CREATE = {"method": "POST", "path": "/v1/instances"}


async def test_status_comes_with_its_headers_as_often_as_asked(autojump_clock, cloud):
    cloud.simulator.faults.add(AnswerStatus(429, headers={"retry-after": "7"}), times=2, **CREATE)
    for _ in range(2):
        answer = await cloud.send("POST", "/instances", {"image": "app"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert answer.json()["errors"][0]["status"] == 429
    assert await cloud.items("GET", "/instances") == []
    await cloud.create()


async def test_html_is_what_a_proxy_says(autojump_clock, cloud):
    cloud.simulator.faults.add(AnswerHtml())
    answer = await cloud.send("GET", "/instances")
    assert answer.status_code == 502
    assert answer.text.startswith("<html>")


@pytest.mark.parametrize(("effect", "created"), [(DropBefore(), 0), (CommitThenDrop(), 1)])
async def test_dropped_connection_before_or_after_the_deed(autojump_clock, cloud, effect, created):
    cloud.simulator.faults.add(effect, **CREATE)
    with pytest.raises(httpx.RemoteProtocolError):
        await cloud.send("POST", "/instances", {"image": "app"})
    assert len(await cloud.items("GET", "/instances")) == created


async def test_delay_holds_the_answer(autojump_clock, cloud):
    cloud.simulator.faults.add(Delay(30))
    began = trio.current_time()
    await cloud.call("GET", "/instances")
    assert trio.current_time() - began == 30


async def test_fault_strikes_only_what_it_matches_until_cleared(autojump_clock, cloud):
    cloud.simulator.faults.add(AnswerStatus(500), path="/v1/volumes.*", times=math.inf)
    assert (await cloud.send("GET", "/instances")).status_code == 200
    for _ in range(3):
        assert (await cloud.send("GET", "/volumes")).status_code == 500
    cloud.simulator.faults.clear()
    assert (await cloud.send("GET", "/volumes")).status_code == 200

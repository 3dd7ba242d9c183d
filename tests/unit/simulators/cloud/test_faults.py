import math
from datetime import datetime

import httpx
import pytest
import trio

from kraftlet_trio.simulators.cloud.faults import (
    AnswerHtml,
    AnswerStatus,
    CommitThenDrop,
    Delay,
    DropBefore,
    Duplicate,
    Fault,
    Faults,
    SetQuotas,
    SkewClock,
    Truncate,
    Unfamiliar,
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


async def test_duplicate_delivers_a_request_twice(autojump_clock, cloud):
    cloud.simulator.faults.add(Duplicate(), **CREATE)
    answer = await cloud.item("POST", "/instances", {"image": "app", "name": "web"})
    assert answer["error"] == 23
    assert len(await cloud.items("GET", "/instances")) == 1


async def test_truncated_answer_is_complete_http_but_no_json(autojump_clock, cloud):
    cloud.simulator.faults.add(Truncate(keep=0.5))
    answer = await cloud.send("GET", "/users/quotas")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Unterminated"):
        answer.json()


async def test_later_release_answers_with_what_nobody_knows(autojump_clock, cloud):
    created = await cloud.create(timeout_s=5)
    cloud.simulator.faults.add(Unfamiliar({"colour": "red"}, state="dreaming", code=99), times=2)
    shown = await cloud.call("GET", f"/instances?uuid={created['uuid']}&name=ghost&details=true")
    assert shown["colour"] == "red"
    known, missing = shown["data"]["instances"]
    assert (known["state"], known["colour"], missing["error"]) == ("dreaming", "red", 99)
    assert (await cloud.read(created["uuid"]))["state"] == "dreaming"
    assert (await cloud.read(created["uuid"]))["state"] == "running"


async def test_clock_skew_moves_the_platforms_times_only(autojump_clock, cloud):
    created = await cloud.create(env={"TODAY": "2026-01-01T00:00:00Z"})
    cloud.simulator.faults.add(SkewClock(-3600))
    skewed = await cloud.read(created["uuid"])
    before, after = (
        datetime.fromisoformat(each["created_at"]).timestamp() for each in (skewed, created)
    )
    assert after - before == 3600
    assert skewed["env"] == created["env"]


async def test_quotas_shrink_under_load(autojump_clock, cloud):
    cloud.simulator.faults.add(SetQuotas({"instances": 2}), skip=1, **CREATE)
    answers = [await cloud.item("POST", "/instances", {"image": "app"}) for _ in range(3)]
    assert [answer["status"] for answer in answers] == ["success", "success", "error"]
    assert answers[2]["error"] == 19


async def test_all_faults_that_match_strike_the_first_one_outermost(autojump_clock, cloud):
    cloud.simulator.faults.add(Delay(2), times=math.inf)
    cloud.simulator.faults.add(AnswerStatus(503))
    began = trio.current_time()
    assert (await cloud.send("GET", "/instances")).status_code == 503
    assert trio.current_time() - began == 2


async def test_body_is_searched(autojump_clock, cloud):
    cloud.simulator.faults.add(AnswerStatus(500), body='"name": ?"web-[0-9]"')
    for name, status in (("db", 200), ("web-1", 500), ("web-1", 200)):
        body = {"image": "app", "name": name}
        assert (await cloud.send("POST", "/instances", body)).status_code == status


async def test_chance_follows_from_the_seed(autojump_clock, cloud):
    async def statuses() -> list[int]:
        fault = Fault(AnswerStatus(500), times=math.inf, probability=0.5)
        cloud.simulator.faults.replace([fault], seed=11)
        return [(await cloud.send("GET", "/instances")).status_code for _ in range(20)]

    once = await statuses()
    assert set(once) == {200, 500}
    assert await statuses() == once


@pytest.mark.parametrize(
    "given",
    [
        {"path": "("},
        {"times": 0},
        {"times": 1.5},
        {"skip": -1},
        {"probability": 1.1},
    ],
)
def test_fault_that_makes_no_sense_is_refused(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        Faults().add(DropBefore(), **given)

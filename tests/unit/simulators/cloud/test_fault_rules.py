import json
from contextlib import suppress

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.simulators.cloud.fault_rules import (
    TYPES,
    RulesError,
    parse_rules,
    shown_fault,
)
from kraftlet_trio.simulators.cloud.faults import Delay, SetQuotas

EFFECTS = {
    "status": {"status": 429, "message": "slow down", "headers": {"retry-after": "3"}},
    "html": {"status": 504},
    "drop-before": {},
    "commit-then-drop": {},
    "delay": {"seconds": 1.5},
    "duplicate": {},
    "truncate": {"keep": 0.25},
    "unfamiliar": {"fields": {"x": [1]}, "state": "new", "code": 77},
    "skew-clock": {"seconds": -60.0},
    "set-quotas": {"hard": {"instances": 3}},
}


@pytest.mark.parametrize("kind", TYPES.values())
def test_every_effect_can_be_written_down_and_is_shown_likewise(kind):
    effect = {"type": kind, **EFFECTS[kind]}
    rule = {"effect": effect, "method": "POST", "path": "/v1/.*", "body": "web"}
    rule |= {"times": "always", "skip": 2, "probability": 0.5}
    [fault] = parse_rules(json.dumps({"faults": [rule]})).faults
    assert shown_fault(fault) == {**rule, "struck": 0}


def test_yaml_is_read_with_its_defaults():
    rules = parse_rules("""
        seed: 7
        faults:
          - effect: {type: delay, seconds: 2}
          - {effect: {type: set-quotas, hard: {instances: 1}}, times: 3}
    """)
    assert rules.seed == 7
    assert [fault.effect for fault in rules.faults] == [Delay(2.0), SetQuotas({"instances": 1})]
    assert [fault.times for fault in rules.faults] == [1, 3]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("faults: [", "neither YAML nor JSON"),
        ("[]", "rules"),
        ("null", "rules"),
        ("cats: 3", "unknown member cats"),
        ("faults: [{}]", "required member missing @ rules.faults[0].effect"),
        ("faults: [{effect: {type: explode}}]", "no effect 'explode'"),
        ("faults: [{effect: explode}]", "an effect is an object"),
        ("faults: [{effect: {type: delay}}]", "effect.seconds"),
        ("faults: [{effect: {type: delay, seconds: -1}}]", "seconds -1"),
        ("faults: [{effect: {type: delay, seconds: .nan}}]", "seconds nan"),
        ("faults: [{effect: {type: delay, seconds: soon}}]", "'soon' is not of type float"),
        ("faults: [{effect: {type: delay, seconds: 1, colour: red}}]", "unknown member colour"),
        ("faults: [{effect: {type: status, status: 42}}]", "status 42"),
        ("faults: [{effect: {type: drop-before}, times: 0}]", "times 0"),
        ("faults: [{effect: {type: drop-before}, times: often}]", "'often'"),
        ("faults: [{effect: {type: drop-before}, path: '('}]", "no regular expression"),
        ("faults: [{effect: {type: drop-before}, path: 3}]", "3 is not of type str"),
        ("faults: [{effect: {type: set-quotas, hard: {cats: 3}}}]", "no quota 'cats'"),
        ("faults: [{effect: {type: set-quotas, hard: [3]}}]", "an object is expected"),
    ],
)
def test_wrong_rules_are_explained(document, complaint):
    with pytest.raises(RulesError) as raised:
        parse_rules(document)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value) or "YAML" in str(raised.value)


@given(st.binary(max_size=60) | st.text(alphabet="{}[]:,-& *!\"'ab1\n", max_size=60))
def test_nothing_but_rules_or_an_explanation_comes_of_any_document(document):
    with suppress(RulesError):
        parse_rules(document)


async def rules(cloud, method, body=None) -> httpx.Response:
    return await cloud.http.request(method, "/simulator/v1/faults", content=body)


async def test_rules_are_set_shown_and_removed_at_run_time(autojump_clock, cloud):
    document = {"faults": [{"effect": {"type": "status", "status": 503}, "times": "always"}]}
    assert (await rules(cloud, "PUT", json.dumps(document))).status_code == 200
    for _ in range(2):
        assert (await cloud.send("GET", "/instances")).status_code == 503
    [shown] = (await rules(cloud, "GET")).json()["faults"]
    assert (shown["effect"]["status"], shown["times"], shown["struck"]) == (503, "always", 2)
    assert (await rules(cloud, "DELETE")).json() == {"faults": []}
    assert (await cloud.send("GET", "/instances")).status_code == 200


async def test_wrong_rules_leave_those_in_force(autojump_clock, cloud):
    cloud.simulator.faults.add(Delay(1))
    answer = await rules(cloud, "PUT", "faults: [{effect: {type: explode}}]")
    assert answer.status_code == 400
    assert "no effect 'explode'" in answer.json()["message"]
    assert len((await rules(cloud, "GET")).json()["faults"]) == 1


async def test_rules_need_the_token(autojump_clock, cloud):
    cloud.http.headers["authorization"] = "Bearer other"
    assert (await rules(cloud, "GET")).status_code == 401


async def test_no_fault_strikes_where_it_can_be_removed(autojump_clock, cloud):
    cloud.simulator.faults.add(Delay(1000), times=2)
    began = trio.current_time()
    await rules(cloud, "DELETE")
    assert trio.current_time() == began

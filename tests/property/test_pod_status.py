"""Statuses of any Pods, whatever is known of their containers, against a model of the kubelet."""

from __future__ import annotations

from datetime import timedelta

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.objects import Condition
from kraftlet_trio.kubernetes.pod import (
    Container,
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    Pod,
    PodReadinessGate,
    PodStatus,
)
from kraftlet_trio.mapping.container_state import is_alive
from kraftlet_trio.mapping.container_status import Held, Trouble
from kraftlet_trio.mapping.pod_status import PodFailure, pod_status
from tests.builders import NOW, a_container, a_pod
from tests.property import kubelet_model
from tests.property.kubelet_model import TERMINAL
from tests.thoroughness import examples

NAMES = ("app", "log", "mesh")
INIT_NAMES = ("fetch", "proxy", "seed")
POLICIES = ("Always", "OnFailure", "Never")
GATES = ("example.com/warm", "example.com/known")


def restart_rules() -> st.SearchStrategy[ContainerRestartRule]:
    codes = st.builds(
        ContainerRestartRuleOnExitCodes,
        operator=st.sampled_from(["In", "NotIn"]),
        values=st.lists(st.sampled_from([0, 3, 137]), min_size=1, unique=True).map(tuple),
    )
    return st.builds(ContainerRestartRule, action=st.just("Restart"), exit_codes=codes)


def containers(names: tuple[str, ...], least: int) -> st.SearchStrategy[tuple[Container, ...]]:
    one = st.builds(
        lambda name, policy, rules: attrs.evolve(
            a_container(name), restart_policy=policy, restart_policy_rules=rules
        ),
        st.sampled_from(names),
        st.sampled_from([None, None, *POLICIES]),
        st.lists(restart_rules(), max_size=1).map(tuple),
    )
    return st.lists(one, min_size=least, max_size=3, unique_by=lambda one: one.name).map(tuple)


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    pod = a_pod(restart_policy=draw(st.sampled_from(POLICIES)))
    gates = draw(st.lists(st.sampled_from(GATES), max_size=2, unique=True))
    known = draw(st.dictionaries(st.sampled_from(GATES), st.sampled_from(["True", "False"])))
    return attrs.evolve(
        pod,
        spec=attrs.evolve(
            pod.spec,
            containers=draw(containers(NAMES, 1)),
            init_containers=draw(containers(INIT_NAMES, 0)),
            readiness_gates=tuple(PodReadinessGate(condition_type=gate) for gate in gates),
        ),
        status=PodStatus(
            conditions=tuple(Condition(type=kind, status=one) for kind, one in known.items())
        ),
    )


ENDS = (
    {"stop_reason": 3, "exit_code": 0},
    {"stop_reason": 3, "exit_code": 3},
    {"stop_reason": 1, "stop_code": 0x0C7F04},
    {"stop_reason": 4, "stop_code": 1},
    {"stop_reason": 15, "exit_code": 0},
    {"stop_reason": None},
)


@st.composite
def instances(draw: st.DrawFn, name: str, run: int) -> Instance | None:
    """Of one container, in its *run*; each run takes a minute."""
    began = NOW + timedelta(minutes=run)
    state = draw(
        st.sampled_from(
            ["", cloud.STARTING, cloud.RUNNING, cloud.RUNNING, cloud.STANDBY, cloud.STOPPED]
        )
    )
    if not state:
        return None
    instance = Instance(uuid=f"uuid-of-{name}", name=name, state=state, start_count=run)
    if state == cloud.STARTING or (state == cloud.STOPPED and draw(st.integers(0, 4)) == 0):
        return instance
    instance = attrs.evolve(instance, started_at=began, private_ip="10.0.0.1")
    if state != cloud.STOPPED:
        return instance
    return attrs.evolve(
        instance, stopped_at=began + timedelta(seconds=30), **draw(st.sampled_from(ENDS))
    )


def held() -> st.SearchStrategy[Held]:
    return st.builds(
        Held,
        trouble=st.sampled_from([None, None, Trouble("CreateContainerError", "no more room")]),
        back_off_seconds=st.sampled_from([None, None, 20.0]),
        started=st.sampled_from([True, True, False]),
        ready=st.sampled_from([True, True, False]),
        resizing=st.sampled_from([False, False, True]),
    )


FAILURE = PodFailure("DeadlineExceeded", "too long")


@given(pods(), st.data())
@settings(max_examples=examples(200), deadline=None)
def test_phase_and_conditions_are_those_of_a_kubelet(pod: Pod, data: st.DataObject) -> None:
    every = [one.name for one in (*pod.spec.init_containers, *pod.spec.containers)]
    previous, now = pod.status, NOW
    for run in range(data.draw(st.integers(1, 4))):
        there = {
            name: one for name in every if (one := data.draw(instances(name, run))) is not None
        }
        known = {name: data.draw(held()) for name in every}
        stopped = not any(map(is_alive, there.values())) and data.draw(st.booleans())
        failure = data.draw(st.sampled_from([None, None, None, FAILURE]))
        now = NOW + timedelta(minutes=run, seconds=45)
        status = pod_status(
            pod,
            previous,
            there,
            known,
            host_ip="192.0.2.1",
            now=now,
            stopped_for_good=stopped,
            failure=failure,
        )
        check(pod, previous, status, there, stopped_for_good=stopped, failure=failure)
        previous = status


def check(
    pod: Pod,
    previous: PodStatus,
    status: PodStatus,
    there: dict[str, Instance],
    *,
    stopped_for_good: bool,
    failure: PodFailure | None,
) -> None:
    assert [one.name for one in status.init_container_statuses] == [
        one.name for one in pod.spec.init_containers
    ]
    assert [one.name for one in status.container_statuses] == sorted(
        one.name for one in pod.spec.containers
    )
    for one in (*status.init_container_statuses, *status.container_statuses):
        assert sum(part is not None for part in attrs.astuple(one.state, recurse=False)) == 1
        assert not (one.ready and one.state.waiting)
    before = {
        one.name: one.restart_count
        for one in (*previous.init_container_statuses, *previous.container_statuses)
    }
    for one in (*status.init_container_statuses, *status.container_statuses):
        assert one.restart_count >= before.get(one.name, 0), "restart counts never fall"
    expected = kubelet_model.phase(pod, status, stopped_for_good=stopped_for_good)
    if failure is not None:
        expected = "Failed"
    runs = any(map(is_alive, there.values())) or any(
        one.state.running for one in (*status.init_container_statuses, *status.container_statuses)
    )
    if previous.phase in TERMINAL:
        assert status.phase == previous.phase, "a terminal phase is for good"
    elif expected in TERMINAL and runs:
        assert status.phase not in TERMINAL, "nothing is over while something of it runs"
    else:
        assert status.phase == expected
    found = {one.type: (one.status, one.reason, one.message) for one in status.conditions}
    for kind, wanted in kubelet_model.conditions(pod, status).items():
        assert found[kind] == wanted, kind
    if found["Ready"][0] == "True":
        assert found["ContainersReady"][0] == "True"
    if found["ContainersReady"][0] == "True":
        assert found["Initialized"][0] == "True"
    if status.phase == "Failed" and previous.phase not in TERMINAL and failure is not None:
        assert (status.reason, status.message) == (failure.reason, failure.message)

"""Whole lives of Pods: whatever happens, and whenever the daemon is killed, they end well."""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.kubernetes.pod import PodStatus
from kraftlet_trio.mapping.container_state import is_alive
from kraftlet_trio.mapping.container_status import container_status_of, last_end
from kraftlet_trio.mapping.pod_phase import restartable
from tests.builders import a_container, a_pod, a_sidecar
from tests.property import kubelet_model
from tests.property.pod_model import FAILS, LOST, OK, TERMINAL, PodModel

ROUNDS_TO_REST = 10
ROUNDS_TO_END = 200


class CheckedPod(PodModel):
    """A ``PodModel`` that holds each status against kubelet's phase."""

    def check_status(self, status: PodStatus) -> None:
        super().check_status(status)
        if self.pod.status.phase in TERMINAL:
            return  # for good, whatever the containers say
        phase = kubelet_model.phase(self.pod, status, stopped_for_good=self.plan.stopped_for_good)
        if self.plan.failure is not None:
            phase = "Failed"
        if phase in TERMINAL and any(
            [
                *(is_alive(instance) for instance in self.seen.values()),
                *(one.state.running for one in status.init_container_statuses),
                *(one.state.running for one in status.container_statuses),
            ]
        ):
            # Kubelet keeps the phase that was reported, while something may still run.
            assert status.phase in {self.pod.status.phase, "Pending", "Running"} - {*TERMINAL}
        else:
            assert status.phase == phase


INIT = {one.name: one for one in (a_container("setup"), a_sidecar("proxy"), a_container("seed"))}


@attrs.frozen
class Life:
    """What a Pod asks for, in a few words."""

    containers: list[str]
    init: list[str]
    restart_policy: str
    autostart: bool
    groups: dict[str, str]
    with_services: bool
    probed: frozenset[str] = frozenset()
    deadline_seconds: int | None = None

    def begin(self) -> CheckedPod:
        pod = a_pod(
            containers=self.containers,
            init=[INIT[name] for name in self.init],
            restart_policy=self.restart_policy,
        )
        spec = attrs.evolve(pod.spec, active_deadline_seconds=self.deadline_seconds)
        model = CheckedPod(
            pod=attrs.evolve(pod, spec=spec),
            probed=self.probed,
            autostart=self.autostart,
            groups={name: group for name, group in self.groups.items() if name in self.containers},
        )
        if self.with_services:
            model.show_services()
        return model


def lives() -> st.SearchStrategy[Life]:
    return st.builds(
        Life,
        containers=st.sampled_from([["app"], ["app"], ["app", "log"]]),
        init=st.lists(st.sampled_from(list(INIT)), max_size=2, unique=True),
        restart_policy=st.sampled_from(["Always", "OnFailure", "Never"]),
        autostart=st.sampled_from([True, True, True, False]),
        groups=st.dictionaries(st.sampled_from(["app", "log"]), st.sampled_from(["web", "api"])),
        with_services=st.booleans(),
        probed=st.frozensets(st.sampled_from(["app", "log", "proxy"]), max_size=2),
        deadline_seconds=st.sampled_from([None, None, None, 60]),
    )


MOVES = (
    *["daemon settles"] * 4,
    *["daemon acts"] * 2,
    "daemon acts on what it last saw",
    "daemon is killed",
    *["something happens"] * 4,
    *["everything takes its course"] * 3,
    *["time passes"] * 2,
    *["daemon looks again"] * 2,
    "services come",
    *["a probe decides"] * 3,
    "images change",
)
ENDS = ("pod is deleted", "pod is deleted", "pod is taken away")

outcomes = st.lists(st.sampled_from([OK, OK, FAILS, LOST]), max_size=3)


def move(model: CheckedPod, what: str, data: st.DataObject) -> None:
    match what:
        case "daemon settles":
            settle(model)
        case "daemon acts":
            model.poll()
            model.tend_groups()
            model.round(data.draw(outcomes))
        case "daemon acts on what it last saw":
            model.round(data.draw(outcomes))
        case "daemon is killed" if not model.vanished:
            model.round(data.draw(outcomes), dies_after=data.draw(st.integers(0, 2)))
        case "something happens" if model.cloud.instances:
            uuid = data.draw(st.sampled_from(sorted(model.cloud.instances)))
            model.happen(uuid, data.draw(st.sampled_from(model.happenings(uuid))))
        case "everything takes its course":
            model.proceed()
        case "time passes":
            model.pass_time(data.draw(st.sampled_from([0.1, 1, 2, 10, 45, 400])))
        case "daemon looks again" if model.wake_at is not None:
            model.cloud.now = max(model.now, model.wake_at)
            settle(model)
        case "services come":
            model.show_services()
        case "a probe decides" if model.probed:
            model.probe(
                data.draw(st.sampled_from(sorted(model.probed))),
                started=data.draw(st.sampled_from([True, True, False])),
                ready=data.draw(st.booleans()),
                doomed=data.draw(st.sampled_from([False, False, True])),
            )
        case "images change" if not model.deleting:
            model.change_images()
        case "pod is deleted" if not model.vanished:
            model.delete(data.draw(st.sampled_from([0, 2, 30])))
        case "pod is taken away" if model.owned:
            model.vanished = True


@given(lives(), st.data())
@settings(max_examples=500, deadline=None)
def test_whatever_happens_and_whenever_the_daemon_is_killed_a_pod_ends_well(
    life: Life, data: st.DataObject
) -> None:
    model = life.begin()
    for _ in range(data.draw(st.integers(0, 40))):
        move(model, data.draw(st.sampled_from(MOVES)), data)
    for _ in range(data.draw(st.integers(0, 10))):
        move(model, data.draw(st.sampled_from(MOVES + ENDS)), data)
    run_until_rest(model)
    check_rest(model)
    if not model.deleting:
        model.delete(30)
        run_until_rest(model)
    assert model.finished
    assert not model.cloud.instances
    assert not model.cloud.groups
    model.check_counts()


def settle(model: CheckedPod) -> None:
    """Rounds that all go well come to rest while nothing else happens."""
    model.poll()
    model.tend_groups()
    for _ in range(ROUNDS_TO_REST):
        if not model.round([]):
            return
    raise AssertionError("the daemon does not come to rest")


def run_until_rest(model: CheckedPod) -> None:
    """Everybody does what they should, from here on."""
    for _ in range(ROUNDS_TO_END):
        moved = [
            model.proceed(),
            model.poll(),
            model.probe_well(),
            model.tend_groups(),
            model.round([]),
        ]
        if model.finished:
            return
        if not any(moved):
            if model.wake_at is None:
                return
            model.cloud.now = max(model.now, model.wake_at)
    raise AssertionError("no end in sight")


def check_rest(model: CheckedPod) -> None:
    """What is to run runs, and what is done is done."""
    if model.deleting:
        return
    alive = {one.name for one in model.cloud.instances.values() if is_alive(one)}
    if model.pod.status.phase in TERMINAL:
        assert not alive
        return
    assert alive >= {one.name for one in model.pod.spec.init_containers if one.restart_policy}
    unfinished = []
    for container in model.pod.spec.containers:
        end = last_end(container_status_of(model.pod.status, container.name))
        instance = model.cloud.of(container.name)
        if end is None or restartable(model.pod, container, end.exit_code):
            unfinished.append(container.name)
            left_alone = not model.autostart and instance and not instance.start_count
            assert container.name in alive or left_alone
    assert unfinished, "the Pod is done and does not say so"

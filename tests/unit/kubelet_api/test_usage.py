from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.cloud.objects import InstanceMetrics
from kraftlet_trio.kubelet_api.usage import RunningContainer, UsageHistory
from tests.builders import NOW, ago


def a_running_container(name: str = "app", *, pod: str = "web", **fields) -> RunningContainer:
    return RunningContainer(
        **{
            "namespace": "default",
            "pod": pod,
            "pod_uid": f"uid-of-{pod}",
            "container": name,
            "image": f"{name}:1",
            "instance_uuid": f"uuid-of-{pod}-{name}",
            "instance_name": f"{pod}-{name}",
            "started_at": ago(100),
            "memory_limit_bytes": 128 * 2**20,
            "vcpus": 1,
        }
        | fields
    )


def told(container: RunningContainer, **fields) -> dict[str, InstanceMetrics]:
    metrics = {"start_count": 1, "cpu_time_ms": 500, "rss_bytes": 4096} | fields
    uuid = container.instance_uuid
    return {uuid: InstanceMetrics(uuid=uuid, **metrics)}


APP = a_running_container()


def test_what_an_idle_container_uses_is_never_nothing():
    usage = UsageHistory().sample([APP], told(APP, cpu_time_ms=0, rss_bytes=0), NOW)
    [container] = usage.containers
    assert (container.counters.cpu_ns, container.memory_bytes) == (1, 1)
    assert (usage.counters.cpu_ns, usage.memory_bytes) == (1, 1)


def test_a_node_without_containers_tells_the_least_that_counts():
    usage = UsageHistory().sample([], {}, NOW)
    assert (usage.counters.cpu_ns, usage.memory_bytes) == (1, 1)


def test_a_container_without_a_sample_is_left_out():
    history = UsageHistory()
    assert history.sample([APP], {}, NOW).containers == ()
    assert history.sample([APP], told(APP, cpu_time_ms=None), NOW).containers == ()
    assert history.sample([APP], told(APP, rss_bytes=None), NOW).containers == ()


def test_waking_up_goes_on_counting():
    history = UsageHistory()
    history.sample([APP], told(APP, cpu_time_ms=500, rx_bytes=70), NOW)
    awake = told(APP, start_count=2, cpu_time_ms=20, rx_bytes=5)
    [container] = history.sample([APP], awake, NOW).containers
    assert container.counters.cpu_ns == 520_000_000
    assert container.counters.rx_bytes == 75


def test_a_new_run_counts_anew():
    history = UsageHistory()
    history.sample([APP], told(APP, cpu_time_ms=500), NOW)
    again = a_running_container(started_at=ago(1))
    usage = history.sample([again], told(again, start_count=2, cpu_time_ms=20), NOW)
    assert usage.containers[0].counters.cpu_ns == 20_000_000
    assert usage.counters.cpu_ns == 520_000_000


def test_the_rate_is_that_since_the_sample_before():
    history = UsageHistory()
    [first] = history.sample([APP], told(APP, cpu_time_ms=500), NOW).containers
    assert first.nano_cores == 5_000_000  # half a second in a hundred
    later = NOW + timedelta(seconds=2)
    [second] = history.sample([APP], told(APP, cpu_time_ms=1500), later).containers
    assert second.nano_cores == 500_000_000


READS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=3),  # starts since the read before
        st.integers(min_value=0, max_value=10**6),  # what the platform then counts
        st.booleans(),  # whether it tells of the container at all
        st.booleans(),  # whether this is a new run
    ),
    max_size=20,
)


@given(READS)
def test_counters_never_fall_within_a_run(reads):
    history, starts, run = UsageHistory(), 1, 0
    seen: dict[int, int] = {}
    node = 0
    for step, (more_starts, cpu_ms, answers, new_run) in enumerate(reads):
        starts += more_starts
        run += new_run
        container = a_running_container(started_at=NOW + timedelta(seconds=run))
        metrics = told(container, start_count=starts, cpu_time_ms=cpu_ms) if answers else {}
        usage = history.sample([container], metrics, NOW + timedelta(days=1, seconds=step))
        for one in usage.containers:
            assert one.counters.cpu_ns >= seen.get(run, 1)
            assert one.nano_cores >= 0
            seen[run] = one.counters.cpu_ns
        assert usage.counters.cpu_ns >= node
        node = usage.counters.cpu_ns

"""What scrapers read, in the bytes and documents that they know from a kubelet."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kraftlet_trio.kubelet_api.cadvisor_metrics import cadvisor_metrics
from kraftlet_trio.kubelet_api.resource_metrics import resource_metrics
from kraftlet_trio.kubelet_api.stats_summary import stats_summary
from kraftlet_trio.kubelet_api.usage import NodeUsage, UsageHistory
from kraftlet_trio.metrics.exposition import render
from tests.builders import NOW, ago
from tests.unit.kubelet_api.test_usage import a_running_container, told

APP, SIDECAR = a_running_container("app"), a_running_container("sidecar")
OTHER = a_running_container("app", pod="other")

RESOURCES = """\
# HELP node_cpu_usage_seconds_total CPU time of all containers of the node, in seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 0.75 1767268800250
# HELP node_memory_working_set_bytes Memory of all containers of the node, in bytes
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 6144 1767268800250
# HELP container_cpu_usage_seconds_total CPU time of the container's present run, in seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="app",pod="web",namespace="default"} 0.5 1767268800250
container_cpu_usage_seconds_total{container="sidecar",pod="web",namespace="default"} 0.25 1767268800250
# HELP container_memory_working_set_bytes Memory of the container, in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="app",pod="web",namespace="default"} 4096 1767268800250
container_memory_working_set_bytes{container="sidecar",pod="web",namespace="default"} 2048 1767268800250
# HELP container_start_time_seconds Start of the container's present run, in seconds since the epoch
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="app",pod="web",namespace="default"} 1767268700.0 1767268800250
container_start_time_seconds{container="sidecar",pod="web",namespace="default"} 1767268700.0 1767268800250
# HELP pod_cpu_usage_seconds_total CPU time of the Pod's containers, in seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="default",pod="web"} 0.75 1767268800250
# HELP pod_memory_working_set_bytes Memory of the Pod's containers, in bytes
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="default",pod="web"} 6144 1767268800250
# HELP resource_scrape_error 1 if the platform did not tell what the containers use, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 0
# HELP scrape_error The deprecated name of resource_scrape_error
# TYPE scrape_error gauge
scrape_error 0
"""  # noqa: E501 (as they are sent)


def of_web() -> NodeUsage:
    metrics = {
        **told(APP, rx_bytes=10, tx_bytes=20),
        **told(SIDECAR, cpu_time_ms=250, rss_bytes=2048, rx_bytes=1, tx_packets=3),
    }
    return UsageHistory().sample([APP, SIDECAR], metrics, NOW + timedelta(milliseconds=250))


def values(text: str) -> dict[tuple[str, str], float]:
    """By name and container."""
    return {
        (sample.name, sample.labels.get("container", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_resources_are_told_to_the_byte() -> None:
    assert render(resource_metrics(of_web())).decode() == RESOURCES


def test_without_a_sample_only_the_failure_is_told() -> None:
    text = render(resource_metrics(None)).decode()
    assert values(text) == {("resource_scrape_error", ""): 1, ("scrape_error", ""): 1}


@given(st.integers(min_value=0, max_value=10**12), st.integers(min_value=0, max_value=2**50))
def test_no_sample_is_ever_zero_and_none_loses_a_digit(cpu_ms: int, rss_bytes: int) -> None:
    usage = UsageHistory().sample([APP], told(APP, cpu_time_ms=cpu_ms, rss_bytes=rss_bytes), NOW)
    read = values(render(resource_metrics(usage)).decode())
    assert read["container_cpu_usage_seconds_total", "app"] == (cpu_ms / 1000 or 1e-9)
    assert read["container_memory_working_set_bytes", "app"] == (rss_bytes or 1)


def test_the_summary_has_the_kubelets_form() -> None:
    summary = stats_summary(
        of_web(), node_name="kraftlet", started_at=ago(1000), only_cpu_and_memory=False
    )
    assert summary["node"]["nodeName"] == "kraftlet"
    assert summary["node"]["startTime"] == "2026-01-01T11:43:20Z"
    [pod] = summary["pods"]
    assert pod["podRef"] == {"name": "web", "namespace": "default", "uid": "uid-of-web"}
    assert [container["name"] for container in pod["containers"]] == ["app", "sidecar"]
    assert pod["cpu"]["usageCoreNanoSeconds"] == 750_000_000
    assert pod["memory"]["workingSetBytes"] == 6144
    assert (pod["network"]["rxBytes"], pod["network"]["txBytes"]) == (11, 20)
    memory = pod["containers"][0]["memory"]
    assert memory["availableBytes"] == 128 * 2**20 - 4096


def test_the_summary_can_be_trimmed() -> None:
    summary = stats_summary(
        of_web(), node_name="kraftlet", started_at=ago(1000), only_cpu_and_memory=True
    )
    assert "network" not in summary["node"]
    assert "network" not in summary["pods"][0]
    assert summary["pods"][0]["cpu"]["usageCoreNanoSeconds"] == 750_000_000


def test_cadvisor_tells_the_network_once_a_pod() -> None:
    usage = UsageHistory().sample(
        [APP, SIDECAR, OTHER],
        {**told(APP, rx_bytes=10), **told(SIDECAR, rx_bytes=1), **told(OTHER, rx_bytes=5)},
        NOW,
    )
    text = render(cadvisor_metrics(usage, cpus=4, memory_bytes=2**30)).decode()
    received = {
        sample.labels["pod"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "container_network_receive_bytes_total"
    }
    assert received == {"web": 11, "other": 5}
    assert values(text)["machine_memory_bytes", ""] == 2**30


def test_cadvisor_names_images_for_dashboards_to_filter_by() -> None:
    text = render(cadvisor_metrics(of_web(), cpus=4, memory_bytes=2**30)).decode()
    [line] = [
        line
        for line in text.splitlines()
        if line.startswith("container_cpu_usage") and 'container="app"' in line
    ]
    assert line == (
        'container_cpu_usage_seconds_total{id="/pods/uid-of-web/uuid-of-web-app",image="app:1",'
        'name="web-app",namespace="default",pod="web",container="app",cpu="total"} '
        "0.5 1767268800250"
    )

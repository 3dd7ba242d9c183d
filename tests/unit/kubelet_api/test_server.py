from __future__ import annotations

from typing import Any

import orjson
import pytest

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.consoles.consoles import Consoles
from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.kubelet_api.authentication import Authenticator
from kraftlet_trio.kubelet_api.authorization import Authorizer
from kraftlet_trio.kubelet_api.commands import Commands
from kraftlet_trio.kubelet_api.container_logs import ContainerLogs
from kraftlet_trio.kubelet_api.health import Health
from kraftlet_trio.kubelet_api.metric_pages import MetricPages
from kraftlet_trio.kubelet_api.pod_lists import PodLists
from kraftlet_trio.kubelet_api.port_forward import PortForward
from kraftlet_trio.kubelet_api.running_containers import RunningContainers
from kraftlet_trio.kubelet_api.server import KubeletAPI
from kraftlet_trio.kubelet_api.settings import KubeletAPISettings
from kraftlet_trio.kubelet_api.usage_source import UsageSource
from kraftlet_trio.kubelet_api.volume_usage import VolumeSource
from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.pod import Container, Pod, PodSpec
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.metrics.process import process_metrics
from kraftlet_trio.probes.measurements import ProbeMeasurements
from kraftlet_trio.task_tree import LastSteps, TaskTree
from tests.unit.kubelet_api.reviewing import NODE

METRICS = ["/metrics", "/metrics/resource", "/metrics/cadvisor", "/metrics/probes"]
PATHS = ["/pods", "/runningpods/", "/runningpods", *METRICS, "/healthz", "/healthz/ping"]
PATHS += ["/containerLogs/default/web/app", "/configz", "/debug/tree"]
STREAMS = ["/exec/default/web/app", "/exec/default/web/u-1/app", "/attach/default/web/app"]
STREAMS += ["/attach/default/web/u-1/app", "/portForward/default/web", "/portForward/default/web/u"]
ACTS = [*STREAMS, "/run/default/web/app", "/run/default/web/u-1/app"]
SUMMARY = ["/stats/summary", "/stats/summary/"]
ELSEWHERE = ["/", "/nothing", "/pods/x", "/exec/ns/pod", "/containerLogs/a/b", "//pods", "/.."]
ELSEWHERE += [
    "//exec/a/b/c",
    "/%65xec/default/web/app",
    "/pods/../exec/default/web/app",
    "/Exec/a/b/c",
]
TOKEN = {"authorization": "Bearer ada"}


@pytest.fixture
def pods() -> Store[Pod]:
    return Store()


@pytest.fixture
def feed() -> InstanceFeed:
    return InstanceFeed(None, tags=(), interval=5)  # type: ignore[arg-type] # it asks nobody here


@pytest.fixture
def kubelet(kubernetes, api, pods, feed) -> KubeletAPI:
    api.tokens["ada"] = {"username": "ada"}
    nobody: Any = None  # who is not asked here
    consoles = Consoles(nobody, feed)
    containers = RunningContainers(pods, feed)
    return KubeletAPI(
        Authenticator(kubernetes),
        Authorizer(kubernetes, NODE),
        PodLists(kubernetes, NODE, pods, feed),
        Health(),
        MetricPages(
            node_name=NODE,
            usage=UsageSource(nobody, pods, feed),
            volumes=VolumeSource(nobody, "", pods, feed),
            own=process_metrics,
            probe_measurements=ProbeMeasurements(),
            node=lambda: None,
        ),
        ContainerLogs(pods, feed, consoles),
        Commands(containers, nobody, consoles),
        PortForward(containers, nobody, None),
        TaskTree(LastSteps(), dict),
        KubeletAPISettings(host="", port=10250, address="192.0.2.1"),
    )


@pytest.fixture
def admin(kubelet, api):
    """Asks as somebody who may do everything."""
    for verb in ("get", "create", "delete", ""):
        for subresource in ("proxy", "metrics", "stats", "log"):
            api.rights.add(("ada", verb, subresource))

    async def ask(path: str, method: str = "GET", query: str = "") -> Response:
        request = Request(method=method, path=path, query_string=query, headers=TOKEN)
        return await kubelet.answer(request)

    return ask


@pytest.mark.parametrize("path", PATHS + SUMMARY + ACTS + ELSEWHERE)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_no_path_answers_without_credentials(autojump_clock, kubelet, api, path, method):
    answer = await kubelet.answer(Request(method=method, path=path))
    assert (answer.status, answer.body) == (401, b"Unauthorized")
    assert not api.requests


@pytest.mark.parametrize("path", PATHS + SUMMARY + ACTS + ELSEWHERE)
async def test_no_path_answers_to_a_token_that_is_not_accepted(autojump_clock, kubelet, path):
    headers = {"authorization": "Bearer expired-or-for-somebody-else"}
    answer = await kubelet.answer(Request(method="GET", path=path, headers=headers))
    assert (answer.status, answer.body) == (401, b"Unauthorized")


@pytest.mark.parametrize("path", PATHS + SUMMARY + ACTS + ELSEWHERE)
async def test_no_path_answers_to_a_user_without_rights(autojump_clock, kubelet, path):
    answer = await kubelet.answer(Request(method="GET", path=path, headers=TOKEN))
    assert answer.status == 403
    assert answer.body.startswith(b"Forbidden (user=ada, verb=")


async def test_these_are_all_the_routes_that_there_are(kubelet):
    """A new one comes into the tests above, and its right is thought of."""
    tested = [*PATHS, *SUMMARY, *ACTS]
    for path in tested:
        assert any(route.words(path) is not None for route in kubelet.routes), path
    for route in kubelet.routes:
        assert any(route.words(path) is not None for path in tested), route.pattern


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "X"]
)
async def test_whoever_may_not_create_may_not_act(autojump_clock, kubelet, api, method, path):
    for verb in ("get", "update", "patch", "delete", ""):
        for subresource in ("proxy", "metrics", "stats", "log", "pods", "configz", "healthz"):
            api.rights.add(("ada", verb, subresource))
    answer = await kubelet.answer(Request(method=method, path=path, headers=TOKEN))
    assert answer.status == 403
    assert b"verb=create" in answer.body


async def test_a_refusal_speaks_as_the_kubelets(autojump_clock, kubelet):
    answer = await kubelet.answer(Request(method="GET", path="/pods", headers=TOKEN))
    assert answer.body == (
        b"Forbidden (user=ada, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"
    )


async def test_a_right_opens_its_own_paths_only(autojump_clock, kubelet, api):
    api.rights.add(("ada", "get", "metrics"))
    answers = {
        path: (await kubelet.answer(Request(method="GET", path=path, headers=TOKEN))).status
        for path in PATHS
    }
    assert {answers.pop(path) for path in METRICS} == {200}
    assert set(answers.values()) == {403}


async def test_rights_that_nobody_reviews_open_nothing(autojump_clock, kubelet, api):
    await kubelet.answer(Request(method="GET", path="/", headers=TOKEN))
    api.status = 500
    answer = await kubelet.answer(Request(method="GET", path="/metrics", headers=TOKEN))
    assert answer.status == 500
    assert answer.body.startswith(b"Authorization error (user=ada")


@pytest.mark.parametrize("path", ELSEWHERE)
async def test_unknown_paths_are_not_found(autojump_clock, admin, path):
    answer = await admin(path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


@pytest.mark.parametrize("path", PATHS)
async def test_other_methods_are_not_allowed(autojump_clock, admin, path):
    answer = await admin(path, "DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("path", STREAMS)
async def test_streams_are_opened_by_either_method(autojump_clock, admin, path):
    answer = await admin(path, "DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


async def test_pods_are_as_the_api_server_sends_them(autojump_clock, admin, api):
    api.pods = b'{"kind":"PodList","items":[{"spec":{"fieldOfNextYear":1}}]}'
    answer = await admin("/pods")
    assert (answer.status, answer.body) == (200, api.pods)
    assert answer.headers["content-type"] == "application/json"
    query = dict(api.requests[-1].query)
    assert query == {"fieldSelector": f"spec.nodeName={NODE}", "resourceVersion": "0"}


async def test_pods_are_unavailable_without_the_api_server(autojump_clock, admin, api):
    await admin("/pods")
    api.status = 500
    assert (await admin("/pods")).status == 503


async def test_metrics_are_the_processs_own(autojump_clock, admin):
    assert b"process_cpu_seconds_total" in (await admin("/metrics")).body


async def test_requests_are_counted_by_the_paths_that_there_are(autojump_clock, admin):
    for path in ("/pods", "/no/such/path", "/containerLogs/ns/web/app", "/another", "/metrics"):
        await admin(path)
    counted = [
        line
        for line in (await admin("/metrics")).body.decode().splitlines()
        if line.startswith("kubelet_http_requests_total")
    ]
    assert counted == [
        'kubelet_http_requests_total{method="GET",path="pods",code="200"} 1',
        'kubelet_http_requests_total{method="GET",path="other",code="404"} 2',
        'kubelet_http_requests_total{method="GET",path="containerLogs",code="404"} 1',
        'kubelet_http_requests_total{method="GET",path="metrics",code="200"} 1',
    ]


async def test_the_configuration_is_told_as_far_as_it_is_so(autojump_clock, admin):
    config = orjson.loads((await admin("/configz")).body)["kubeletconfig"]
    assert config["kind"] == "KubeletConfiguration"
    assert config["port"] == 10250
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"]["webhook"]["cacheAuthorizedTTL"] == "5m0s"


async def test_the_summary_is_told_to_both_methods(autojump_clock, admin):
    for method in ("GET", "POST"):
        summary = orjson.loads((await admin("/stats/summary", method)).body)
        assert (summary["node"]["nodeName"], summary["pods"]) == (NODE, [])
    assert (await admin("/stats/summary", "DELETE")).headers["allow"] == "GET, POST"


def a_pod(name: str, *containers: str, uid: str = "", deleting: bool = False) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            uid=uid or name,
            deletion_timestamp=utc_now() if deleting else None,
        ),
        spec=PodSpec(
            containers=tuple(Container(name=each, image=f"{each}:1") for each in containers)
        ),
    )


def an_instance(pod_uid: str, container: str, state: str) -> Instance:
    return Instance(
        uuid=f"{pod_uid}-{container}",
        name=f"{pod_uid}-{container}",
        state=state,
        tags=(f"k8s.io:uid={pod_uid}", f"k8s.io:container={container}"),
    )


async def running(admin, path: str = "/runningpods/") -> dict[str, list[str]]:
    """Containers by Pod."""
    document = orjson.loads((await admin(path)).body)
    assert (document["kind"], document["apiVersion"]) == ("PodList", "v1")
    return {
        item["metadata"]["name"]: [each["name"] for each in item["spec"]["containers"]]
        for item in document["items"]
    }


@pytest.mark.parametrize("path", ["/runningpods/", "/runningpods"])
async def test_running_pods_have_a_running_instance(autojump_clock, admin, pods, feed, path):
    pods.replace([a_pod("web", "app", "sidecar"), a_pod("new", "app"), a_pod("bare", "app")])
    feed.put(an_instance("web", "app", "standby"))
    feed.put(an_instance("web", "sidecar", "stopped"))
    feed.put(an_instance("new", "app", "starting"))
    feed.put(an_instance("stranger", "app", "running"))
    assert await running(admin, path) == {"web": ["app"]}
    feed.put(an_instance("new", "app", "running"))
    assert await running(admin, path) == {"web": ["app"], "new": ["app"]}


async def test_a_pod_whose_stop_was_ordered_runs_no_more(autojump_clock, admin, pods, feed):
    feed.put(an_instance("web", "app", "running"))
    pods.replace([a_pod("web", "app")])
    assert await running(admin) == {"web": ["app"]}
    pods.replace([a_pod("web", "app", deleting=True)])
    assert await running(admin) == {}
    pods.replace([])
    assert await running(admin) == {}


async def test_a_running_pod_tells_who_it_is_and_what_it_runs(autojump_clock, admin, pods, feed):
    pods.replace([a_pod("web", "app", uid="u-1")])
    feed.put(an_instance("u-1", "app", "running"))
    [item] = orjson.loads((await admin("/runningpods/")).body)["items"]
    assert item["metadata"] == {"name": "web", "namespace": "default", "uid": "u-1"}
    assert item["spec"]["containers"] == [{"name": "app", "image": "app:1", "resources": {}}]


async def test_health_is_told_in_the_kubelets_words(autojump_clock, admin, kubelet):
    assert (await admin("/healthz")).body == b"ok"
    assert (await admin("/healthz/ping")).body == b"ok"
    assert (await admin("/healthz/nothing")).status == 404
    verbose = await admin("/healthz", query="verbose")
    assert verbose.body == b"[+]ping ok\nhealthz check passed\n"
    kubelet.health.checks["syncloop"] = lambda: "it went round long ago"
    broken = await admin("/healthz")
    assert broken.status == 500
    assert broken.body == (
        b"[+]ping ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n"
    )
    assert (await admin("/healthz/syncloop")).status == 500
    assert (await admin("/healthz/ping")).status == 200

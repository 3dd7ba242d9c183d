"""No method, path, query or body, however strange, makes the simulator fail."""

import json

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.cloud.api import ANY_METHOD, OWN_PATHS, ROUTES
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

TOKEN = {"authorization": "Bearer t", "accept": "application/json"}
UUID = "00000000-0000-4000-8000-000000000000"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ENVELOPE_STATUSES = ("success", "error", "partial_success")

WORDS = st.sampled_from(
    (
        *("uuid", "name", "image", "args", "env", "memory_mb", "vcpus", "autostart", "timeout_s"),
        *("replicas", "restart_policy", "scale_to_zero", "service_group", "volumes", "roms"),
        *("plugins", "tags", "annotations", "features", "hostname", "services", "domains"),
        *("soft_limit", "hard_limit", "port", "destination_port", "handlers", "protocol"),
        *("size_mb", "access_mode", "filesystem", "quota_policy", "attach_to", "from", "at"),
        *("readonly", "prop", "op", "value", "state", "offset", "limit", "force", "policy"),
        *("drain_timeout_ms", "url", "path", "data", "encoding", "files", "template", "prepare"),
        *("create_args", "branch_from", "checkpoint", "schedules", "when", "action", "autokill"),
        *("time_ms", "num_requests", "dependencies", "gateway", "network_interfaces", "type"),
        *("chain", "pkey", "cn", "common_name", "certificate", "vol_name", "credentials"),
        *("set", "add", "del", "web", "on", "job", "exec", "http", "tls", "micro", "delete_lock"),
    )
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | WORDS
    | st.sampled_from(["/data", UUID, "web.example.com.", "*-*-* 1:00", "10.0.0.1", "ünïcode-名前"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)
SEGMENTS = st.sampled_from([UUID, UUID.upper(), "web", "%00", "..", "名前", "%F0%9F", "a" * 300])


@st.composite
def paths(draw):
    """Of every route, with anything for its words."""
    route = draw(st.sampled_from([each for each in ROUTES if not each.path.startswith(OWN_PATHS)]))
    path = route.path
    for word in ("{u}", "{name}", "{rest}"):
        path = path.replace(word, draw(SEGMENTS))
    methods = METHODS if ANY_METHOD in route.endpoints else tuple(route.endpoints)
    return draw(st.sampled_from(methods) | st.sampled_from((*METHODS, "OPTIONS", "PURGE"))), path


BODIES = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)
QUERIES = st.text("abc=&,%+0123456789-", max_size=20) | st.builds(
    "{}={}".format,
    st.sampled_from(
        ["uuid", "name", "details", "count", "from", "order", "sortby", "tags", "events", "tag"]
    ),
    st.text("abct=,%+0123456789-", max_size=8),
)


@st.composite
def requests(draw):
    method, path = draw(paths())
    return Request(
        method=method,
        path=path,
        query_string=draw(QUERIES | st.just("")),
        body=draw(BODIES | st.just(b"")),
        headers=TOKEN,
    )


CREATE = Request(
    method="POST",
    path="/v1/instances",
    headers=TOKEN,
    body=b'{"name":"web","image":"app","autostart":true,'
    b'"service_group":{"name":"web","services":[{"port":443}]},'
    b'"plugins":[{"name":"web","image":"plugins/sandbox"}],'
    b'"volumes":[{"name":"web","size_mb":10,"at":"/data"}]}',
)


async def ask_all(asked, inspect):
    """Ask a fresh simulator one after the other, which has a resource of most kinds called web."""
    async with trio.open_nursery() as nursery:
        simulator = CloudSimulator(token="t")
        await nursery.start(simulator.run)
        await simulator.handle(CREATE)
        for request in asked:
            inspect(request, await simulator.handle(request))
        nursery.cancel_scope.cancel()


def run(asked, inspect):
    trio.run(ask_all, asked, inspect, clock=trio.testing.MockClock(autojump_threshold=0))


def check(_request, answer):
    assert answer.status == 200 or 400 <= answer.status < 500
    if answer.headers["content-type"] == "application/json":
        assert json.loads(answer.body)["status"] in ENVELOPE_STATUSES
    else:
        assert answer.headers["content-type"] in ("text/html", "text/event-stream")


@given(asked=st.lists(requests(), min_size=1, max_size=5))
@settings(max_examples=400, deadline=None)
@example(asked=[Request(method="POST", path="/v1/instances", headers=TOKEN, body=b'"\\ud800"')])
def test_strange_requests_are_never_5xx(asked):
    run(asked, check)


def every_endpoint():
    for route in ROUTES:
        if route.path.startswith(OWN_PATHS) or ANY_METHOD in route.endpoints:
            continue
        path = route.path.replace("{u}", UUID).replace("{name}", "web")
        for method in route.endpoints:
            yield method, path


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"a":1}' * 2, id="twice"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b'{"name":"\\ud800"}', id="half a surrogate"),
    ],
)
def test_what_is_no_json_is_400_wherever_a_body_is_read(body):
    # These take their answer from the query alone, as their methods in the SDK have no body.
    bodiless = {"/v1/healthz", "/v1/images", "/v1/image-store", "/v1/users/quotas"}

    def refused(request, answer):
        reads_body = request.method != "GET" or request.path.rpartition("/")[2] in (
            *("wait", "log", "metrics", "history", "autoscale", "policies", "audit"),
        )
        if reads_body and request.path not in bodiless - {"/v1/images"}:
            assert answer.status == 400, request
            assert json.loads(answer.body)["status"] == "error"
        else:
            assert answer.status == 200 or 400 <= answer.status < 500

    asked = [
        Request(method=method, path=path, headers=TOKEN, body=body)
        for method, path in every_endpoint()
    ]
    run(asked, refused)


def test_a_body_beyond_8_mb_is_413_everywhere():
    body = b'{"name":"' + b"x" * 8 * 1024 * 1024 + b'"}'

    def refused(_request, answer):
        assert answer.status == 413
        assert json.loads(answer.body)["errors"][0]["status"] == 413

    asked = [
        Request(method=method, path=path, headers=TOKEN, body=body)
        for method, path in every_endpoint()
    ]
    run(asked, refused)


def test_a_body_of_8_mb_is_read():
    start = b'{"image":"app","whatever":"'
    body = start + b"x" * (8 * 1024 * 1024 - len(start) - 2) + b'"}'

    def refused(_request, answer):
        assert answer.status == 400
        assert json.loads(answer.body)["message"] == "Unknown member 'whatever'"

    run([Request(method="POST", path="/v1/instances", headers=TOKEN, body=body)], refused)


@pytest.mark.parametrize("name", ["ünïcode", "名前", "a b", "\u202e", "🦄", "\x00", "-a", ""])
@pytest.mark.parametrize("kind", ["instances", "services", "volumes"])
def test_unicode_names_are_refused(kind, name):
    members = {
        "instances": {"image": "app"},
        "services": {"services": [{"port": 443}]},
        "volumes": {"size_mb": 10},
    }
    body = json.dumps({"name": name, **members[kind]}).encode()

    def refused(_request, answer):
        [item] = json.loads(answer.body)["data"].values()
        assert item[0]["error"] == 7

    run([Request(method="POST", path=f"/v1/{kind}", headers=TOKEN, body=body)], refused)

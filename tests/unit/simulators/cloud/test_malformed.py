"""No body and no query, however strange, makes the simulator fail."""

import json

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

WORDS = st.sampled_from(
    (
        *("uuid", "name", "image", "args", "env", "memory_mb", "vcpus", "autostart", "timeout_s"),
        *("replicas", "restart_policy", "scale_to_zero", "service_group", "volumes", "roms"),
        *("plugins", "tags", "annotations", "features", "hostname", "services", "domains"),
        *("soft_limit", "hard_limit", "port", "destination_port", "handlers", "protocol"),
        *("size_mb", "access_mode", "filesystem", "quota_policy", "attach_to", "from", "at"),
        *("readonly", "prop", "op", "value", "state", "offset", "limit", "force", "policy"),
        *("drain_timeout_ms", "url", "path", "data", "encoding", "files"),
        *("set", "add", "del", "web", "on"),
    )
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | WORDS
    | st.sampled_from(["/data", "00000000-0000-4000-8000-000000000000"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)
PATHS = st.sampled_from(
    [
        f"/v1/{kind}{target}{action}"
        for kind, actions in {
            "instances": ["", "/start", "/stop", "/suspend", "/wait", "/log", "/metrics"],
            "services": [""],
            "volumes": ["", "/attach", "/detach"],
        }.items()
        for target in ["", "/web", "/00000000-0000-4000-8000-000000000000"]
        for action in actions
    ]
    + ["/v1/images", "/v1/users/quotas", "/v1/healthz"]
)
BODIES = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)
QUERIES = st.text("abc=&,%+0123456789-", max_size=20) | st.builds(
    "{}={}".format,
    st.sampled_from(["uuid", "name", "details", "count", "from", "order", "sortby", "tags"]),
    st.text("abct=,%+0123456789-", max_size=8),
)
REQUESTS = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    path=PATHS,
    query_string=QUERIES | st.just(""),
    body=BODIES | st.just(b""),
    headers=st.just({"authorization": "Bearer t"}),
)

CREATE = Request(
    method="POST",
    path="/v1/instances",
    headers={"authorization": "Bearer t"},
    body=b'{"name":"web","image":"app","autostart":true,'
    b'"service_group":{"name":"web","services":[{"port":443}]},'
    b'"volumes":[{"name":"web","size_mb":10,"at":"/data"}]}',
)


@given(requests=st.lists(REQUESTS, min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_malformed_requests_are_never_5xx(requests):
    async def ask() -> None:
        async with trio.open_nursery() as nursery:
            simulator = CloudSimulator(token="t")
            await nursery.start(simulator.run)
            await simulator.handle(CREATE)
            for request in requests:
                answer = await simulator.handle(request)
                assert answer.status in (200, 400, 404, 405)
                if answer.headers["content-type"] == "application/json":
                    assert json.loads(answer.body)["status"]
            nursery.cancel_scope.cancel()

    trio.run(ask, clock=trio.testing.MockClock(autojump_threshold=0))

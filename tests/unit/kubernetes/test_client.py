import gc

import orjson
import pytest
import trio

from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.kubernetes.client import PatchKind
from kraftlet_trio.kubernetes.connection import CONCURRENT_REQUESTS
from kraftlet_trio.kubernetes.credentials import ConfigError, StaticToken
from kraftlet_trio.kubernetes.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    KubernetesError,
    KubernetesUnavailable,
    NotFound,
    Unauthorized,
)
from kraftlet_trio.kubernetes.resources import LEASES, NODES, PODS
from tests.unit.kubernetes.scripted import (
    LOST,
    UNREACHABLE,
    ScriptedApi,
    event,
    listing,
    pod,
    status,
    status_document,
    watch_of,
)

READY = json_response(pod("web"))


async def get(client):
    return await client.get(PODS, "web", namespace="default")


async def create(client):
    return await client.create(PODS, {"metadata": {"name": "web"}}, namespace="default")


async def merge_patch(client):
    return await client.patch(PODS, "web", {"metadata": {"uid": "u"}}, namespace="default")


async def guarded_json_patch(client):
    return await client.patch(
        PODS,
        "web",
        [{"op": "test", "path": "/metadata/uid", "value": "u"}, {"op": "remove", "path": "/x"}],
        namespace="default",
        kind=PatchKind.JSON,
    )


async def unguarded_json_patch(client):
    return await client.patch(
        PODS,
        "web",
        [{"op": "add", "path": "/metadata/finalizers/-", "value": "x"}],
        namespace="default",
        kind=PatchKind.JSON,
    )


async def replace(client):
    return await client.replace(PODS, "web", pod("web"), namespace="default")


async def delete_by_uid(client):
    await client.delete(PODS, "web", namespace="default", uid="u")


async def delete_by_name(client):
    await client.delete(PODS, "web", namespace="default")


REPEATABLE = [get, merge_patch, guarded_json_patch, replace, delete_by_uid]
ONCE_ONLY = [create, unguarded_json_patch, delete_by_name]


@pytest.mark.parametrize("operation", REPEATABLE)
@pytest.mark.parametrize("failure", [LOST, status(500), status(503), status(504, "Timeout")])
async def test_repeatable_request_outlives_a_failure(client_of, autojump_clock, operation, failure):
    api = ScriptedApi([failure, READY])
    await operation(client_of(api))
    assert len(api.requests) == 2
    assert api.requests[0] == api.requests[1]


@pytest.mark.parametrize("operation", ONCE_ONLY)
@pytest.mark.parametrize("failure", [LOST, status(500), status(503, retry_after=1)])
async def test_other_request_is_not_repeated_when_it_may_have_been_done(
    client_of, operation, failure
):
    api = ScriptedApi([failure])
    with pytest.raises(KubernetesUnavailable):
        await operation(client_of(api))
    assert len(api.requests) == 1


@pytest.mark.parametrize("operation", [*REPEATABLE, *ONCE_ONLY])
@pytest.mark.parametrize("failure", [UNREACHABLE, status(429, "TooManyRequests")])
async def test_any_request_is_repeated_when_it_cannot_have_been_done(
    client_of, autojump_clock, operation, failure
):
    api = ScriptedApi([failure, READY])
    await operation(client_of(api))
    assert len(api.requests) == 2


async def test_retry_after_is_honoured(client_of, autojump_clock):
    api = ScriptedApi([status(429, retry_after=7), READY])
    await get(client_of(api))
    assert api.asked_at[1] - api.asked_at[0] >= 7


async def test_outage_ends_in_unavailable_within_a_minute_and_a_half(client_of, autojump_clock):
    api = ScriptedApi([status(503, retry_after=25, message="shutting down")])
    begin = trio.current_time()
    with pytest.raises(KubernetesUnavailable, match="shutting down") as caught:
        await get(client_of(api))
    assert caught.value.retry_after == 25
    assert trio.current_time() - begin < 90


async def test_server_that_never_answers_is_unavailable(client_of, autojump_clock):
    async def handler(_request):
        await trio.sleep_forever()

    begin = trio.current_time()
    with pytest.raises(KubernetesUnavailable, match=r"no answer .* within 35 s"):
        await create(client_of(handler))
    assert trio.current_time() - begin == 35
    with pytest.raises(KubernetesUnavailable):
        await get(client_of(handler))
    assert trio.current_time() - begin < 35 + 90 + 35


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", Invalid),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Expired),
        (422, "Invalid", Invalid),
        (405, "MethodNotAllowed", KubernetesError),
    ],
)
async def test_refusal_is_told_by_its_class(client_of, code, reason, kind):
    api = ScriptedApi([status(code, reason, message="because")])
    with pytest.raises(kind, match="GET /api/v1/namespaces/default/pods/web: because") as caught:
        await get(client_of(api))
    assert (caught.value.status, caught.value.reason) == (code, reason)
    assert len(api.requests) == 1


async def test_wrong_uid_in_a_patch_is_a_conflict(client_of):
    cause = {"reason": "FieldValueInvalid", "field": "metadata.uid"}
    api = ScriptedApi([status(422, "Invalid", causes=[cause])])
    with pytest.raises(Conflict):
        await merge_patch(client_of(api))


async def test_proxy_text_is_repeated_but_cut(client_of):
    api = ScriptedApi([Response(status=418, body=b"<html>" + b"x" * 10_000)])
    with pytest.raises(KubernetesError, match="<html>x") as caught:
        await get(client_of(api))
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null"])
async def test_answer_that_is_no_object_is_unavailable(client_of, body):
    with pytest.raises(KubernetesUnavailable):
        await get(client_of(ScriptedApi([Response(body=body)])))


async def test_answer_of_another_shape_names_the_field(client_of):
    api = ScriptedApi([json_response({"metadata": {}, "spec": {"containers": [{}]}})])
    with pytest.raises(KubernetesUnavailable, match=r"not a Pod: .*name"):
        await get(client_of(api))


class ReloadingToken:
    def __init__(self):
        self.reloads = 0

    async def authorization(self):
        return f"Bearer token-{self.reloads}"

    def refused(self):
        self.reloads += 1


async def test_refused_token_is_fetched_again_once(client_of):
    api = ScriptedApi([status(401, "Unauthorized"), READY])
    await create(client_of(api, token=ReloadingToken()))
    sent = [request.headers["authorization"] for request in api.requests]
    assert sent == ["Bearer token-0", "Bearer token-1"]

    api = ScriptedApi([status(401, "Unauthorized")])
    with pytest.raises(Unauthorized):
        await create(client_of(api, token=ReloadingToken()))
    assert len(api.requests) == 2


async def test_token_is_in_no_error(client_of):
    secret = StaticToken("s3cret")
    api = ScriptedApi([status(401), status(403)])
    for _ in range(2):
        with pytest.raises(KubernetesError) as caught:
            await get(client_of(api, token=secret))
        assert "s3cret" not in str(caught.value) + repr(caught.value) + repr(secret)


@pytest.mark.parametrize("token", ["s3cret\nx", "s3cret\x00", "s3crét"])
async def test_impossible_token_is_not_repeated(client_of, token):
    api = ScriptedApi([READY])
    with pytest.raises(Unauthorized, match="characters that no header may") as caught:
        await get(client_of(api, token=StaticToken(token)))
    assert "s3cr" not in str(caught.value)
    assert api.requests == []


async def test_missing_credential_is_unauthorized(client_of):
    class Broken(ReloadingToken):
        async def authorization(self):
            raise ConfigError("the credential plugin x is not installed")

    api = ScriptedApi([READY])
    with pytest.raises(Unauthorized, match="plugin x is not installed"):
        await get(client_of(api, token=Broken()))
    assert api.requests == []


async def test_create_names_its_kind(client_of):
    api = ScriptedApi([READY])
    await create(client_of(api))
    assert api.requests[0].path == "/api/v1/namespaces/default/pods"
    assert api.requests[0].json() == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
    }


async def test_patch_kind_is_its_content_type(client_of):
    api = ScriptedApi([READY])
    await client_of(api).patch(
        NODES, "n", {"status": {}}, kind=PatchKind.STRATEGIC, subresource="status"
    )
    request = api.requests[0]
    assert request.path == "/api/v1/nodes/n/status"
    assert request.headers["content-type"] == "application/strategic-merge-patch+json"
    assert dict(request.query) == {"fieldValidation": "Ignore"}


async def test_delete_carries_its_precondition_and_grace(client_of):
    api = ScriptedApi([READY])
    await client_of(api).delete(PODS, "web", namespace="default", uid="u", grace_seconds=0)
    assert api.requests[0].json() == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u"},
        "gracePeriodSeconds": 0,
    }


@pytest.mark.parametrize(("name", "namespace"), [("", "default"), ("web", "")])
async def test_nameless_request_never_reaches_the_collection(client_of, name, namespace):
    with pytest.raises(ValueError, match="needs a name"):
        await client_of(ScriptedApi([READY])).delete(PODS, name, namespace=namespace)


async def test_list_reads_all_pages(client_of):
    api = ScriptedApi(
        [
            listing(pod("a"), version="5", rest="more"),
            listing(pod("b"), version="5", rest="still"),
            listing(pod("c"), version="5"),
        ]
    )
    found = await client_of(api).list(PODS, label_selector="x=y", resource_version="3")
    assert [item.metadata.name for item in found.items] == ["a", "b", "c"]
    assert found.resource_version == "5"
    first, second, _third = (dict(request.query) for request in api.requests)
    assert first == {
        "labelSelector": "x=y",
        "limit": "500",
        "resourceVersion": "3",
        "resourceVersionMatch": "NotOlderThan",
    }
    assert second == {"labelSelector": "x=y", "limit": "500", "continue": "more"}


async def test_list_whose_pages_expire_is_read_at_once(client_of):
    api = ScriptedApi(
        [
            listing(pod("a"), version="5", rest="more"),
            status(410, "Expired"),
            listing(pod("b"), version="9"),
        ]
    )
    found = await client_of(api).list(PODS, field_selector="spec.nodeName=n")
    assert [item.metadata.name for item in found.items] == ["b"]
    assert dict(api.requests[-1].query) == {"fieldSelector": "spec.nodeName=n"}


async def test_list_leaves_out_what_it_cannot_read(client_of):
    broken = pod("broken")
    broken["spec"] = {"containers": [{"image": "nameless"}]}
    api = ScriptedApi([listing(pod("a"), broken, version="5")])
    found = await client_of(api).list(PODS)
    assert [item.metadata.name for item in found.items] == ["a"]


async def test_version_from_the_future_is_expired(client_of):
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    with pytest.raises(Expired):
        await client_of(ScriptedApi([status(504, "Timeout", causes=[cause])])).list(PODS)


async def test_watch_asks_for_bookmarks_and_an_end(client_of):
    api = ScriptedApi([watch_of(lasts=0)])
    async with client_of(api).watch(
        PODS, resource_version="5", field_selector="spec.nodeName=n"
    ) as events:
        assert [item async for item in events] == []
    query = dict(api.requests[0].query)
    assert 300 <= int(query.pop("timeoutSeconds")) <= 600
    assert query == {
        "fieldSelector": "spec.nodeName=n",
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "5",
    }
    assert api.requests[0].headers["accept-encoding"] == "identity"


async def test_watch_yields_events_however_they_are_cut(client_of, autojump_clock):
    stream = event("ADDED", pod("a", version="6")) + event("MODIFIED", pod("a", version="7"))
    api = ScriptedApi([watch_of(stream[:10], stream[10:-30], stream[-30:])])
    async with client_of(api).watch(PODS, resource_version="5") as events:
        seen = [(item.type, item.resource_version) async for item in events]
    assert seen == [("ADDED", "6"), ("MODIFIED", "7")]


async def test_watch_that_is_refused_tells_so_on_entry(client_of):
    for answer, kind in [
        (status(410, "Expired"), Expired),
        (status(403, "Forbidden"), Forbidden),
        (status(503, retry_after=3), KubernetesUnavailable),
        (UNREACHABLE, KubernetesUnavailable),
    ]:
        api = ScriptedApi([answer])
        with pytest.raises(kind):
            async with client_of(api).watch(PODS, resource_version="5"):
                pass
        assert len(api.requests) == 1


async def test_error_event_ends_the_watch(client_of):
    api = ScriptedApi([watch_of(event("ERROR", status_document(410, "Expired")))])
    async with client_of(api).watch(PODS, resource_version="5") as events:
        with pytest.raises(Expired):
            await anext(events)


async def test_broken_watch_is_unavailable(client_of, autojump_clock):
    api = ScriptedApi([watch_of(event("ADDED", pod()), then=LOST(), lasts=1)])
    async with client_of(api).watch(PODS, resource_version="5") as events:
        await anext(events)
        with pytest.raises(KubernetesUnavailable, match="lost the connection"):
            await anext(events)


async def test_silent_watch_is_unavailable_after_three_minutes(client_of, autojump_clock):
    api = ScriptedApi([watch_of(lasts=10_000)])
    begin = trio.current_time()
    with pytest.raises(KubernetesUnavailable, match="silent for 180 s"):
        async with client_of(api).watch(PODS, resource_version="5") as events:
            await anext(events)
    assert trio.current_time() - begin == pytest.approx(180, abs=3)


async def test_watch_left_early_closes_its_stream(client_of):
    closed = trio.Event()

    async def handler(_request):
        async def stream(send):
            try:
                await send(event("ADDED", pod()))
                await trio.sleep_forever()
            finally:
                closed.set()

        return Response(stream=stream)

    async with client_of(handler).watch(PODS, resource_version="5") as events:
        await anext(events)
    await closed.wait()
    gc.collect()  # would turn a suspended generator into a warning, which is an error


async def test_heartbeat_does_not_queue_behind_other_work(client_of, nursery):
    async def handler(request):
        if "/leases/" not in request.path:
            await trio.sleep_forever()
        return json_response({"metadata": {"name": "n"}})

    client = client_of(handler)
    for _ in range(100):
        nursery.start_soon(get, client)
    await trio.testing.wait_all_tasks_blocked()
    await client.get(LEASES, "n", namespace="kube-node-lease")
    nursery.cancel_scope.cancel()


async def test_concurrent_requests_are_bounded(client_of, autojump_clock):
    busy = most = 0

    async def handler(_request):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await trio.sleep(1)
        busy -= 1
        return READY

    client = client_of(handler)
    async with trio.open_nursery() as callers:
        for _ in range(100):
            callers.start_soon(get, client)
    assert most == CONCURRENT_REQUESTS


async def test_names_are_escaped(client_of):
    api = ScriptedApi([READY])
    await client_of(api).get(PODS, "a/b?c", namespace="d e")
    assert api.requests[0].path == "/api/v1/namespaces/d%20e/pods/a%2Fb%3Fc"


async def test_token_request_gives_the_document(client_of):
    answer = {"kind": "TokenRequest", "status": {"token": "t"}}
    api = ScriptedApi([json_response(answer, 201)])
    got = await client_of(api).create_subresource(
        PODS, "sa", "token", {"spec": {"audiences": []}}, namespace="default"
    )
    assert got == answer
    assert orjson.loads(api.requests[0].body) == {"spec": {"audiences": []}}


async def test_server_version(client_of):
    api = ScriptedApi([json_response({"gitVersion": "v1.37.2"})])
    assert await client_of(api).server_version() == "v1.37.2"

import pytest
import trio

from kraftlet_trio.http.messages import json_response
from kraftlet_trio.kubernetes import events
from kraftlet_trio.kubernetes.events import EventRecorder, TokenBucket
from kraftlet_trio.kubernetes.objects import ObjectReference
from tests.unit.kubernetes.scripted import LOST, status

POD = ObjectReference(
    api_version="v1",
    kind="Pod",
    namespace="apps",
    name="web",
    uid="u",
    field_path="spec.containers{app}",
)
NODE = ObjectReference(api_version="v1", kind="Node", name="n", uid="n")


class EventServer:
    def __init__(self):
        self.events: dict[str, dict] = {}
        self.posted_at: list[float] = []
        self.refusal = None

    async def __call__(self, request):
        if self.refusal is not None:
            if self.refusal is LOST:
                raise LOST
            return self.refusal
        body = request.json()
        self.posted_at.append(trio.current_time())
        if request.method == "POST":
            assert request.path == f"/api/v1/namespaces/{body['metadata']['namespace']}/events"
            self.events[body["metadata"]["name"]] = body
            return json_response(body, 201)
        name = request.path.rpartition("/")[2]
        if name not in self.events:
            return status(404, "NotFound")
        self.events[name].update(body)
        return json_response(self.events[name])

    @property
    def only(self):
        (event,) = self.events.values()
        return event


@pytest.fixture
def server():
    return EventServer()


@pytest.fixture
def recorder():
    return EventRecorder("kraftlet-trio", "n")


@pytest.fixture
def posting(server, recorder, client_of, nursery):
    def start():
        nursery.start_soon(recorder.post_forever, client_of(server))

    return start


async def test_event_tells_all_that_kubectl_shows(server, recorder, posting, autojump_clock):
    recorder.record(POD, "Warning", "BackOff", "Back-off restarting")
    posting()
    await recorder.drained()
    event = dict(server.only)
    name = event.pop("metadata")["name"]
    assert name.startswith("web.")
    assert event.pop("firstTimestamp") == event.pop("lastTimestamp")
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "apps",
            "name": "web",
            "uid": "u",
            "fieldPath": "spec.containers{app}",
        },
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off restarting",
        "count": 1,
        "source": {"component": "kraftlet-trio", "host": "n"},
        "reportingComponent": "kraftlet-trio",
        "reportingInstance": "n",
    }


async def test_cluster_wide_objects_have_their_events_in_default(server, recorder, posting):
    posting()
    recorder.record(NODE, "Normal", "Starting", "starting")
    await recorder.drained()
    assert server.only["metadata"]["namespace"] == "default"


async def test_same_thing_again_raises_the_count(server, recorder, posting, autojump_clock):
    posting()
    for _ in range(3):
        recorder.record(POD, "Warning", "BackOff", "again")
        await trio.sleep(10)
    assert server.only["count"] == 3
    assert server.only["firstTimestamp"] < server.only["lastTimestamp"]


async def test_same_thing_said_before_it_was_posted_is_one_request(server, recorder, posting):
    for _ in range(50):
        recorder.record(POD, "Warning", "BackOff", "again")
    posting()
    await recorder.drained()
    assert server.only["count"] == 50
    assert len(server.posted_at) == 1


async def test_other_reason_or_object_is_another_event(server, recorder, posting):
    posting()
    recorder.record(POD, "Normal", "Created", "x")
    recorder.record(POD, "Normal", "Started", "x")
    recorder.record(NODE, "Normal", "Started", "x")
    await recorder.drained()
    assert len(server.events) == 3


async def test_event_the_server_forgot_is_news_again(server, recorder, posting, autojump_clock):
    posting()
    recorder.record(POD, "Normal", "Created", "x")
    await recorder.drained()
    server.events.clear()
    recorder.record(POD, "Normal", "Created", "x")
    await recorder.drained()
    assert server.only["count"] == 1


async def test_events_are_rate_limited(server, recorder, posting, autojump_clock):
    for number in range(300):
        recorder.record(POD, "Normal", "Created", f"number {number}")
    posting()
    begin = trio.current_time()
    await recorder.drained()
    assert len(server.posted_at) == 300
    assert trio.current_time() - begin == pytest.approx((300 - 100) / 50, abs=0.1)


@pytest.mark.parametrize("refusal", [status(403, "Forbidden"), LOST])
async def test_refused_event_is_dropped_and_the_next_goes_on(
    server, recorder, posting, autojump_clock, refusal
):
    posting()
    server.refusal = refusal
    recorder.record(POD, "Normal", "Created", "x")
    await recorder.drained()
    assert recorder.dropped == 1
    server.refusal = None
    recorder.record(POD, "Normal", "Started", "x")
    await recorder.drained()
    assert server.only["reason"] == "Started"


async def test_oldest_event_gives_way_when_nobody_posts(server, recorder, posting, monkeypatch):
    monkeypatch.setattr(events, "PENDING", 20)
    for number in range(events.PENDING + 5):
        recorder.record(POD, "Normal", "Created", f"number {number}")
    assert recorder.dropped == 5
    posting()
    await recorder.drained()
    messages = {event["message"] for event in server.events.values()}
    assert len(messages) == events.PENDING
    assert "number 4" not in messages
    assert "number 5" in messages


async def test_memory_of_posted_events_is_bounded(
    server, recorder, posting, autojump_clock, monkeypatch
):
    monkeypatch.setattr(events, "REMEMBERED", 2)
    posting()
    for message in ("one", "two", "three", "three", "one"):
        recorder.record(POD, "Normal", "Created", message)
        await recorder.drained()
    counts = sorted((event["message"], event["count"]) for event in server.events.values())
    assert counts == [("one", 1), ("one", 1), ("three", 2), ("two", 1)]


async def test_long_names_and_messages_fit(server, recorder, posting):
    posting()
    about = ObjectReference(kind="Pod", namespace="apps", name="w" * 253, uid="u")
    recorder.record(about, "Normal", "Created", "x" * 5000)
    await recorder.drained()
    assert len(server.only["metadata"]["name"]) == 253
    assert len(server.only["message"]) == 1024


async def test_nothing_recorded_is_drained(recorder):
    with trio.fail_after(1):
        await recorder.drained()


def test_token_bucket_lets_a_burst_through_and_fills_again():
    bucket = TokenBucket(per_second=2.0, burst=3.0)
    assert [bucket.delay(10.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert bucket.delay(12.0) == 0.0
    assert [bucket.delay(1000.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]

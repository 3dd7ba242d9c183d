"""What is tried again, how often and how long; under a mocked clock."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kraftlet_trio.cloud.errors import CloudRefused, CloudUnavailable, ResourceBusy
from kraftlet_trio.cloud.objects import InstanceRequest
from kraftlet_trio.cloud.session import ATTEMPTS, CONCURRENT_WRITES
from kraftlet_trio.http.messages import ConnectionDropped, Response, json_response
from tests.unit.cloud.platform import Recorder, failure, in_memory, success

HTML = Response(status=502, headers={"content-type": "text/html"}, body=b"<html>oops</html>")
FINE = success("instances", {"uuid": "u"})


@pytest.mark.parametrize(
    "fault",
    [
        HTML,
        Response(status=503),
        Response(status=200, body=b"<html>login</html>"),
        Response(status=200, body=b'{"status":"succ'),
        Response(status=302, headers={"location": "/elsewhere"}),
        Response(status=404, body=b"<html>not here</html>"),
        json_response({"status": "error", "errors": [{"status": 503, "message": "later"}]}),
        ConnectionDropped(),
    ],
    ids=["502", "503", "html", "truncated", "redirect", "404-html", "envelope-503", "dropped"],
)
async def test_reads_and_repeatable_writes_outlast_a_short_outage(autojump_clock, fault):
    platform = Recorder(fault, fault, FINE)
    async with in_memory(platform) as client:
        assert len(await client.get_instances(uuids=["u"])) == 1
    platform = Recorder(fault, fault, FINE)
    async with in_memory(platform) as client:
        await client.start_instance("u")


async def test_a_long_outage_is_reported_after_few_attempts(autojump_clock):
    platform = Recorder(HTML)
    async with in_memory(platform) as client:
        with pytest.raises(CloudUnavailable):
            await client.delete_instance("u")
    assert len(platform.requests) == ATTEMPTS
    assert trio.current_time() < 10


async def test_silence_is_an_outage(autojump_clock):
    async def silent(request):
        await trio.sleep_forever()

    async with in_memory(silent) as client:
        with pytest.raises(CloudUnavailable, match="no answer within 30 s"):
            await client.create_instance(InstanceRequest(name="web", image="i"))


async def test_too_many_requests_are_repeated_after_the_time_asked_for(autojump_clock):
    busy = Response(status=429, headers={"retry-after": "7"}, body=b"{}")
    platform = Recorder(busy, success("instances", {"uuid": "u"}))
    async with in_memory(platform) as client:
        await client.create_instance(InstanceRequest(name="web", image="i"))
    assert 7 <= trio.current_time() < 8


async def test_a_long_retry_after_is_left_to_the_caller(autojump_clock):
    platform = Recorder(Response(status=429, headers={"retry-after": "120"}))
    async with in_memory(platform) as client:
        with pytest.raises(CloudUnavailable) as caught:
            await client.quotas()
    assert caught.value.retry_after == 120
    assert len(platform.requests) == 1


@pytest.mark.parametrize("message", ["Failed: EBUSY", "Unknown error -16"])
async def test_busy_resource_is_waited_for(autojump_clock, message):
    busy = failure("volumes", error=10, message=message, uuid="v")
    platform = Recorder(busy, busy, busy, success("volumes", {"uuid": "v"}))
    async with in_memory(platform) as client:
        await client.delete_volume("v")
    assert trio.current_time() == pytest.approx(0.5 + 1 + 2)


async def test_busy_for_long_is_reported(autojump_clock):
    platform = Recorder(failure("volumes", error=10, message="EBUSY", uuid="v"))
    async with in_memory(platform) as client:
        with pytest.raises(ResourceBusy):
            await client.delete_volume("v")
    assert trio.current_time() < 15


async def test_unknown_route_is_a_refusal_and_not_a_missing_resource(autojump_clock):
    platform = Recorder(json_response({"status": "error", "message": "No API endpoint"}, 404))
    async with in_memory(platform) as client:
        with pytest.raises(CloudRefused) as caught:
            await client.get_service_group("g")
    assert type(caught.value) is CloudRefused


async def test_long_messages_are_cut(autojump_clock):
    platform = Recorder(failure("instances", error=7, message="x" * 10_000))
    async with in_memory(platform) as client:
        with pytest.raises(CloudRefused) as caught:
            await client.start_instance("u")
    assert len(str(caught.value)) < 500


async def test_writes_do_not_queue_before_reads(autojump_clock):
    async def slow_writes(request):
        if request.method != "GET":
            await trio.sleep(20)
        return success("instances", {"uuid": "u"})

    async with in_memory(slow_writes) as client, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(client.start_instance, f"u-{number}")
        await wait_all_tasks_blocked()
        with trio.fail_after(1):
            await client.get_instances(uuids=["u"])


async def test_cancelled_call_leaves_no_place_taken(autojump_clock):
    async def slow_once(request, seen=[]):  # noqa: B006
        if len(seen) < CONCURRENT_WRITES:
            seen.append(request)
            await trio.sleep_forever()
        return success("instances", {"uuid": "u"})

    async with in_memory(slow_once) as client:
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                for _ in range(CONCURRENT_WRITES):
                    nursery.start_soon(client.start_instance, "u")
        with trio.fail_after(1):
            await client.start_instance("u")

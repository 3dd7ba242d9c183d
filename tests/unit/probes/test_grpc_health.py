"""gRPC health checks against a real HTTP/2 server side, and against servers that are none."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftlet_trio.probes.grpc_health import HealthCheck, _CheckFailed, probe_grpc
from kraftlet_trio.probes.outcome import Healthy, Unhealthy
from kraftlet_trio.simulators.cloud.scripted_ports import serve_health_checks
from tests.probed import Guests
from tests.thoroughness import examples


@pytest.fixture
def guests(nursery):
    return Guests(nursery)


async def probe(guests, service="", seconds=1):
    return await probe_grpc(guests.dial, "10.0.0.1", 9000, service, timeout_seconds=seconds)


def health(*, serving):
    async def serve(stream):
        await serve_health_checks(stream, lambda: serving)

    return serve


def answering(head, body=b"", trailers=None):
    """A server that answers every request so; *head* and *trailers* by name."""

    async def serve(stream):
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        await stream.send_all(http.data_to_send())
        while data := await stream.receive_some():
            for event in http.receive_data(bytes(data)):
                if isinstance(event, h2.events.StreamEnded):
                    number = event.stream_id
                    http.send_headers(number, list(head.items()), end_stream=not body)
                    if body:
                        http.send_data(number, body, end_stream=trailers is None)
                    if trailers:
                        http.send_headers(number, list(trailers.items()), end_stream=True)
            await stream.send_all(http.data_to_send())

    return serve


HEAD = {":status": "200", "content-type": "application/grpc"}
SERVING = b"\0\0\0\0\x02\x08\x01"


async def test_serving_is_healthy(guests):
    guests.listen(9000, health(serving=True))
    assert await probe(guests) == Healthy()


async def test_not_serving_is_unhealthy(guests):
    guests.listen(9000, health(serving=False))
    assert await probe(guests) == Unhealthy('service unhealthy (responded with "NOT_SERVING")')


async def test_service_that_the_server_does_not_know_is_a_failure(guests):
    guests.listen(9000, health(serving=True))
    outcome = await probe(guests, "shop")
    assert outcome == Unhealthy(
        "error: health rpc probe failed: rpc error: code = 5 desc = unknown service"
    )


async def test_request_names_the_service_and_the_prober(autojump_clock, guests):
    seen = {}

    async def serve(stream):
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        while data := await stream.receive_some():
            for event in http.receive_data(bytes(data)):
                if isinstance(event, h2.events.RequestReceived):
                    seen.update(event.headers)
                if isinstance(event, h2.events.DataReceived):
                    seen["body"] = event.data

    guests.listen(9000, serve)
    await probe(guests, "shop")
    assert seen[b":path"] == b"/grpc.health.v1.Health/Check"
    assert seen[b":authority"] == b"10.0.0.1:9000"
    assert seen[b"user-agent"] == b"kube-probe/1.37"
    assert seen[b"te"] == b"trailers"
    assert seen["body"] == b"\0\0\0\0\x06\x0a\x04shop"


async def test_server_without_the_health_service_is_told_so(guests):
    guests.listen(9000, answering({**HEAD, "grpc-status": "12", "grpc-message": "no%20such"}))
    assert (await probe(guests)).message == (
        "error: this server does not implement the grpc health protocol "
        "(grpc.health.v1.Health): no such"
    )


@pytest.mark.parametrize(
    "server",
    [
        answering({":status": "404", "content-type": "text/html"}),
        answering({":status": "200", "content-type": "text/html"}, b"<html>"),
        answering(HEAD),
        answering(HEAD, SERVING),
        answering(HEAD, b"\x01" + SERVING[1:], {"grpc-status": "0"}),
        answering(HEAD, b"\0\0\0\0\x01\xff", {"grpc-status": "0"}),
        answering(HEAD, b"\0\0\0\0\x01", {"grpc-status": "0"}),
        answering(HEAD, SERVING * 1000, {"grpc-status": "0"}),
        answering({**HEAD, "grpc-status": "0"}),
        answering({**HEAD, "grpc-status": "none"}),
    ],
)
async def test_what_is_no_answer_to_the_check_is_a_failure(guests, server):
    guests.listen(9000, server)
    assert isinstance(await probe(guests), Unhealthy)


async def test_message_with_fields_of_later_versions_is_read(guests):
    message = b"\x12\x02hi" + b"\x19" + bytes(8) + b"\x25" + bytes(4) + b"\x08\x01"
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    guests.listen(9000, answering(HEAD, framed, {"grpc-status": "0"}))
    assert await probe(guests) == Healthy()


async def test_refused_connection_is_told_at_once(guests):
    assert (await probe(guests)).message == (
        'error: failed to connect service at "10.0.0.1:9000": '
        "dial tcp 10.0.0.1:9000: connect: connection refused"
    )


async def test_silence_is_a_failure_at_the_timeout(autojump_clock, guests):
    guests.listen(9000)
    assert await probe(guests, seconds=3) == Unhealthy(
        "timeout: health rpc did not complete within 3s"
    )
    guests.hang = True
    outcome = await probe(guests, seconds=3)
    assert 'failed to connect service "10.0.0.1:9000" within 3s' in outcome.message
    assert "KRAFTLET_PROBE_NETWORK" in outcome.message
    assert trio.current_time() == 6


async def test_server_that_hangs_up_is_a_failure(guests):
    async def serve(stream):
        await stream.receive_some()

    guests.listen(9000, serve)
    assert isinstance(await probe(guests), Unhealthy)


FRAMES = st.builds(
    lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    ),
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 2, 3]),
    st.binary(max_size=12),
)


@given(pieces=st.lists(FRAMES | st.binary(min_size=1, max_size=20), max_size=5))
@settings(max_examples=examples(100), deadline=None)
def test_any_bytes_leave_the_check_without_a_verdict_or_failed(pieces):
    check = HealthCheck("10.0.0.1:9000", "", 1.0)
    check.begin()
    try:
        check.feed(b"\0\0\0\x04\0\0\0\0\0")  # the server's settings
        for piece in pieces:
            check.feed(piece)
    except _CheckFailed:
        return
    assert check.outcome is None


async def test_cancelled_check_leaves_no_connection(nursery, autojump_clock, guests):
    guests.listen(9000)
    with trio.move_on_after(5):
        await probe(guests, seconds=100)
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks

"""What a load balancer counts."""

import pytest
import trio

from kraftlet_trio.simulators.cloud.traffic import Traffic


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0001, 1), (0.001, 1), (0.0011, 2), (4.096, 4096), (5, None)]
)
def test_wakeup_falls_into_the_first_bucket_that_holds_it(seconds, bucket):
    traffic = Traffic()
    traffic.woke(seconds)
    assert traffic.wakeups == {bucket: 1}


async def test_gauges_fall_back_when_a_request_ends_and_counters_stay(autojump_clock):
    traffic = Traffic()
    with traffic.connection(request=True):
        traffic.received(10)
        assert (traffic.nconns, traffic.nreqs, traffic.in_flight) == (1, 1, 1)
    assert (traffic.nconns, traffic.nreqs, traffic.ntotal, traffic.rx_bytes) == (0, 0, 1, 10)


async def test_counters_of_bytes_begin_anew_with_each_run(autojump_clock):
    traffic = Traffic()
    with traffic.connection(request=False):
        traffic.sent(10)
    traffic.begin_run()
    assert (traffic.tx_bytes, traffic.tx_packets, traffic.ntotal) == (0, 0, 1)


@pytest.mark.parametrize(
    ("gauges", "busy_on", "busy_idle"),
    [
        ({}, False, False),
        ({"nconns": 1}, True, False),
        ({"nconns": 1, "nreqs": 1}, True, True),
        ({"nqueued": 1}, True, True),
    ],
)
def test_silent_connections_keep_only_policy_on_busy(gauges, busy_on, busy_idle):
    traffic = Traffic(**gauges)
    assert (traffic.is_busy("on"), traffic.is_busy("idle")) == (busy_on, busy_idle)


async def test_quiet_counts_from_the_last_byte_and_waits_for_what_is_open(autojump_clock, nursery):
    traffic = Traffic()

    async def talk():
        await trio.sleep(2)
        with traffic.connection(request=False):
            await trio.sleep(10)

    nursery.start_soon(talk)
    await traffic.quiet("on", 3)
    assert trio.current_time() == pytest.approx(2 + 10 + 3)

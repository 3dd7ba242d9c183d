"""What is kept of consoles whose instances are gone."""

import pytest

from kraftlet_trio.cloud.console import CONSOLE_PAGE_BYTES, ConsolePage
from kraftlet_trio.cloud.errors import ResourceNotFound
from kraftlet_trio.consoles import last_consoles
from kraftlet_trio.consoles.last_consoles import MOST_BYTES_A_CONTAINER, LastConsoles, read_end
from kraftlet_trio.mapping.console_runs import RunOffsets

RUNS = RunOffsets(latest=3, previous=0, starts=1)


class Cloud:
    """Holds one instance's console, of which the oldest bytes may be lost."""

    def __init__(self, console=b"", lost=0):
        self.console, self.lost = console, lost

    async def read_console(self, uuid, *, offset, limit=CONSOLE_PAGE_BYTES):
        if uuid == "gone":
            raise ResourceNotFound("no such instance")
        start = max(offset, self.lost)
        return ConsolePage(
            data=self.console[start : start + limit],
            start=start,
            available_start=self.lost,
            available_end=len(self.console),
            state="stopped",
        )


def lines(count):
    return b"".join(b"line %07d\n" % number for number in range(count))


async def test_short_console_is_kept_whole_until_its_pod_is_forgotten():
    consoles = LastConsoles()
    await consoles.keep(Cloud(b"hello\n"), "pod", "u", RUNS)
    assert consoles.of("u").data == b"hello\n"
    assert consoles.of("another") is None
    consoles.forget("another")
    assert consoles.of("u")
    consoles.forget("pod")
    assert consoles.of("u") is None


async def test_end_of_a_long_console_is_read_page_by_page():
    console = lines(100_000)
    kept = await read_end(Cloud(console), "u", MOST_BYTES_A_CONTAINER)
    assert kept.data == console[-MOST_BYTES_A_CONTAINER:]
    assert kept.start == len(console) - MOST_BYTES_A_CONTAINER


async def test_what_the_platform_has_lost_is_not_waited_for():
    console = lines(1000)
    kept = await read_end(Cloud(console, lost=500), "u", MOST_BYTES_A_CONTAINER)
    assert (kept.data, kept.start) == (console[500:], 500)


async def test_instance_that_is_gone_leaves_nothing():
    consoles = LastConsoles()
    await consoles.keep(Cloud(), "pod", "gone", RUNS)
    assert consoles.of("gone") is None


@pytest.mark.parametrize("pods", [5, 50])
async def test_oldest_go_first_where_there_are_too_many(monkeypatch, pods):
    monkeypatch.setattr(last_consoles, "MOST_BYTES", 1000)
    consoles = LastConsoles()
    for number in range(pods):
        await consoles.keep(Cloud(b"x" * 300), f"pod-{number}", f"u-{number}", RUNS)
    kept = [number for number in range(pods) if consoles.of(f"u-{number}")]
    assert kept == list(range(pods - 3, pods))


async def test_kept_twice_counts_once(monkeypatch):
    monkeypatch.setattr(last_consoles, "MOST_BYTES", 1000)
    consoles = LastConsoles()
    for _ in range(10):
        await consoles.keep(Cloud(b"x" * 400), "pod", "u", RUNS)
    await consoles.keep(Cloud(b"y" * 400), "pod", "v", RUNS)
    assert consoles.of("u")
    assert consoles.of("v")


async def test_kept_console_answers_as_the_platform_would():
    consoles, cloud = LastConsoles(), Cloud(lines(100), lost=200)
    await consoles.keep(cloud, "pod", "u", RUNS)
    kept = consoles.of("u")
    assert kept.runs == RUNS
    for offset, limit in [(0, 0), (0, 10), (300, 50), (1390, 100), (5000, 10)]:
        asked = min(offset, len(cloud.console))
        assert kept.page(offset, limit) == await cloud.read_console("u", offset=asked, limit=limit)

"""What ``kubectl logs`` gets of containers that run, ran before, or are gone."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.cloud.faults import AnswerStatus
from tests.log_reader import LogReader, open_ports
from tests.manifests import a_container, a_pod, a_service
from tests.world import World, a_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """As everywhere, with a kubelet API."""
    async with a_world() as world:
        open_ports(world)
        yield world


@pytest.fixture
def logs(world: World) -> LogReader:
    return LogReader(world)


def write(world: World, text: str | bytes, instance: str = "web-app") -> None:
    data = text.encode() if isinstance(text, str) else text
    world.instances()[instance].log.append(data)


async def start(world: World, *containers, **spec) -> None:
    await world.start_daemon()
    world.apply(a_pod("web", *(containers or (a_container(image="talks"),)), **spec))
    await world.eventually(world.is_ready)


async def restart(world: World, instance: str = "web-app", exit_code: int = 1) -> None:
    count = world.container()["restartCount"]
    world.end(instance, exit_code)
    await world.eventually(lambda: world.container()["restartCount"] == count + 1, seconds=600)
    await world.eventually(world.is_ready)


async def test_log_is_what_the_container_wrote(autojump_clock, world, logs):
    world.script("talks", log=("one", "two"))
    await start(world)
    assert await logs.read() == b"one\ntwo\n"
    write(world, b"\xff\xfe no line yet")
    assert await logs.read() == b"one\ntwo\n\xff\xfe no line yet"


async def test_long_log_comes_whole_and_its_tail_costs_little(autojump_clock, world, logs):
    await start(world)
    whole = b"".join(b"line %06d\n" % number for number in range(50_000))
    write(world, whole)
    assert await logs.read() == whole
    before = len(world.requests("GET", r"/v1/instances/.*/log"))
    assert await logs.read(tailLines=3) == whole[-36:]
    assert len(world.requests("GET", r"/v1/instances/.*/log")) - before == 3
    assert await logs.read(tailLines=2000) == whole[-24000:]
    assert await logs.read(tailLines=60_000) == whole
    assert await logs.read(tailLines=0) == b""
    assert await logs.read(limitBytes=17) == whole[:17]
    assert await logs.read(tailLines=2, limitBytes=17) == whole[-24:-7]


async def test_every_container_of_a_pod_has_its_log(autojump_clock, world, logs):
    for name in ("setup", "proxy", "talks", "sidecar"):
        world.script(name, log=(f"I am {name}",), **({"run_seconds": 1} if name == "setup" else {}))
    await start(
        world,
        a_container("app", "talks"),
        a_container("sidecar", "sidecar"),
        init=(
            a_container("setup", "setup"),
            a_container("proxy", "proxy", restartPolicy="Always"),
        ),
    )
    for container, name in [("setup", "setup"), ("proxy", "proxy"), ("app", "talks")]:
        assert await logs.read(container=container) == f"I am {name}\n".encode()


async def test_unknown_pods_and_containers_are_not_found(autojump_clock, world, logs):
    await start(world)
    assert await logs.refusal("nope") == (404, 'pod "nope" does not exist\n')
    assert await logs.refusal("web", "nope") == (
        404,
        'container "nope" not found in pod "web"\n',
    )


async def test_container_that_waits_says_what_for(autojump_clock, world, logs):
    world.script("missing", pull="fail")
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="missing")))
    await world.eventually(lambda: world.waits_for() == "ImagePullBackOff")
    assert await logs.refusal() == (
        400,
        'container "app" in pod "web" is waiting to start: trying and failing to pull image',
    )


async def test_log_begins_anew_with_each_run_and_the_one_before_is_kept(
    autojump_clock, world, logs
):
    world.script("talks", log=("hello",))
    await start(world)
    missing = 'previous terminated container "app" in pod "web" not found'
    assert await logs.refusal(previous=True) == (400, missing)
    for number in range(3):
        write(world, f"run {number}\n")
        await restart(world)
        assert await logs.read() == b"hello\n"
        assert await logs.read(previous=True) == f"hello\nrun {number}\n".encode()


async def test_runs_are_told_apart_after_a_restart_of_the_daemon(autojump_clock, world, logs):
    world.script("talks", log=("hello",))
    await start(world)
    write(world, "first\n")
    await restart(world)
    write(world, "second\n")
    world.kill_daemon()
    await world.start_daemon()
    assert await logs.read() == b"hello\nsecond\n"
    assert await logs.read(previous=True) == b"hello\nfirst\n"
    await restart(world)
    assert await logs.read(previous=True) == b"hello\nsecond\n"


async def test_container_that_backs_off_shows_its_last_run(autojump_clock, world, logs):
    world.script("talks", exits=(1,) * 20, log=("I try",))
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="talks")))
    await world.eventually(lambda: world.container().get("restartCount") == 2, seconds=120)
    await world.eventually(lambda: world.waits_for() == "CrashLoopBackOff", seconds=120)
    write(world, "and fail\n")
    assert await logs.read() == b"I try\nand fail\n"
    # As the kubelet has it: what waits has ended last with what it shows.
    assert await logs.read(previous=True) == b"I try\nand fail\n"
    async with logs.follow() as following:
        await world.eventually(lambda: following.ended, seconds=5)
    assert following.data == b"I try\nand fail\n"


async def test_log_of_an_instance_that_was_replaced_is_the_run_before(autojump_clock, world, logs):
    world.script("talks", log=("hello",))
    await start(world, a_container(image="talks", ports=[8080]))
    first = world.instances()["web-app"].uuid
    write(world, "alone\n")
    world.apply(a_service("web"))
    await world.eventually(lambda: world.instances().get("web-app") is not None)
    await world.eventually(
        lambda: world.is_ready() and world.instances()["web-app"].uuid != first, seconds=60
    )
    assert await logs.read() == b"hello\n"
    assert await logs.read(previous=True) == b"hello\nalone\n"
    await restart(world)
    assert await logs.read(previous=True) == b"hello\n"


async def test_image_that_is_gone_hides_no_log(autojump_clock, world, logs):
    world.script("talks", log=("hello",))
    await start(world)
    world.script("talks", pull="fail")
    world.end("web-app")
    await world.eventually(lambda: world.waits_for() == "ImagePullBackOff", seconds=60)
    for _ in range(3):
        assert await logs.read() == b"hello\n"
        assert await logs.read(previous=True) == b"hello\n"
        await trio.sleep(60)


async def test_follower_gets_each_line_soon_and_ends_with_the_run(autojump_clock, world, logs):
    world.script("talks", log=("hello",))
    await start(world)
    async with logs.follow() as following:
        await world.eventually(lambda: following.data == b"hello\n", seconds=1)
        await trio.sleep(100)
        for number in range(30):
            write(world, f"{number}\n")
            await world.eventually(
                lambda: following.data.endswith(f"\n{number}\n".encode()),  # noqa: B023
                seconds=2.2 if number == 0 else 0.3,
            )
        write(world, "half a line")
        await trio.sleep(5)
        assert following.data.endswith(b"29\n")
        write(world, ", the other half\nlast words")
        await restart(world)
        await world.eventually(lambda: following.ended, seconds=5)
    assert following.data.endswith(b"29\nhalf a line, the other half\nlast words")


async def test_follower_of_a_run_gets_nothing_of_the_next(autojump_clock, world, logs):
    world.script("talks", exits=(1, 1), run_seconds=0.0, log=("hello",))
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="talks")))
    await world.eventually(lambda: world.container().get("restartCount") == 1, seconds=60)
    async with logs.follow() as following:
        await world.eventually(lambda: following.ended, seconds=60)
    assert following.data == b"hello\n"


async def test_follower_of_a_deleted_pod_gets_its_last_words(autojump_clock, world, logs):
    await start(world)
    async with logs.follow() as following:
        await trio.sleep(100)
        world.delete(world.pod())
        await trio.sleep(0.01)
        write(world, "bye\n")
        await world.eventually(lambda: following.ended, seconds=5)
        assert following.data == b"bye\n"
    await world.eventually(world.is_empty, seconds=5)


async def test_follower_that_reads_nothing_holds_no_deletion_up(autojump_clock, world, logs):
    await start(world)
    response = await logs.ask(follow=True)

    async def block(_data: bytes) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(response.stream, block)
        write(world, "hello\n")
        await trio.sleep(5)
        world.delete(world.pod())
        await world.eventually(world.is_empty, seconds=5)
        nursery.cancel_scope.cancel()


async def test_follower_waits_while_the_platform_is_away(autojump_clock, world, logs):
    await start(world)
    async with logs.follow() as following:
        write(world, "before\n")
        await trio.sleep(5)
        world.cloud_faults.add(AnswerStatus(503), times=math.inf)
        write(world, "meanwhile\n")
        await trio.sleep(300)
        assert following.data == b"before\n"
        world.cloud_faults.clear()
        await world.eventually(lambda: following.data == b"before\nmeanwhile\n", seconds=15)
    assert not following.ended


async def test_platform_that_is_away_is_told_before_the_answer_begins(autojump_clock, world, logs):
    await start(world)
    world.cloud_faults.add(AnswerStatus(503), times=math.inf)
    status, message = await logs.refusal()
    assert status == 503
    assert message.startswith("Unikraft Cloud does not tell the log: ")


async def test_many_followers_of_silence_cost_little(autojump_clock, world, logs):
    world.script("talks", log=("hello",))
    await start(world)
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            async with logs.follow():
                await trio.sleep_forever()

        for _ in range(200):
            nursery.start_soon(follow)
        await trio.sleep(30)
        before = len(world.exchanges)
        await trio.sleep(60)
        asked = [one for one in world.exchanges[before:] if one.line.endswith("/log")]
        assert len(asked) <= 30 + 6 + 1
        nursery.cancel_scope.cancel()
    before = len(world.exchanges)
    await trio.sleep(60)
    asked = [one for one in world.exchanges[before:] if one.line.endswith("/log")]
    assert len(asked) <= 6, "nobody is left to follow"


async def test_finished_pod_keeps_its_log_without_instances(autojump_clock, world, logs):
    world.script("talks", run_seconds=5, log=("one", "two"))
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="talks"), restartPolicy="Never"))
    await world.eventually(lambda: "running" in world.container().get("state", {}))
    async with logs.follow() as following:
        write(world, "last words\n")
        await world.eventually(lambda: following.ended, seconds=10)
        assert following.data == b"one\ntwo\nlast words\n"
    await world.eventually(lambda: not world.instances(), seconds=10)
    assert await logs.read() == b"one\ntwo\nlast words\n"
    assert await logs.read(tailLines=1) == b"last words\n"
    missing = 'previous terminated container "app" in pod "web" not found'
    assert await logs.refusal(previous=True) == (400, missing)


def times_of(log: bytes) -> list[datetime]:
    return [
        datetime.fromisoformat(line.partition(" ")[0].replace("000Z", "Z"))
        for line in log.decode().splitlines()
    ]


async def test_lines_have_the_time_by_which_they_had_appeared(autojump_clock, world, logs):
    await start(world)
    written = []
    for number in range(5):
        written.append(utc_now())
        write(world, f"{number}\n")
        await trio.sleep(30)
    log = await logs.read(timestamps=True)
    assert [line[-2:] for line in log.splitlines()] == [b" %d" % number for number in range(5)]
    for time, latest in zip(written, times_of(log), strict=True):
        assert 0 <= (latest - time).total_seconds() < 11
    assert await logs.read(sinceSeconds=100) == b"2\n3\n4\n"
    assert await logs.read(sinceTime=written[3].isoformat()) == b"3\n4\n"
    assert await logs.read(sinceSeconds=100, tailLines=2) == b"3\n4\n"
    assert await logs.read(sinceSeconds=70, tailLines=4) == b"3\n4\n"


async def test_first_lines_have_their_times_within_seconds(autojump_clock, world, logs):
    world.script("talks", log=("hello",))
    await start(world)
    started = utc_now()
    await trio.sleep(100)
    [time] = times_of(await logs.read(timestamps=True))
    assert abs((time - started).total_seconds()) < 2.5


async def test_lines_of_a_run_that_is_over_are_no_later_than_its_end(autojump_clock, world, logs):
    world.script("talks", run_seconds=5, log=("one",))
    await world.start_daemon()
    world.apply(a_pod("web", a_container(image="talks"), restartPolicy="Never"))
    await world.eventually(lambda: world.phase() == "Succeeded")
    ended = utc_now()
    await trio.sleep(500)
    [time] = times_of(await logs.read(timestamps=True))
    assert time <= ended

"""Instances as real processes: on the real clock, so each test is short."""

import os
from base64 import b64decode
from pathlib import Path

import httpx
import pytest
import trio

from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings

IMAGES = """
images:
  sh: {entrypoint: ["sh", "-c"], cmd: ["echo default"], env: {GREETING: hello}}
  busybox: {entrypoint: []}
  missing: {entrypoint: ["/no/such/command"]}
  scripted: {run_seconds: 1}
  nginx: {entrypoint: ["{python}", "{guests}/web_server.py"]}
"""


@pytest.fixture
async def cloud(cloud_of):
    return await cloud_of(
        runtime=ProcessRuntime(),
        images=ImageCatalogue.parse(IMAGES),
        settings=CloudSettings(boot_seconds=0, stop_grace_seconds=0.3),
    )


async def run_to_end(cloud, image, *args, **members):
    """The instance once it has stopped, and what it wrote."""
    instance = await cloud.create(image, args=list(args), **members)
    stopped = await cloud.wait(instance["uuid"], "stopped")
    return stopped, await output(cloud, instance["uuid"])


async def output(cloud, uuid):
    log = await cloud.item("GET", f"/instances/{uuid}/log")
    return b64decode(log["output"]).decode()


async def until_output(cloud, uuid, text, *, times=1):
    """What it wrote, once *text* is in it."""
    with trio.fail_after(10):
        while (said := await output(cloud, uuid)).count(text) < times:  # noqa: ASYNC110 - as below
            await trio.sleep(0.01)
    return said


async def until(condition):
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await trio.sleep(0.01)


def exists(path):
    return Path(path.strip()).exists()


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_exit_code_and_output_are_real(cloud):
    stopped, said = await run_to_end(cloud, "sh", "echo out; echo err >&2; exit 7")
    assert (stopped["stop_reason"], stopped["exit_code"]) == (3, 7)
    assert said == "out\nerr\n"


async def test_arguments_and_environment_come_from_image_and_instance(cloud):
    instance = await cloud.create("sh")
    await cloud.wait(instance["uuid"], "stopped")
    assert await output(cloud, instance["uuid"]) == "default\n"
    _, said = await run_to_end(cloud, "sh", "echo $GREETING $NAME", env={"NAME": "you"})
    assert said == "hello you\n"


async def test_arguments_alone_are_a_command(cloud):
    _, said = await run_to_end(cloud, "busybox", "echo", "plain words")
    assert said == "plain words\n"


async def test_guest_starts_in_its_own_empty_root(cloud):
    _, said = await run_to_end(
        cloud, "sh", 'pwd; echo $UKC_SIM_ROOT $HOME; ls -A; echo "$UKC_TOKEN"'
    )
    where, variables, *listing = said.splitlines()
    assert variables == f"{where} {where}"
    assert listing == [""]
    assert not exists(where)


@pytest.mark.parametrize(("image", "args"), [("missing", []), ("busybox", [])])
async def test_command_that_cannot_start_exits_127(cloud, image, args):
    stopped, said = await run_to_end(cloud, image, *args)
    assert stopped["exit_code"] == 127
    assert said.startswith("cannot start: ")


@pytest.mark.parametrize("image", ["unknown", "scripted"])
async def test_images_without_a_command_cannot_be_pulled(cloud, image):
    instance = await cloud.create(image)
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert (stopped["stop_reason"], stopped["stop_code"]) == (4, 1)


async def test_clean_exit_on_stop_is_15(cloud):
    instance = await cloud.create(
        "sh", args=["trap 'echo bye; exit 3' TERM; echo up; sleep 9 & wait"]
    )
    await until_output(cloud, instance["uuid"], "up")
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert (stopped["stop_reason"], stopped["exit_code"]) == (15, 3)
    assert await output(cloud, instance["uuid"]) == "up\nbye\n"


async def test_killed_on_stop_is_13(cloud):
    instance = await cloud.create("sh", args=["trap '' TERM; echo $$; while :; do sleep 1; done"])
    pid = int(await until_output(cloud, instance["uuid"], "\n"))
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert stopped["stop_reason"] == 13
    assert not is_alive(pid)


async def test_force_kills_the_whole_group(cloud):
    instance = await cloud.create("sh", args=["sleep 99 & echo $$ $!; wait"])
    pids = (await until_output(cloud, instance["uuid"], "\n")).split()
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop", {"force": True})
    await until(lambda: not any(is_alive(pid) for pid in pids))
    assert (await cloud.read(instance["uuid"]))["stop_reason"] == 28


async def test_what_the_application_leaves_behind_ends_with_it(cloud):
    _, said = await run_to_end(cloud, "sh", "sleep 99 & echo $!")
    await until(lambda: not is_alive(int(said)))


@pytest.mark.parametrize(("number", "code"), [("SEGV", 0x7F05), ("KILL", 818948)])
async def test_death_by_a_signal_is_a_crash(cloud, number, code):
    stopped, _ = await run_to_end(cloud, "sh", f"kill -{number} $$")
    assert (stopped["stop_reason"], stopped["stop_code"]) == (1, code)
    assert "exit_code" not in stopped


async def test_volume_keeps_what_was_written(cloud):
    await cloud.item("POST", "/volumes", {"name": "data", "size_mb": 10})
    mount = [{"name": "data", "at": "/var/lib/app"}]
    writer, _ = await run_to_end(cloud, "sh", "echo kept > var/lib/app/file", volumes=mount)
    await cloud.item("DELETE", f"/instances/{writer['uuid']}")
    _, said = await run_to_end(cloud, "sh", "cat $UKC_SIM_MOUNT_VAR_LIB_APP/file", volumes=mount)
    assert said == "kept\n"


async def test_content_of_a_deleted_volume_is_gone(cloud):
    mount = [{"name": "scratch", "size_mb": 10, "at": "/s"}]
    instance, said = await run_to_end(cloud, "sh", "cd -P s; pwd", volumes=mount)
    assert exists(said)
    await cloud.item("DELETE", f"/instances/{instance['uuid']}")
    assert not exists(said)


async def test_rom_files_are_there(cloud):
    roms = [
        {
            "name": "cfg",
            "at": "/etc/app",
            "files": [
                {"path": "a/b", "data": "text\n"},
                {"path": "c", "encoding": "base64", "data": "Ynl0ZXMK"},
            ],
        }
    ]
    _, said = await run_to_end(cloud, "sh", "cat etc/app/a/b etc/app/c", roms=roms)
    assert said == "text\nbytes\n"


async def test_web_server_serves_on_the_private_address_and_stops_cleanly(cloud):
    instance = await cloud.create("nginx:1", env={"PORT": "18080"})
    await until_output(cloud, instance["uuid"], "listening")
    assert instance["private_ip"].startswith("127.")
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{instance['private_ip']}:18080/any")
    assert "Welcome" in answer.text
    await cloud.item("PUT", f"/instances/{instance['uuid']}/stop")
    stopped = await cloud.wait(instance["uuid"], "stopped")
    assert (stopped["stop_reason"], stopped["exit_code"]) == (15, 0)


async def test_metrics_measure_the_process_group(cloud):
    instance = await cloud.create("sh", args=["echo up; sleep 99"])
    await until_output(cloud, instance["uuid"], "up")
    measured = await cloud.item("GET", f"/instances/{instance['uuid']}/metrics")
    assert measured["rss_bytes"] > os.sysconf("SC_PAGE_SIZE")


async def test_end_of_the_simulator_kills_all_and_cleans_up(cloud):
    instance = await cloud.create("sh", args=["trap '' TERM; pwd; echo $$; sleep 99"])
    root, pid = (await until_output(cloud, instance["uuid"], "\n", times=2)).split()
    with trio.fail_after(5):
        await cloud.stop()
    assert not is_alive(pid)
    assert not exists(root)

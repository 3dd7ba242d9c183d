"""Instances as real processes behind service groups, isolated from each other or not.

On the real clock, so each test is short. Isolation needs root on Linux.
"""

# ruff: noqa: ASYNC221, ASYNC240 - tests may block for the moment that a file takes

import os
import ssl
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import attrs
import httpx
import pytest
import trio

from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.isolation import Isolation, IsolationUnavailable
from kraftlet_trio.simulators.cloud.process_usage import descendants
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator

TOKEN = "secret"
IMAGES = """
images:
  sh: {entrypoint: [sh, -c]}
  echo: {entrypoint: ["{python}", "{guests}/web_server.py"]}
  python: {entrypoint: ["{python}", "-c"]}
  nobody: {entrypoint: [sh, -c], user: "65534:65534", working_dir: /var/app}
"""
SETTINGS = CloudSettings(boot_seconds=0, stop_grace_seconds=2, serve_groups=True)
HTTPS = [{"port": 443, "destination_port": 8080, "handlers": ["http", "tls"]}]


def lack_of_isolation():
    try:
        with Isolation().opened():
            return None
    except IsolationUnavailable as lack:
        return str(lack)


LACK = lack_of_isolation()
ISOLATED = pytest.param(
    True, id="isolated", marks=pytest.mark.skipif(LACK is not None, reason=f"no isolation: {LACK}")
)
SHARED = pytest.param(False, id="shared")


class Cloud:
    def __init__(self, simulator, http):
        self.simulator = simulator
        self.http = http

    @property
    def runtime(self):
        return self.simulator.runtime

    async def item(self, method, path, body=None):
        response = await self.http.request(method, f"/v1{path}", json=body)
        assert response.status_code == 200, response.text
        [items] = response.json()["data"].values()
        [item] = items
        assert item["status"] == "success", item
        return item

    async def create(self, image, *args, **members):
        body = {"image": image, "args": list(args) or None, "autostart": True, **members}
        body = {name: value for name, value in body.items() if value is not None}
        created = await self.item("POST", "/instances", body)
        return created["uuid"]

    async def read(self, uuid):
        return await self.item("GET", f"/instances/{uuid}?details=true")

    async def wait(self, uuid, state):
        body = {"state": state, "timeout_s": 20}
        await self.item("GET", f"/instances/{uuid}/wait", body)
        return await self.read(uuid)

    async def output(self, uuid):
        log = await self.item("GET", f"/instances/{uuid}/log")
        return b64decode(log["output"]).decode()

    async def output_of(self, image, *args, **members):
        """All that it wrote until it stopped."""
        uuid = await self.create(image, *args, **members)
        await self.wait(uuid, "stopped")
        return await self.output(uuid)

    async def until_output(self, uuid, text):
        with trio.fail_after(10):
            while text not in (said := await self.output(uuid)):  # noqa: ASYNC110 - nothing rings
                await trio.sleep(0.02)
        return said

    async def own(self, path):
        return await self.http.get(f"/simulator/v1/{path}")

    async def browser(self, group, port=443):
        address = (await self.own("gateways")).json()[group][str(port)]
        trust = ssl.create_default_context(cadata=(await self.own("ca.pem")).text)
        return httpx.AsyncClient(base_url=f"https://{address}", verify=trust, timeout=10)


@pytest.fixture
async def cloud_of(nursery):
    async def cloud_of(*, isolated):
        simulator = CloudSimulator(
            token=TOKEN,
            images=ImageCatalogue.parse(IMAGES),
            runtime=ProcessRuntime(Isolation() if isolated else None),
            settings=SETTINGS,
        )
        http = httpx.AsyncClient(
            base_url="http://cloud.test",
            headers={"authorization": f"Bearer {TOKEN}", "accept": "application/json"},
            transport=MemoryTransport(simulator.handle, nursery),
            timeout=None,
        )
        await nursery.start(simulator.run)
        return Cloud(simulator, http)

    return cloud_of


@pytest.fixture(params=[ISOLATED, SHARED])
async def cloud(request, cloud_of):
    return await cloud_of(isolated=request.param)


@pytest.fixture
async def isolated_cloud(cloud_of):
    if LACK is not None:
        pytest.skip(f"no isolation: {LACK}")
    return await cloud_of(isolated=True)


async def until(condition):
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await trio.sleep(0.02)


def process_state(pid):
    """Its letter; a zombie's if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def is_alive(pid):
    return process_state(pid) != "Z"


async def group_of_two(cloud, **members):
    await cloud.item("POST", "/services", {"name": "web", "services": HTTPS})
    names = ["one", "two"]
    uuids = [
        await cloud.create("echo", name=name, service_group={"name": "web"}, **members)
        for name in names
    ]
    for uuid in uuids:
        await cloud.until_output(uuid, "listening")
    return uuids


async def test_two_instances_listen_on_the_same_port_behind_one_group(cloud):
    uuids = await group_of_two(cloud)
    addresses = {(await cloud.read(uuid))["private_ip"] for uuid in uuids}
    assert len(addresses) == 2
    async with await cloud.browser("web") as client:
        answers = [await client.get(f"/{number}") for number in range(4)]
    assert [answer.headers["x-instance"] for answer in answers] == ["one", "two", "one", "two"]
    assert "GET /3 HTTP/1.1" in answers[3].text
    metrics = await cloud.item("GET", f"/instances/{uuids[0]}/metrics")
    assert (metrics["ntotal"], metrics["nconns"]) == (2, 0)
    assert metrics["rx_bytes"] > 0
    assert metrics["rss_bytes"] > 1024 * 1024


async def test_stateful_standby_keeps_the_process(cloud):
    scaling = {"policy": "on", "stateful": True, "cooldown_time_ms": 500}
    uuids = await group_of_two(cloud, scale_to_zero=scaling)
    before = {uuid: cloud.runtime._guests[uuid].processes() for uuid in uuids}
    for uuid in uuids:
        assert (await cloud.wait(uuid, "standby"))["stop_reason"] == 39
        await until(lambda pids=before[uuid]: {process_state(pid) for pid in pids} == {"T"})
    async with await cloud.browser("web") as client:
        assert (await client.get("/")).status_code == 200
    for uuid in uuids:
        assert cloud.runtime._guests[uuid].processes() == before[uuid]


async def test_standby_without_state_boots_anew(cloud):
    scaling = {"policy": "on", "cooldown_time_ms": 500}
    uuids = await group_of_two(cloud, scale_to_zero=scaling)
    for uuid in uuids:
        await cloud.wait(uuid, "standby")
    assert not cloud.runtime._guests
    async with await cloud.browser("web") as client:
        assert (await client.get("/")).headers["x-instance"] in ("one", "two")


async def test_memory_beyond_the_limit_is_a_kernel_crash(cloud):
    uuid = await cloud.create(
        "python", "import time; x = b'x' * 200_000_000; time.sleep(9)", memory_mb=64
    )
    stopped = await cloud.wait(uuid, "stopped")
    assert (stopped["stop_reason"], stopped["stop_code"]) == (1, 818948)
    assert "Out of memory" in await cloud.output(uuid)


async def test_processes_that_left_the_group_end_too(cloud):
    uuid = await cloud.create(
        "sh", "setsid sh -c 'sleep 98 & sleep 99' & sleep 0.2; echo up; sleep 97"
    )
    await cloud.until_output(uuid, "up")
    pids = cloud.runtime._guests[uuid].processes()
    assert len(pids) >= 4
    await cloud.item("PUT", f"/instances/{uuid}/stop", {"force": True})
    await until(lambda: not any(map(is_alive, pids)))


async def test_daemons_end_with_the_application(cloud):
    uuid = await cloud.create(
        "sh", "setsid setsid sleep 99 & sleep 0.3; echo up; read x < /dev/zero"
    )
    await cloud.until_output(uuid, "up")
    pids = cloud.runtime._guests[uuid].processes()
    await cloud.item("PUT", f"/instances/{uuid}/stop")
    await cloud.wait(uuid, "stopped")
    assert not any(map(is_alive, pids))


async def test_stop_is_a_sigterm_to_the_application(cloud):
    uuid = await cloud.create("sh", "trap 'echo bye; exit 3' TERM; echo up; sleep 9 & wait")
    await cloud.until_output(uuid, "up")
    await cloud.item("PUT", f"/instances/{uuid}/stop")
    stopped = await cloud.wait(uuid, "stopped")
    assert (stopped["stop_reason"], stopped["exit_code"]) == (15, 3)
    assert await cloud.output(uuid) == "up\nbye\n"


async def test_death_by_a_signal_is_a_crash(cloud):
    uuid = await cloud.create("sh", "kill -SEGV $$")
    stopped = await cloud.wait(uuid, "stopped")
    assert (stopped["stop_reason"], stopped["stop_code"]) == (1, 0x7F05)


async def test_what_is_written_to_a_volume_is_there_for_the_next_instance(cloud):
    await cloud.item("POST", "/volumes", {"name": "data", "size_mb": 10})
    mount = [{"name": "data", "at": "/data"}]
    await cloud.output_of("sh", "echo kept > $UKC_SIM_ROOT/data/file", volumes=mount, name="a")
    await cloud.item("DELETE", "/instances", [{"name": "a"}])
    assert await cloud.output_of("sh", "cat data/file", volumes=mount) == "kept\n"


async def test_instances_side_by_side_see_what_the_other_writes_to_a_shared_volume(cloud):
    shared = {"filesystem": "virtiofs", "access_mode": "rwx"}
    await cloud.item("POST", "/volumes", {"name": "data", "size_mb": 10, **shared})
    mount = {"volumes": [{"name": "data", "at": "/data"}]}
    wait = "until [ -e $UKC_SIM_ROOT/data/ask ]; do sleep 0.02; done; "
    answer = "echo heard > $UKC_SIM_ROOT/data/answer"
    listener = await cloud.create("sh", wait + answer, **mount, name="a")
    ask = "touch $UKC_SIM_ROOT/data/ask; "
    hear = "until cat $UKC_SIM_ROOT/data/answer 2>/dev/null; do sleep 0.02; done"
    assert "heard" in await cloud.output_of("sh", ask + hear, **mount, name="b")
    await cloud.wait(listener, "stopped")


async def test_a_managed_volume_shows_a_directory_of_the_machine(cloud, tmp_path):
    (tmp_path / "file").write_text("of the machine")
    cloud.simulator.account.settings = attrs.evolve(SETTINGS, managed_volumes=True)
    mount = [{"host_path": str(tmp_path), "at": "/data"}]
    assert await cloud.output_of("sh", "cat $UKC_SIM_ROOT/data/file", volumes=mount) == (
        "of the machine"
    )
    gone = [{"host_path": str(tmp_path / "nowhere"), "at": "/data"}]
    assert "no directory" in await cloud.output_of("sh", "cat data/file", volumes=gone, name="b")


async def test_end_of_the_simulator_leaves_nothing(cloud_of, nursery):
    for isolated in (True, False) if LACK is None else (False,):
        async with trio.open_nursery() as inner:
            simulator = CloudSimulator(
                token=TOKEN,
                images=ImageCatalogue.parse(IMAGES),
                runtime=ProcessRuntime(Isolation() if isolated else None),
                settings=SETTINGS,
            )
            await inner.start(simulator.run)
            transport = MemoryTransport(simulator.handle, nursery)
            headers = {"authorization": f"Bearer {TOKEN}"}
            http = httpx.AsyncClient(
                base_url="http://cloud.test", headers=headers, transport=transport, timeout=None
            )
            cloud = Cloud(simulator, http)
            uuid = await cloud.create("sh", "trap '' TERM; echo up; setsid sleep 99")
            await cloud.until_output(uuid, "up")
            pids = descendants(os.getpid())
            directory = simulator.runtime._directory
            assert pids
            assert directory.exists()
            inner.cancel_scope.cancel()
        assert not any(map(is_alive, pids))
        assert not directory.exists()


# Isolation


async def test_isolated_guest_sees_its_own_processes_network_and_name(isolated_cloud):
    said = await isolated_cloud.output_of(
        "sh", "echo $(ls /proc | grep -c '^[0-9]'); ls /sys/class/net; hostname; pwd", hostname="h"
    )
    processes, *rest = said.splitlines()
    assert int(processes) <= 5
    assert rest == ["eth0", "lo", "h", "/"]


async def test_isolated_volumes_and_roms_are_mounted_where_they_say(isolated_cloud):
    for name in ("rw", "ro"):
        await isolated_cloud.item("POST", "/volumes", {"name": name, "size_mb": 10})
    said = await isolated_cloud.output_of(
        "sh",
        "echo x > /data/rw/f && cat /data/rw/f; echo x > /etc/ro/f; cat /etc/rom/a/b;"
        "echo x > /etc/rom/a/c; ls -A /data",
        volumes=[
            {"name": "rw", "at": "/data/rw"},
            {"name": "ro", "at": "/etc/ro", "readonly": True},
        ],
        roms=[{"name": "rom", "at": "/etc/rom", "files": [{"path": "a/b", "data": "rom\n"}]}],
    )
    assert said.count("Read-only file system") == 2
    kept = [line for line in said.splitlines() if "Read-only" not in line]
    assert kept == ["x", "rom", "rw"]


async def test_isolated_writes_reach_neither_the_machine_nor_the_next_run(isolated_cloud):
    script = "cat /etc/kraftlet-was-here; echo x > /etc/kraftlet-was-here; echo done"
    for _ in range(2):
        said = await isolated_cloud.output_of("sh", script)
        assert "No such file" in said
        assert said.endswith("done\n")
    assert not Path("/etc/kraftlet-was-here").exists()


async def test_isolated_guests_reach_each_other_by_address(isolated_cloud):
    uuid = await isolated_cloud.create("echo", name="server")
    await isolated_cloud.until_output(uuid, "listening")
    address = (await isolated_cloud.read(uuid))["private_ip"]
    ask = f"import urllib.request as u; print(u.urlopen('http://{address}:8080').read().decode())"
    assert "instance: server" in await isolated_cloud.output_of("python", ask)


async def test_isolated_guest_runs_as_its_images_user_in_its_directory(isolated_cloud):
    said = await isolated_cloud.output_of("nobody", "id -u; id -g; id -G; pwd")
    assert said == "65534\n65534\n65534\n/var/app\n"


async def test_image_with_a_root_of_its_own_sees_that_alone(cloud_of, isolated_cloud, tmp_path):
    root = tmp_path / "image"
    (root / "bin").mkdir(parents=True)
    (root / "own").write_text("of the image\n")
    shell = Path("/bin/sh").resolve()
    needed = [shell, Path("/bin/cat").resolve()]
    for program in needed:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
        libraries = [word for word in listed.stdout.split() if word.startswith("/")]
        for path in (str(program), *libraries):
            copy = root / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(Path(path).read_bytes())
            copy.chmod(0o755)
    cat = f"{needed[1]}"
    entry = f"images: {{tiny: {{root: {root}, entrypoint: [{shell}, -c]}}}}"
    isolated_cloud.simulator.images._entries.update(ImageCatalogue.parse(entry)._entries)
    said = await isolated_cloud.output_of(
        "tiny", f"{cat} /own; echo /etc/*; echo x > /own; echo $?"
    )
    assert said.splitlines() == ["of the image", "/etc/hostname /etc/hosts", "0"]
    assert (root / "own").read_text() == "of the image\n"


async def test_network_of_the_machine_is_left_alone(isolated_cloud):
    before = sorted(os.listdir("/sys/class/net"))
    uuid = await isolated_cloud.create("sh", "echo up; sleep 99")
    await isolated_cloud.until_output(uuid, "up")
    assert sorted(os.listdir("/sys/class/net")) == before


# Killed simulators

_SIMULATOR = """
import sys, trio
from kraftlet_trio.simulators.cloud.images import ImageEntry
from kraftlet_trio.simulators.cloud.isolation import Isolation
from kraftlet_trio.simulators.cloud.logs import Log
from kraftlet_trio.simulators.cloud.runtime import Guest
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime

async def main():
    runtime = ProcessRuntime(Isolation() if sys.argv[1] == "isolated" else None)
    with runtime.opened():
        guest = Guest(
            uuid="u", name="n", start_count=1, args=("trap '' TERM; setsid sleep 99 & sleep 98",),
            image=ImageEntry(entrypoint=("sh", "-c")), env={}, memory_mb=128, hostname="h",
            private_ip="10.64.0.1", mounts=(), roms=(), log=Log(1000),
        )
        print(runtime._directory, flush=True)
        entered = lambda: print("entered", flush=True)
        await runtime.run(guest, stop=trio.Event(), entered=entered)

trio.run(main)
"""


@pytest.mark.parametrize("isolated", [ISOLATED, SHARED])
async def test_killed_simulator_takes_its_guests_along(isolated):
    mode = "isolated" if isolated else "shared"
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", _SIMULATOR, mode], stdout=subprocess.PIPE
    )
    try:
        async with process.stdout:
            said = b""
            with trio.fail_after(20):
                while b"entered\n" not in said:
                    said += await process.stdout.receive_some()
        directory = Path(said.split()[0].decode())
        # The supervisor, or two if isolated, and the two that sleep; the shell may be one of them.
        await until(lambda: len(descendants(process.pid)) >= 3 + isolated)
        pids = descendants(process.pid)
    finally:
        process.kill()
        await process.wait()
    await until(lambda: not any(map(is_alive, pids)))
    assert directory.exists()
    with ProcessRuntime().opened():  # the next one clears up
        assert not directory.exists()

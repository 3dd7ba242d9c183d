"""A simulated account that outlives its process. Some tests kill that process."""

import json
import signal
import subprocess
import sys
import typing
from contextlib import asynccontextmanager, suppress

import attrs
import httpx
import pytest
import trio
from click.testing import CliRunner

from kraftlet_trio.simulators.cloud import records
from kraftlet_trio.simulators.cloud.command import cloud as command
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.state_directory import StateDirectory
from kraftlet_trio.simulators.cloud.state_format import ON_TRIOS_CLOCK, StateError

KINDS = (
    *("instances", "services", "volumes", "certificates", "images"),
    *("instances/templates", "instances/checkpoints", "volumes/templates"),
)
STANDBY = {
    "scale_to_zero": {"policy": "on", "stateful": True},
    "service_group": {"services": [{"port": 443}]},
}


@pytest.fixture
def kept(cloud_of, tmp_path):
    """Callers of simulators that follow each other in one directory."""

    @asynccontextmanager
    async def kept(**kwargs):
        with StateDirectory.opened(tmp_path) as state:
            caller = await cloud_of(state=state, **kwargs)
            try:
                yield caller
            finally:
                await caller.stop()

    return kept


async def everything(cloud) -> dict[str, list[dict]]:
    shown = {}
    for kind in KINDS:
        answer = await cloud.send("GET", f"/{kind}?details=true")
        if answer.status_code == 200:
            shown[kind] = next(iter(answer.json()["data"].values()))
    return shown


async def test_everything_reads_as_before(autojump_clock, kept):
    async with kept() as cloud:
        await cloud.item("POST", "/volumes", {"name": "data", "size_mb": 64, "tags": ["a:b"]})
        await cloud.item("POST", "/volumes", {"name": "gold", "size_mb": 64})
        await cloud.item("POST", "/volumes/templates", [{"name": "gold"}])
        group = {"name": "web", "services": [{"port": 443, "destination_port": 80}]}
        group |= {"domains": [{"name": "shop.example.com."}], "soft_limit": 3}
        await cloud.item("POST", "/services", group)
        await cloud.item("POST", "/images", {"url": "oci://x/y:1", "timeout_s": 1})
        created = await cloud.create(
            name="web-1",
            args=["-v"],
            env={"A": "1"},
            service_group={"name": "web"},
            volumes=[
                {"name": "data", "at": "/data", "readonly": True},
                {"name": "own", "at": "/own", "size_mb": 32},
            ],
            roms=[{"name": "r", "at": "/r", "files": [{"path": "f", "data": "x"}]}],
            plugins=[{"name": "p", "image": "p:1", "config": {"a": [1]}}],
            tags=["t:1"],
            annotations={"example.com/a": "ö"},
            timeout_s=5,
        )
        await trio.sleep(30)
        await cloud.item("PATCH", "/instances", {"name": "web-1", "prop": "memory_mb", "op": "set"})
        await cloud.item("PUT", "/instances/stop", [{"name": "web-1"}])
        await cloud.wait(created["uuid"], "stopped")
        await cloud.create(name="idle", autostart=False, **STANDBY)
        await trio.sleep(30)
        before = await everything(cloud)
    async with kept() as cloud:
        assert await everything(cloud) == before
        assert before["instances"][0]["uptime_ms"] >= 30_000
        assert len([kind for kind in before if before[kind]]) >= 4
        taken = {one.private_ip for one in cloud.simulator.account.instances}
        assert (await cloud.create())["private_ip"] not in taken
        await cloud.item("DELETE", "/instances", [{"name": "web-1"}])
        assert "own" not in {one["name"] for one in await cloud.items("GET", "/volumes")}


@pytest.mark.parametrize(
    ("members", "act", "state", "reason", "starts"),
    [
        ({}, None, "stopped", 4, 1),
        ({"restart_policy": "always"}, None, "running", None, 2),
        ({"restart_policy": "on-failure"}, None, "running", None, 2),
        ({"image": "slow"}, None, "stopped", 4, 1),
        ({"image": "flaky", "restart_policy": "always"}, 3.0, "running", None, 3),
        ({"image": "stubborn", "restart_policy": "always"}, "stop", "stopped", 13, 1),
        (STANDBY, "suspend", "standby", 47, 1),
        ({**STANDBY, "image": "stubborn"}, "suspend", "standby", 47, 1),
    ],
)
async def test_restart_finds_instances_as_a_host_would(
    autojump_clock, kept, members, act, state, reason, starts
):
    async with kept() as cloud:
        uuid = (await cloud.create(**members))["uuid"]
        await trio.sleep(0.5)
        match act:
            case float():
                await trio.sleep(act)
            case str():
                await cloud.item("PUT", f"/instances/{uuid}/{act}")
                await trio.sleep(0.01)
    async with kept() as cloud:
        await trio.sleep(0.5)
        shown = await cloud.read(uuid)
        assert (shown["state"], shown.get("stop_reason")) == (state, reason)
        assert shown["start_count"] == starts
        assert shown.get("restart_count", 0) == starts - 1


async def test_quota_is_asked_when_instances_go_on(autojump_clock, kept):
    async with kept() as cloud:
        for _ in range(2):
            await cloud.create(restart_policy="always", timeout_s=5)
    async with kept() as cloud:
        cloud.simulator.account.hard = attrs.evolve(cloud.simulator.account.hard, live_vcpus=1)
    async with kept(quotas=cloud.simulator.account.hard) as cloud:
        states = [one["state"] for one in await cloud.items("GET", "/instances?details=true")]
        assert sorted(states) == ["starting", "stopped"]


async def test_uptime_stands_still_while_nobody_simulates(autojump_clock, kept):
    async with kept() as cloud:
        uuid = (await cloud.create(timeout_s=5))["uuid"]
        await trio.sleep(10)
    await trio.sleep(1000)
    async with kept() as cloud:
        assert 10_000 <= (await cloud.read(uuid))["uptime_ms"] < 12_000


async def test_volume_goes_on_being_formatted(autojump_clock, kept):
    settings = CloudSettings(format_seconds=100)
    async with kept(settings=settings) as cloud:
        uuid = (await cloud.item("POST", "/volumes", {"size_mb": 64}))["uuid"]
        await trio.sleep(50)
    async with kept(settings=settings) as cloud:
        assert (await cloud.read(uuid, "volumes"))["state"] == "initializing"
        await trio.sleep(60)
        assert (await cloud.read(uuid, "volumes"))["state"] == "available"


async def test_logs_keep_their_offsets(autojump_clock, kept, tmp_path):
    settings = CloudSettings(log_bytes=20)
    async with kept(settings=settings) as cloud:
        uuid = (await cloud.create("job", timeout_s=5))["uuid"]
        cloud.simulator.account.instances.find(records.Identifier(uuid=uuid)).log.append(b"x" * 30)
        before = await cloud.item("GET", f"/instances/{uuid}/log", {})
    async with kept(settings=settings) as cloud:
        after = await cloud.item("GET", f"/instances/{uuid}/log", {})
        assert after["available"] == before["available"] == {"start": 18, "end": 38}
        assert after["output"] == before["output"]
        await cloud.item("DELETE", f"/instances/{uuid}")
    assert list((tmp_path / "logs").iterdir()) == []


async def test_volumes_keep_their_content(kept, tmp_path):
    images = ImageCatalogue.parse("""
        images:
          writer: {entrypoint: [sh, -c, 'date > "$UKC_SIM_MOUNT_DATA/f"']}
          reader: {entrypoint: [sh, -c, 'cat "$UKC_SIM_MOUNT_DATA/f"']}
    """)
    volumes = [{"name": "v", "at": "/data"}]

    def process_runtime() -> dict:
        return {"images": images, "runtime": ProcessRuntime(volumes=tmp_path / "volumes")}

    with trio.fail_after(20):
        async with kept(**process_runtime()) as cloud:
            await cloud.item("POST", "/volumes", {"name": "v", "size_mb": 64})
            uuid = (await cloud.create("writer", volumes=volumes))["uuid"]
            await cloud.wait(uuid, "stopped")
            await cloud.item("DELETE", f"/instances/{uuid}")
        async with kept(**process_runtime()) as cloud:
            uuid = (await cloud.create("reader", volumes=volumes))["uuid"]
            assert (await cloud.wait(uuid, "stopped"))["exit_code"] == 0
            await cloud.item("DELETE", f"/instances/{uuid}")
            await cloud.item("DELETE", "/volumes", [{"name": "v"}])
            assert list((tmp_path / "volumes").iterdir()) == []


async def test_content_that_belongs_to_no_volume_is_removed(autojump_clock, kept, tmp_path):
    async with kept() as cloud:
        await cloud.create()
    (tmp_path / "volumes" / "stray").mkdir()
    (tmp_path / "logs" / "stray").write_bytes(b"0\n")
    async with kept():
        assert list((tmp_path / "volumes").iterdir()) == []
        assert not (tmp_path / "logs" / "stray").exists()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda _: "", "damaged"),
        (lambda _: "[]", "version None"),
        (lambda text: text.replace('"version":1', '"version":2'), "version 2"),
        (lambda text: text.replace('"size_mb":64', '"size_mb":"much"'), "size_mb"),
        (lambda text: text.replace('"volumes":[{', '"volumes":[{"colour":1,'), "colour"),
        (lambda text: text.replace('"volume":"', '"volume":"0'), "no resource"),
    ],
)
async def test_damaged_state_is_refused(autojump_clock, kept, tmp_path, damage, complaint):
    async with kept() as cloud:
        await cloud.create(volumes=[{"name": "v", "at": "/v", "size_mb": 64}])
    path = tmp_path / "account.json"
    path.write_text(damage(path.read_text()))
    damaged = path.read_text()
    outcome = CliRunner().invoke(command, ["--token", "t", "--state", str(tmp_path)])
    assert outcome.exit_code == 2
    assert complaint in outcome.output
    assert "account.json" in outcome.output
    assert path.read_text() == damaged


async def test_directory_serves_one_simulator_at_a_time(tmp_path):
    with (
        StateDirectory.opened(tmp_path),
        pytest.raises(StateError, match="another simulator"),
        StateDirectory.opened(tmp_path),
    ):
        pass


def test_every_number_of_a_record_is_known_to_be_a_time_or_not():
    durations = {"uptime_seconds", "boot_seconds", "silent_seconds", "template_seconds"}
    kinds = (
        *(records.Volume, records.Certificate, records.ServiceGroup, records.Pin),
        *(records.Instance, records.Attachment, records.Update, records.Restart),
    )
    for kind in kinds:
        hints = typing.get_type_hints(kind, vars(records))
        floats = {name for name, hint in hints.items() if float in (hint, *typing.get_args(hint))}
        assert floats - durations == set(ON_TRIOS_CLOCK.get(kind, ())), kind


@asynccontextmanager
async def simulator_process(path):
    """Serves from *path*; killed at the end, with a client of it."""
    program = "from kraftlet_trio.simulators.cloud.command import cloud; cloud()"
    options = ["--listen", "127.0.0.1:0", "--token", "t", "--state", str(path)]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", program, *options], stderr=subprocess.PIPE
    )
    try:
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stderr.receive_some()
        headers = {"authorization": "Bearer t"}
        async with httpx.AsyncClient(base_url=json.loads(line)["url"], headers=headers) as client:
            yield client
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stderr.aclose()


async def test_state_survives_a_kill(tmp_path):
    with trio.fail_after(30):
        async with simulator_process(tmp_path) as client:
            for number in range(20):
                body = {"image": "x", "name": f"web-{number}", "autostart": True}
                await client.post("/v1/instances", json=body)
            while "web-19" not in _text(tmp_path / "account.json"):  # noqa: ASYNC110 - nothing rings
                await trio.sleep(0.02)
        async with simulator_process(tmp_path) as client:
            answer = await client.get("/v1/instances?details=true")
            shown = answer.json()["data"]["instances"]
            assert [one["name"] for one in shown] == [f"web-{number}" for number in range(20)]
            assert {one["state"] for one in shown} == {"stopped"}


def _text(path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""

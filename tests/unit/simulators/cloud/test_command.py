import json
import signal
import subprocess
import sys

import httpx
import pytest
import trio
from click.testing import CliRunner

from kraftlet_trio.simulators.cloud.command import cloud


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serves_until_signalled_and_ends_with_success(number, tmp_path):
    images = tmp_path / "images.yaml"
    images.write_text("images: {}")
    program = "from kraftlet_trio.simulators.cloud.command import cloud; cloud()"
    options = ["--listen", "127.0.0.1:0", "--token", "t", "--images", images]
    command = [sys.executable, "-c", program, *options, "--quota", "instances=0"]
    with trio.fail_after(20):
        process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
        try:
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stderr.receive_some()
            ready = json.loads(line)
            assert ready["event"] == "cloud simulator ready"
            async with httpx.AsyncClient(headers={"authorization": "Bearer t"}) as client:
                created = await client.post(f"{ready['url']}/v1/instances", json={"image": "x"})
            assert created.json()["data"]["instances"][0]["error"] == 19
            process.send_signal(number)
            assert await process.wait() == 0
        finally:
            process.kill()
            await process.wait()
            await process.stderr.aclose()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "--token"),
        (["--token", "t", "--listen", "8090"], "HOST:PORT"),
        (["--token", "t", "--quota", "cats=3"], "cats=3"),
        (["--token", "t", "--images", "pyproject.toml"], "catalogue"),
        (["--token", "t", "--faults", "pyproject.toml"], "fault rules"),
    ],
)
def test_wrong_options_are_explained(options, complaint):
    outcome = CliRunner().invoke(cloud, options)
    assert outcome.exit_code == 2
    assert complaint in outcome.output

"""The demo as a user runs it: on real sockets, from the first object to the last."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import yaml

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
DEMO = [sys.executable, "-m", "kraftlet_trio", "demo"]


def test_demo_once_shows_both_applications_and_leaves_nothing():
    done = subprocess.run(
        [*DEMO, "--once"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "stateful-app" in done.stdout
    assert "All is Ready" in done.stdout
    assert "Nothing is left in the cloud" in done.stdout


def test_demo_stays_up_with_a_kubeconfig_until_interrupted():
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            printed = ""
            while "Press Ctrl-C" not in printed:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            found = re.search(r"KUBECONFIG=(\S+)", printed)
            assert found is not None
            kubeconfig = Path(found[1])
            assert yaml.safe_load(kubeconfig.read_text())["clusters"]
            if KUBECTL is not None:
                done = subprocess.run(
                    [KUBECTL, "logs", "deployment/web"],
                    capture_output=True,
                    env={"KUBECONFIG": str(kubeconfig), "HOME": str(kubeconfig.parent)},
                    timeout=20,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
    assert not kubeconfig.exists()

"""A bed in the present network, and virtual-kubelet's suite against its node.

Run as a program, for a network is a process's: ``python -m … FOLDER ADDRESS``. Says what the suite
says, and ends with its exit code.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.bed import chart
from tests.e2e.bed.cloud import running_cloud
from tests.e2e.bed.control_plane import running_control_plane
from tests.e2e.bed.daemon import NODE, Daemon
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually
from tests.e2e.virtual_kubelet.relay import relay

BUILD = Path(__file__).with_name("build")


def main(folder: Path, address: str) -> int:
    suite = subprocess.run([BUILD], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with running_control_plane(folder) as plane, running_cloud(folder) as cloud:
        kubectl = Kubectl(plane.admin_kubeconfig, home=folder)
        # A controller makes it; until then the API server refuses Pods.
        eventually(lambda: kubectl.json("get", "serviceaccount", "default"))
        daemon = Daemon(cloud.url, chart.install(kubectl, plane), folder, address=address)
        daemon.start()
        try:
            daemon.wait_until_ready()
            arguments = [
                "-test.v",
                "-test.timeout=8m",
                f"-kubeconfig={plane.admin_kubeconfig}",
                f"-node-name={NODE}",
            ]
            with relay(kubectl, plane.authority, node=NODE, address=address):
                return subprocess.run([f"{suite}/virtual_kubelet.test", *arguments]).returncode
        finally:
            daemon.stop()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))

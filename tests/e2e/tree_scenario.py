"""A bed in the present network, and what ``kraftlet-trio tree`` says of its daemon.

Run as a program, for a network is a process's: ``python -m … FOLDER ADDRESS``. Writes the outcomes
as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.bed import chart
from tests.e2e.bed.cloud import KRAFTLET_TRIO, running_cloud
from tests.e2e.bed.control_plane import running_control_plane
from tests.e2e.bed.daemon import NODE, Daemon
from tests.e2e.bed.expectations import pod_is_ready
from tests.e2e.bed.kubeconfig import write_kubeconfig
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually
from tests.e2e.bed.workloads import a_pod


def main(folder: Path, address: str) -> None:
    with running_control_plane(folder) as plane, running_cloud(folder) as cloud:
        kubectl = Kubectl(plane.admin_kubeconfig, home=folder)
        # A controller makes it; until then the API server refuses Pods.
        eventually(lambda: kubectl.json("get", "serviceaccount", "default"))
        daemon = Daemon(cloud.url, chart.install(kubectl, plane), folder, address=address)
        daemon.start()
        try:
            daemon.wait_until_ready()
            kubectl.apply(a_pod("web"))
            eventually(lambda: pod_is_ready(kubectl, "web"))
            stranger = write_kubeconfig(
                folder / "stranger.kubeconfig",
                server=plane.server,
                ca=plane.authority.certificate,
                user=kubectl("create", "token", "default").stdout.strip(),
            )
            outcomes = {
                "text": _tree(plane.admin_kubeconfig),
                "json": _tree(plane.admin_kubeconfig, "--output=json"),
                "pod": _tree(plane.admin_kubeconfig, "--pod=default/web"),
                "no pod": _tree(plane.admin_kubeconfig, "--pod=default/gone"),
                "no node": _tree(plane.admin_kubeconfig, "--node=elsewhere"),
                "no right": _tree(stranger),
                "kubectl": kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/debug/tree").stdout,
            }
            print(json.dumps(outcomes))
        finally:
            daemon.stop()


def _tree(kubeconfig: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [KRAFTLET_TRIO, "tree", f"--kubeconfig={kubeconfig}", *options],
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    return {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

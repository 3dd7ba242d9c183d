"""The chart's rights and class, given to the daemon as an installation would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.bed.control_plane import ControlPlane, binaries
from tests.e2e.bed.kubeconfig import write_kubeconfig
from tests.e2e.bed.kubectl import Kubectl

CHART = Path(__file__).parents[3] / "helm" / "kraftlet-trio"
RELEASE = NAMESPACE = SERVICE_ACCOUNT = "kraftlet"

# No node of this bed could run the StatefulSet: the daemon is a process here.
KINDS = {
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ServiceAccount",
    "StorageClass",
}


class HelmError(Exception):
    """helm ended with an error; the text is what it said."""


def helm(home: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [binaries() / "helm", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home), "KUBECONFIG": os.devnull},
    )
    if done.returncode:
        raise HelmError(done.stderr.strip())
    return done.stdout


def render(home: Path, *settings: str) -> list[dict[str, Any]]:
    """The chart's objects under ``--set`` *settings* beside the two required ones."""
    given = [f"--set={setting}" for setting in ("ukc.metro=fra", "ukc.token=t0ken", *settings)]
    text = helm(home, "template", RELEASE, CHART, f"--namespace={NAMESPACE}", *given)
    return [document for document in yaml.safe_load_all(text) if document]


def install(kubectl: Kubectl, plane: ControlPlane) -> Path:
    """A kubeconfig with the rights that the chart gives the daemon, and no others."""
    kubectl("create", "namespace", NAMESPACE)
    kubectl.apply(*(item for item in render(kubectl.home) if item["kind"] in KINDS))
    token = kubectl(
        "create", "token", SERVICE_ACCOUNT, f"--namespace={NAMESPACE}", "--duration=6h"
    ).stdout.strip()
    return write_kubeconfig(
        plane.folder / "daemon.kubeconfig",
        server=plane.server,
        ca=plane.authority.certificate,
        user=token,
    )

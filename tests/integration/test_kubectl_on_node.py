"""kubectl reaches into containers that are processes, through the simulated API server."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.daemon import run_daemon
from kraftlet_trio.http.memory import MemoryTransport
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.config import load_kubeconfig
from kraftlet_trio.settings import parse_settings
from kraftlet_trio.simulators.cloud.runtime_process import ProcessRuntime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.simulator import CloudSimulator
from kraftlet_trio.simulators.kubernetes.command import serve_cluster
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.manifests import NODE, a_container, a_pod

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
SPDY = {
    "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false",
    "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false",
}

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


@pytest.fixture
async def cluster(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[KubernetesSimulator]:
    """With a node, and the Pod ``web`` that is one process."""
    cluster = KubernetesSimulator(token="t0ken")
    await nursery.start(cluster.run)
    kubeconfig = tmp_path / "kubeconfig"
    await nursery.start(serve_cluster, cluster, "127.0.0.1", 0, kubeconfig)
    cloud = CloudSimulator(
        token="t", runtime=ProcessRuntime(), settings=CloudSettings(boot_seconds=0)
    )
    await nursery.start(cloud.run)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = parse_settings(
        {
            "ukc_default_metro": "http://cloud.test",
            "ukc_token": "t",
            "node_name": NODE,
            "node_internal_ip": "127.0.0.1",
            "addr": f"127.0.0.1:{port}",
            "health_addr": "127.0.0.1:0",
            "enable_exec": "true",
        }
    )
    async with (
        KubernetesClient(load_kubeconfig(kubeconfig)) as kubernetes,
        CloudClient(
            CloudAccess(base_url="http://cloud.test", token=lambda: "t"),
            transport=MemoryTransport(cloud.handle, nursery),
        ) as client,
        trio.open_nursery() as daemon,
    ):
        await daemon.start(run_daemon, kubernetes, client, settings)
        command = ["sh", "-c", "echo hello from here; exec sleep 1000"]
        cluster.create(a_pod("web", a_container(image="busybox", command=command)))
        with trio.fail_after(20):
            while not _is_ready(cluster):  # noqa: ASYNC110
                await trio.sleep(0.05)
        yield cluster
        daemon.cancel_scope.cancel()
    nursery.cancel_scope.cancel()


def _is_ready(cluster: KubernetesSimulator) -> bool:
    conditions = cluster.get("pods", "web")["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@pytest.fixture
def kubectl(cluster, tmp_path):
    environment = {
        **os.environ,
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "HOME": str(tmp_path),
    }

    async def kubectl(*arguments, stdin=b"", program=KUBECTL, **more):
        with trio.fail_after(30):
            return await trio.run_process(
                [program, *arguments],
                stdin=stdin,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=environment | more,
            )

    return kubectl


async def test_logs_come_from_the_node(kubectl):
    done = await kubectl("logs", "web")
    assert (done.stdout, done.stderr) == (b"hello from here\n", b"")
    wrong = await kubectl("logs", "web", "--previous")
    assert b'previous terminated container "app" in pod "web" not found' in wrong.stderr


@pytest.mark.parametrize("protocol", [{}, SPDY], ids=["websocket", "spdy"])
async def test_commands_are_executed_on_the_node(kubectl, protocol):
    script = "cat; echo to stderr >&2; exit 42"
    done = await kubectl(
        "exec", "-i", "web", "--", "sh", "-c", script, stdin=b"to stdout", **protocol
    )
    assert done.stdout == b"to stdout"
    assert done.stderr.splitlines()[0] == b"to stderr"
    assert done.returncode == 42


async def test_what_the_node_refuses_is_told(kubectl, cluster):
    done = await kubectl("attach", "-i", "web")
    assert done.returncode == 1
    assert b"the standard input of container app cannot be reached" in done.stderr
    cluster.create(a_pod("unbound", nodeName="", nodeSelector={"no": "where"}))
    done = await kubectl("logs", "unbound")
    assert b"pod unbound does not have a host assigned" in done.stderr
    done = await kubectl("logs", "web", "-c", "other")
    assert b"container other is not valid for pod web" in done.stderr


async def test_the_nodes_tasks_are_drawn(kubectl):
    done = await kubectl("tree", program=str(Path(sys.executable).parent / "kraftlet-trio"))
    assert done.returncode == 0, done.stderr
    assert b"informer of Pods" in done.stdout
    assert b"[default/web]  resting" in done.stdout

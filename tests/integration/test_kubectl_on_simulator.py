"""The real kubectl against the simulated API server, over TLS on the loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import orjson
import pytest
import trio
from click.testing import CliRunner

from kraftlet_trio.simulators.kubernetes.command import kubernetes, serve_cluster
from kraftlet_trio.simulators.kubernetes.resources import PODS
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")

Kubectl = Callable[..., Awaitable[str]]

NODE = """
apiVersion: v1
kind: Node
metadata:
  name: node-1
status:
  capacity: {cpu: "4", memory: 8Gi, pods: "110"}
  conditions:
    - {type: Ready, status: "True", reason: KubeletReady}
  nodeInfo: {kubeletVersion: v1.37.0}
"""

APPLICATION = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: nginx
          image: nginx:1.27
          ports:
            - containerPort: 80
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports:
    - port: 80
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  colour: blue
"""

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: single
spec:
  nodeName: node-1
  containers:
    - name: app
      image: nginx:1.27
"""


@pytest.fixture
async def cluster(nursery: trio.Nursery) -> KubernetesSimulator:
    cluster = KubernetesSimulator(token="secret")
    await nursery.start(cluster.run)
    nursery.start_soon(run_pods_forever, cluster)
    return cluster


@pytest.fixture
async def kubectl(cluster: KubernetesSimulator, nursery: trio.Nursery, tmp_path: Path) -> Kubectl:
    """Runs kubectl and returns what it printed, or raises ``CalledProcessError``."""
    kubeconfig = tmp_path / "kubeconfig"
    await nursery.start(serve_cluster, cluster, "127.0.0.1", 0, kubeconfig)
    environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path)}

    async def run(*arguments: str, stdin: str = "") -> str:
        with trio.fail_after(60):
            done = await trio.run_process(
                [KUBECTL, *arguments],
                stdin=stdin.encode(),
                capture_stdout=True,
                capture_stderr=True,
                env=environment,
                check=False,
            )
        if done.returncode:
            raise AssertionError(f"kubectl {arguments}: {done.stderr.decode()}")
        return done.stdout.decode()

    await run("apply", "-f", "-", stdin=NODE)
    return run


async def run_pods_forever(cluster: KubernetesSimulator) -> None:
    """As little of a node as kubectl needs: Pods become ready, and end when deleted."""

    def running(pod: dict) -> dict:
        statuses = [
            {"name": container["name"], "ready": True, "state": {"running": {}}}
            for container in pod["spec"]["containers"]
        ]
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        pod["status"] |= {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": statuses}
        pod["status"]["conditions"] = [ready]
        return pod

    with cluster.storage.subscribed([PODS]) as subscription:
        while True:
            for pod in cluster.storage.objects(PODS):
                if pod.deleting:
                    cluster.delete(pod.value, grace_seconds=0)
                elif pod.value["spec"].get("nodeName"):
                    cluster.change("pods", pod.name, running, pod.namespace, subresource="status")
            await subscription.wait()


def table(text: str) -> list[list[str]]:
    """Rows without the header, split at gaps of several spaces."""
    return [[cell for cell in line.split("  ") if cell] for line in text.splitlines()[1:]]


async def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    module = "kraftlet_trio.simulators.kubernetes.command"
    command = [sys.executable, "-c", f"from {module} import kubernetes; kubernetes()"]
    arguments = ["--listen", "127.0.0.1:0", "--kubeconfig", str(kubeconfig)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(trio.run_process, [*command, *arguments], stderr=subprocess.PIPE)
        )
        with trio.fail_after(30):
            line = orjson.loads(await process.stderr.receive_some())
        assert line["event"] == "kubernetes simulator ready"
        assert line["url"].startswith("https://127.0.0.1:")
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        pods = await trio.run_process(
            [KUBECTL, "get", "namespaces", "-o", "name"],
            capture_stdout=True,
            env={"KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path)},
        )
        assert b"namespace/default" in pods.stdout
        process.terminate()
    assert process.returncode == 0


async def test_the_command_overwrites_no_kubeconfig_of_others(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("precious")
    outcome = CliRunner().invoke(kubernetes, ["--kubeconfig", str(kubeconfig)])
    assert outcome.exit_code == 2
    assert kubeconfig.read_text() == "precious"


async def test_an_application_is_applied_scaled_and_deleted(kubectl: Kubectl) -> None:
    applied = await kubectl("apply", "-f", "-", stdin=APPLICATION)
    assert applied.splitlines() == [
        "deployment.apps/web created",
        "service/web created",
        "configmap/settings created",
    ]
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web")
    again = await kubectl("apply", "-f", "-", stdin=APPLICATION)
    assert {line.rsplit(maxsplit=1)[-1] for line in again.splitlines()} == {"unchanged"}
    blue = APPLICATION.replace("nginx:1.27", "nginx:1.28").replace("blue", "green")
    changed = await kubectl("apply", "-f", "-", stdin=blue)
    assert "configmap/settings configured" in changed
    await kubectl("rollout", "status", "deployment/web")
    images = await kubectl("get", "pods", "-o", "jsonpath={..image}")
    assert set(images.split()) == {"nginx:1.28"}
    await kubectl("scale", "deployment/web", "--replicas=4")
    await kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    await kubectl("wait", "--for=jsonpath={.status.readyReplicas}=4", "deployment/web")
    await kubectl("rollout", "undo", "deployment/web")
    await kubectl("rollout", "status", "deployment/web")
    assert len((await kubectl("rollout", "history", "deployment/web")).splitlines()) >= 4
    deleted = await kubectl("delete", "-f", "-", stdin=APPLICATION)
    assert 'deployment.apps "web" deleted' in deleted
    await kubectl("wait", "--for=delete", "pods", "-l", "app=web", "--timeout=30s")
    assert await kubectl("get", "pods", "-o", "name") == ""


async def test_tables_are_the_servers(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=POD)
    await kubectl("wait", "--for=condition=Ready", "pod/single", "--timeout=30s")
    await kubectl("apply", "-f", "-", stdin=APPLICATION)
    await kubectl("rollout", "status", "deployment/web")
    header, row = (await kubectl("get", "pod", "single")).splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["single", "1/1", "Running", "0"]
    wide = await kubectl("get", "pod", "single", "-o", "wide")
    assert "10.0.0.1" in wide
    assert "node-1" in wide
    (node,) = table(await kubectl("get", "nodes"))
    assert [cell.strip() for cell in node][:3] == ["node-1", "Ready", "<none>"]
    everything = await kubectl("get", "all")
    for name in ("pod/web-", "service/web", "deployment.apps/web", "replicaset.apps/web-"):
        assert name in everything
    assert "Scheduled" in await kubectl("get", "events")
    assert "kube-system" in await kubectl("get", "configmaps", "--all-namespaces")


async def test_objects_are_read_whole(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=POD)
    pod = orjson.loads(await kubectl("get", "pod", "single", "-o", "json"))
    assert (pod["kind"], pod["apiVersion"]) == ("Pod", "v1")
    assert pod["metadata"]["name"] == "single"
    listing = orjson.loads(await kubectl("get", "pods", "-o", "json"))
    assert [item["kind"] for item in listing["items"]] == ["Pod"]
    assert "kind: Pod" in await kubectl("get", "pod", "single", "-o", "yaml")


async def test_a_watch_prints_what_happens(
    kubectl: Kubectl, nursery: trio.Nursery, tmp_path: Path
) -> None:
    environment = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}
    process = await nursery.start(
        partial(
            trio.run_process,
            [KUBECTL, "get", "pods", "--watch", "--no-headers"],
            stdout=subprocess.PIPE,
            env=environment,
            check=False,
        )
    )
    printed = b""
    await kubectl("apply", "-f", "-", stdin=POD)
    with trio.fail_after(30):
        async for chunk in process.stdout:
            printed += chunk
            if b"Running" in printed:
                break
    assert printed.split()[0] == b"single"
    process.terminate()


async def test_descriptions(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=APPLICATION)
    await kubectl("rollout", "status", "deployment/web")
    deployment = await kubectl("describe", "deployment", "web")
    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in deployment
    assert "ScalingReplicaSet" in deployment
    assert "NewReplicaSet:   web-" in deployment
    first, _ = (await kubectl("get", "pods", "-l", "app=web", "-o", "name")).split()
    assert "Successfully assigned default/web-" in await kubectl("describe", first)
    node = await kubectl("describe", "node", "node-1")
    assert "Non-terminated Pods:          (2 in total)" in node
    assert "10.96." in await kubectl("describe", "service", "web")


async def test_labels_annotations_and_other_patches(
    kubectl: Kubectl, cluster: KubernetesSimulator
) -> None:
    await kubectl("apply", "-f", "-", stdin=POD)
    await kubectl("label", "pod", "single", "tier=front")
    await kubectl("annotate", "pod", "single", "note=hello")
    assert "single" in await kubectl("get", "pods", "-l", "tier in (front)", "-o", "name")
    patch = '[{"op": "remove", "path": "/metadata/labels/tier"}]'
    await kubectl("patch", "pod", "single", "--type=json", "-p", patch)
    await kubectl("cordon", "node-1")
    assert "SchedulingDisabled" in await kubectl("get", "nodes")
    pod = cluster.get("pods", "single")
    assert "labels" not in pod["metadata"]
    assert pod["metadata"]["annotations"]["note"] == "hello"


async def test_server_side_apply(kubectl: Kubectl) -> None:
    applied = await kubectl("apply", "--server-side", "-f", "-", stdin=APPLICATION)
    assert "deployment.apps/web serverside-applied" in applied
    await kubectl("rollout", "status", "deployment/web")


async def test_a_namespace_and_all_in_it_is_deleted(kubectl: Kubectl) -> None:
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: brief\n"
    await kubectl("apply", "-f", "-", stdin=namespace)
    await kubectl("apply", "-n", "brief", "-f", "-", stdin=POD)
    await kubectl("delete", "namespace", "brief", "--timeout=30s")
    assert "brief" not in await kubectl("get", "namespaces", "-o", "name")


async def test_commands_that_send_protobuf(kubectl: Kubectl, cluster: KubernetesSimulator) -> None:
    await kubectl("create", "namespace", "made")
    await kubectl("create", "configmap", "settings", "--from-literal=colour=blue")
    await kubectl("create", "secret", "generic", "key", "--from-literal=token=x")
    await kubectl("create", "deployment", "web", "--image=nginx:1.27", "--port=80")
    await kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
    await kubectl("rollout", "status", "deployment/web")
    assert cluster.get("configmaps", "settings")["data"] == {"colour": "blue"}
    assert cluster.get("secrets", "key")["data"] == {"token": "eA=="}
    assert cluster.get("services", "web")["spec"]["ports"][0]["targetPort"] == 8080
    assert await kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "evicted" in await kubectl("drain", "node-1")


async def test_a_wrong_manifest_is_refused_in_kubectls_words(kubectl: Kubectl) -> None:
    with pytest.raises(AssertionError, match=r"spec\.containers\[0\]\.image: Required value"):
        await kubectl("apply", "-f", "-", stdin=POD.replace("image: nginx:1.27", "command: [x]"))
    with pytest.raises(AssertionError, match='pods "absent" not found'):
        await kubectl("get", "pod", "absent")

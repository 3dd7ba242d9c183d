"""What Pods cost: time from bound to Ready and to gone, and the daemon's CPU and memory.

    make bench ARGS=200

One machine runs it all: etcd, the API server and its controllers, the simulated cloud over HTTP,
the daemon with the chart's rights, and this client. Pods are bound by ``nodeName``, so only the
node counts.
"""

from __future__ import annotations

import argparse
import os
import ssl
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import httpx
import yaml

from tests.e2e.bed import chart
from tests.e2e.bed.cloud import running_cloud
from tests.e2e.bed.control_plane import running_control_plane
from tests.e2e.bed.daemon import NODE, Daemon
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually

PODS = "/api/v1/namespaces/default/pods"
LOOK_SECONDS = 0.3
CREATORS = 8
LIMIT_SECONDS = 300.0
QUOTAS = ("instances=100000", "live_vcpus=100000", "live_memory_mb=100000000")


@attrs.frozen
class Usage:
    """Of a process, from /proc."""

    pid: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


def a_pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": NODE,
            "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "app", "image": "nginx"}],
        },
    }


def is_ready(pod: dict[str, Any]) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions", ())
    )


def timed(api: httpx.Client, done: Callable[[list[dict[str, Any]]], bool]) -> float:
    """Seconds until the Pods are as they should be."""
    began = time.monotonic()
    while not done(api.get(PODS).json()["items"]):
        if time.monotonic() - began > LIMIT_SECONDS:
            raise TimeoutError(f"not done after {LIMIT_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began


def each(names: list[str], perform: Callable[[str], httpx.Response]) -> None:
    with ThreadPoolExecutor(CREATORS) as pool:
        for answer in pool.map(perform, names):
            answer.raise_for_status()


def measure(api: httpx.Client, usage: Usage, count: int) -> None:
    names = [f"pod-{number}" for number in range(count)]
    cpu = usage.cpu_seconds()
    began = time.monotonic()
    each(names, lambda name: api.post(PODS, json=a_pod(name)))
    timed(api, lambda pods: sum(map(is_ready, pods)) == count)
    seconds = time.monotonic() - began
    used = 1000 * (usage.cpu_seconds() - cpu) / count
    print(f"{count} Pods bound → all Ready: {seconds:.1f} s, {used:.1f} ms of CPU a Pod")
    time.sleep(count / 8)  # the last events, which are limited in rate
    used = 1000 * (usage.cpu_seconds() - cpu) / count
    print(f"  with their events: {used:.1f} ms of CPU a Pod; {usage.memory_mib():.0f} MiB")
    cpu = usage.cpu_seconds()
    time.sleep(10)
    print(f"  quiet: {10 * (usage.cpu_seconds() - cpu):.1f} % of a core")
    cpu = usage.cpu_seconds()
    began = time.monotonic()
    each(names, lambda name: api.delete(f"{PODS}/{name}"))
    timed(api, lambda pods: not pods)
    seconds = time.monotonic() - began
    used = 1000 * (usage.cpu_seconds() - cpu) / count
    print(f"{count} Pods deleted → all gone: {seconds:.1f} s, {used:.1f} ms of CPU a Pod")


def measure_one(api: httpx.Client) -> None:
    spans = []
    for number in range(5):
        name = f"one-{number}"
        began = time.monotonic()
        api.post(PODS, json=a_pod(name)).raise_for_status()
        while not is_ready(api.get(f"{PODS}/{name}").json()):
            time.sleep(0.005)
        spans.append(1000 * (time.monotonic() - began))
    spans.sort()
    print(f"one Pod, bound → Ready: median {spans[2]:.0f} ms of {len(spans)}, the boot included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=200, help="how many Pods")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as name, running_control_plane(Path(name)) as plane:
        kubectl = Kubectl(plane.admin_kubeconfig, home=plane.folder)
        eventually(lambda: kubectl.json("get", "serviceaccount", "default"))
        with running_cloud(Path(name), quotas=QUOTAS) as cloud:
            daemon = Daemon(
                cloud.url, chart.install(kubectl, plane), Path(name), log_level="warning"
            )
            daemon.start()
            try:
                timed_out = time.monotonic() + 60
                while not is_ready(kubectl.json("get", "node", NODE) or {"status": {}}):
                    assert time.monotonic() < timed_out, daemon.log.read_text()
                    time.sleep(LOOK_SECONDS)
                with client(plane.admin_kubeconfig) as api:
                    measure(api, Usage(daemon.pid), count)
                    measure_one(api)
            finally:
                daemon.stop()


def client(kubeconfig: Path) -> httpx.Client:
    access = yaml.safe_load(kubeconfig.read_text())
    cluster, user = access["clusters"][0]["cluster"], access["users"][0]["user"]
    trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
    trust.load_cert_chain(user["client-certificate"], user["client-key"])
    return httpx.Client(base_url=cluster["server"], verify=trust, timeout=60, trust_env=False)


if __name__ == "__main__":
    main()

"""``kubectl logs`` of containers that are real processes, through a real API server."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bed.cloud import Cloud, running_cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import container_statuses, pod_is_ready
from tests.e2e.bed.kubectl import KUBECTL, Kubectl, KubectlError
from tests.e2e.bed.waiting import eventually
from tests.e2e.bed.workloads import a_job, a_pod

NODE = "kraftlet-logs"
HERE: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": NODE}}
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z "


def shell(script: str, name: str = "app", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **fields}


@pytest.fixture(scope="module")
def processes(folder: Path) -> Iterator[Cloud]:
    with running_cloud(folder, processes=True) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def daemon(
    processes: Cloud, folder: Path, daemon_kubeconfig: Path, kubectl: Kubectl
) -> Iterator[Daemon]:
    """A node of its own, before a cloud of its own."""
    daemon = Daemon(processes.url, daemon_kubeconfig, folder, node=NODE)
    daemon.start()
    try:
        daemon.wait_until_ready()
        kubectl.apply(
            a_pod("talks", **HERE, containers=[shell("seq 5; exec sleep 1000")]),
            a_pod(
                "many",
                **HERE,
                initContainers=[
                    shell("echo I set up", "setup"),
                    shell("echo I help; exec sleep 1000", "helper", restartPolicy="Always"),
                ],
                containers=[
                    shell("echo I serve; exec sleep 1000"),
                    shell("echo I watch; exec sleep 1000", "watcher"),
                ],
            ),
            a_pod("lacks", "no-such-image", **HERE),
            a_job("done", "busybox", template={**HERE, "containers": [shell("seq 3")]}),
        )
        yield daemon
        assert daemon.bugs(0) == []
    finally:
        kubectl("delete", "jobs", "done", "--cascade=foreground", "--ignore-not-found")
        pods = f"--field-selector=spec.nodeName={NODE}"
        kubectl("delete", "pods", pods, "--grace-period=1", "--timeout=30s")
        daemon.stop()
        kubectl("delete", "node", NODE, "--ignore-not-found")


def logs(kubectl: Kubectl, *arguments: str) -> str:
    return kubectl("logs", *arguments).stdout


def restarts(kubectl: Kubectl, pod: str) -> int:
    found = kubectl.json("get", "pod", pod)
    return int(container_statuses(found)["app"]["restartCount"]) if found else 0


def test_options_are_the_kubelets(daemon: Daemon, kubectl: Kubectl) -> None:
    eventually(lambda: pod_is_ready(kubectl, "talks"))
    eventually(lambda: logs(kubectl, "talks") == "1\n2\n3\n4\n5\n")
    for expected, *options in (
        ("4\n5\n", "--tail=2"),
        ("", "--tail=0"),
        ("1\n2", "--limit-bytes=3"),
        ("4\n", "--tail=2", "--limit-bytes=2"),
        ("1\n2\n3\n4\n5\n", "--since=1h"),
        ("", "--since-time=2100-01-01T00:00:00Z"),
        ("5\n", "--since=1h", "--tail=1", "--container=app"),
    ):
        assert logs(kubectl, "talks", *options) == expected
    stamped = logs(kubectl, "talks", "--timestamps")
    assert re.fullmatch("".join(f"{STAMP}{number}\n" for number in range(1, 6)), stamped)
    time.sleep(3)
    assert logs(kubectl, "talks", "--since=2s") == ""


def test_each_container_has_its_log(daemon: Daemon, kubectl: Kubectl) -> None:
    eventually(lambda: pod_is_ready(kubectl, "many"))

    def told() -> bool:
        """all four containers' logs are there"""
        every = logs(kubectl, "many", "--all-containers", "--prefix")
        assert sorted(every.splitlines()) == [
            "[pod/many/app] I serve",
            "[pod/many/helper] I help",
            "[pod/many/setup] I set up",
            "[pod/many/watcher] I watch",
        ]
        return True

    eventually(told)


def test_what_there_is_not_is_said_in_the_kubelets_words(daemon: Daemon, kubectl: Kubectl) -> None:
    eventually(lambda: pod_is_ready(kubectl, "talks"))
    with pytest.raises(
        KubectlError, match='previous terminated container "app" in pod "talks" not found'
    ):
        logs(kubectl, "talks", "--previous")

    def refused() -> bool:
        """the image that there is not is what it waits for"""
        with pytest.raises(
            KubectlError,
            match='container "app" in pod "lacks" is waiting to start: trying and failing to pull',
        ):
            logs(kubectl, "lacks")
        return True

    eventually(refused)


def test_finished_job_keeps_its_log(daemon: Daemon, kubectl: Kubectl, processes: Cloud) -> None:
    kubectl("wait", "--for=condition=Complete", "job/done", "--timeout=30s")
    eventually(lambda: not any(name.startswith("done-") for name in processes.instances()))
    assert logs(kubectl, "job/done") == "1\n2\n3\n"
    assert logs(kubectl, "job/done", "-f", "--tail=1") == "3\n"


def test_follower_is_told_all_of_a_run_as_it_comes_and_no_more(
    daemon: Daemon, kubectl: Kubectl
) -> None:
    script = "echo begin; for i in 1 2 3 4 5 6; do sleep 0.5; echo $i; done; printf end; exit 1"
    kubectl.apply(a_pod("restarts", **HERE, containers=[shell(script)]))
    eventually(lambda: pod_is_ready(kubectl, "restarts"))
    with subprocess.Popen(
        ["timeout", "30", KUBECTL, "logs", "-f", "restarts"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "KUBECONFIG": str(kubectl.kubeconfig), "HOME": str(kubectl.home)},
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"begin\n"
        came = []
        for number in range(1, 7):
            assert follower.stdout.readline() == f"{number}\n".encode()
            came.append(time.monotonic())
        # Not all at once, at the end.
        assert came[-1] - came[0] > 1
        assert follower.stdout.read() == b"end"
    assert follower.returncode == 0
    eventually(lambda: restarts(kubectl, "restarts") >= 1)
    whole = "begin\n1\n2\n3\n4\n5\n6\nend"
    assert logs(kubectl, "restarts", "--previous") == whole
    daemon.kill()
    daemon.start()
    daemon.wait_until_ready()
    assert logs(kubectl, "restarts", "--previous") == whole
    assert logs(kubectl, "restarts").count("begin") == 1
    assert logs(kubectl, "restarts", "-f") == whole

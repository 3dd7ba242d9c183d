"""What becomes of a Pod whose container ends, by its restart policy and the exit code."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import conditions, container_statuses
from tests.e2e.bed.kubectl import Kubectl
from tests.e2e.bed.waiting import eventually
from tests.e2e.bed.workloads import a_pod

IMAGES = {0: "busybox", 1: "fails"}
POLICIES = ("Always", "OnFailure", "Never")
DONE = {0: "Succeeded", 1: "Failed"}


def name(policy: str, code: int) -> str:
    return f"{policy.lower()}-{code}"


@pytest.fixture(scope="module", autouse=True)
def _pods(shared_daemon: Daemon, kubectl: Kubectl) -> None:
    """One for each policy and exit code, all at once."""
    kubectl.apply(
        *(
            a_pod(name(policy, code), image, restartPolicy=policy)
            for policy in POLICIES
            for code, image in IMAGES.items()
        )
    )


def read(kubectl: Kubectl, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Pod and the status of its container."""
    pod = kubectl.json("get", "pod", name)
    return pod, container_statuses(pod).get("app", {})


@pytest.mark.parametrize(
    ("policy", "code"), [("Always", 0), ("Always", 1), ("OnFailure", 1)], ids=str
)
def test_container_that_ends_again_and_again_backs_off(
    kubectl: Kubectl, policy: str, code: int
) -> None:
    def backs_off() -> bool:
        """it was restarted, and has to wait for the next time"""
        pod, app = read(kubectl, name(policy, code))
        waiting = app["state"].get("waiting", {})
        assert waiting.get("reason") == "CrashLoopBackOff"
        seconds = 10 * 2 ** (app["restartCount"] - 1)
        assert waiting["message"].startswith(f"back-off {seconds}s restarting failed container=app")
        assert app["lastState"]["terminated"]["exitCode"] == code
        assert app["lastState"]["terminated"]["reason"] == ("Error" if code else "Completed")
        assert pod["status"]["phase"] == "Running"
        assert conditions(pod)["Ready"] == "False"
        return True

    eventually(backs_off)


@pytest.mark.parametrize(
    ("policy", "code"), [("OnFailure", 0), ("Never", 0), ("Never", 1)], ids=str
)
def test_container_that_is_not_restarted_ends_its_pod(
    kubectl: Kubectl, policy: str, code: int
) -> None:
    kubectl(
        *("wait", f"pod/{name(policy, code)}", f"--for=jsonpath={{.status.phase}}={DONE[code]}"),
        "--timeout=30s",
    )
    pod, app = read(kubectl, name(policy, code))
    assert app["restartCount"] == 0
    assert app["state"]["terminated"]["exitCode"] == code
    assert conditions(pod)["Ready"] == "False"
    assert conditions(pod)["Initialized"] == "True"


def test_kubectl_sums_up_each_pod_as_on_any_node(kubectl: Kubectl) -> None:
    def columns() -> dict[str, tuple[str, str]]:
        rows = kubectl("get", "pods", "--no-headers").stdout.splitlines()
        words = (row.split() for row in rows)
        return {word[0]: (word[1], word[2]) for word in words}

    loops, done = ("0/1", "CrashLoopBackOff"), ("0/1", "Completed")
    expected = {
        "always-0": loops,
        "always-1": loops,
        "onfailure-0": done,
        "onfailure-1": loops,
        "never-0": done,
        "never-1": ("0/1", "Error"),
    }
    eventually(lambda: columns() == expected)

"""virtual-kubelet's own end-to-end suite, which providers of its library are held to.

It looks at the node's kubelet API through the API server's proxy.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.bed.own_network import ADDRESS, NoOwnNetwork, inside
from tests.e2e.bed.processes import die_with_parent

ROOT = Path(__file__).parents[2]
TESTS = (
    "TestCreatePodWithMandatoryInexistentConfigMap",
    "TestCreatePodWithMandatoryInexistentSecrets",
    "TestCreatePodWithOptionalInexistentConfigMap",
    "TestCreatePodWithOptionalInexistentSecrets",
    "TestGetMetricsResource",
    "TestGetPods",
    "TestGetStatsSummary",
    "TestPodLifecycleForceDelete",
    "TestPodLifecycleGracefulDelete",
)
_OUTCOME = re.compile(r"--- (?P<outcome>PASS|FAIL|SKIP): TestEndToEnd/(?P<test>\w+)")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each test; shown whole where one failed."""
    folder = tmp_path_factory.mktemp("virtual-kubelet")
    program = [sys.executable, "-m", "tests.e2e.virtual_kubelet.scenario", str(folder), ADDRESS]
    try:
        command = inside(program)
    except NoOwnNetwork as reason:
        pytest.skip(f"the suite needs a network of its own: {reason}")
    ran = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        preexec_fn=die_with_parent,
    )
    print(ran.stdout)
    outcomes = {found["test"]: found["outcome"] for found in _OUTCOME.finditer(ran.stdout)}
    if ran.returncode:
        log = folder / "daemon.log"
        print(log.read_text()[-30_000:] if log.exists() else "the daemon did not start")
    return outcomes


@pytest.mark.parametrize("test", TESTS)
def test_suite(suite: dict[str, str], test: str) -> None:
    assert suite.get(test) == "PASS"


def test_suite_has_no_other_tests(suite: dict[str, str]) -> None:
    assert set(suite) == set(TESTS)

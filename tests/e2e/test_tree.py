"""``kraftlet-trio tree`` through a real API server's proxy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bed.own_network import ADDRESS, NoOwnNetwork, inside
from tests.e2e.bed.processes import die_with_parent

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("tree")
    try:
        command = inside([sys.executable, "-m", "tests.e2e.tree_scenario", str(folder), ADDRESS])
    except NoOwnNetwork as reason:
        pytest.skip(f"a proxied node needs a network of its own: {reason}")
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, preexec_fn=die_with_parent
    )
    assert ran.returncode == 0, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def test_every_task_is_drawn_with_what_it_waits_for(outcomes: dict[str, Any]) -> None:
    assert outcomes["text"]["code"] == 0, outcomes["text"]
    lines = outcomes["text"]["stdout"].splitlines()
    for task in ("kubelet_api.run.run_kubelet_api", "informer of Pods", "node.run.run_node"):
        assert any(re.search(rf"[├└]── {re.escape(task)}  waiting  \d", line) for line in lines)
    [actor] = [line for line in lines if re.search(r"── pod [-0-9a-f]{36}  \[default/web\]", line)]
    assert re.search(r"resting  \d+\.\d+s  Event\.wait in PodActor\._rest \(pods/actor", actor)
    # Whoever answers is one of them.
    assert sum("  running" in line for line in lines) == 1


def test_one_pods_tasks_can_be_picked(outcomes: dict[str, Any]) -> None:
    assert outcomes["pod"]["code"] == 0
    assert outcomes["pod"]["stdout"].startswith("pod ")
    assert len(outcomes["pod"]["stdout"].splitlines()) == 1


def test_programs_get_json(outcomes: dict[str, Any]) -> None:
    document = json.loads(outcomes["json"]["stdout"])
    assert document.keys() == json.loads(outcomes["kubectl"]).keys() == {"at", "tasks"}


def test_what_is_wrong_is_said_with_its_cure(outcomes: dict[str, Any]) -> None:
    for case, words in (
        ("no pod", "node kraftlet has no task for Pod default/gone"),
        ("no node", "is there a node elsewhere"),
        ("no right", "bind a ClusterRole with get on nodes/proxy"),
    ):
        assert outcomes[case]["code"] == 1
        assert outcomes[case]["stdout"] == ""
        assert words in outcomes[case]["stderr"]

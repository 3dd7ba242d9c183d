"""One control plane, one cloud and one daemon for all scenarios; each leaves the world empty."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.bed import chart, expectations
from tests.e2e.bed.audit import AuditLog
from tests.e2e.bed.cloud import Cloud, running_cloud
from tests.e2e.bed.control_plane import ControlPlane, running_control_plane
from tests.e2e.bed.daemon import NODE, Daemon
from tests.e2e.bed.kubectl import Kubectl, KubectlError
from tests.e2e.bed.waiting import eventually

LOG_TAILS = {
    "kube-apiserver": 2_000,
    "kube-controller-manager": 2_000,
    "kube-scheduler": 2_000,
    "metrics-server": 4_000,
    "cloud": 4_000,
    "daemon": 30_000,
}
"""What a failed test shows, in bytes."""
# What a scenario may make, workloads before what they use.
KINDS = (
    "cronjobs,deployments,statefulsets,jobs,pods,"
    "services,persistentvolumeclaims,poddisruptionbudgets"
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="session")
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    with running_control_plane(folder) as plane:
        yield plane


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """As the cluster's administrator, of a cluster that takes Pods."""
    kubectl = Kubectl(control_plane.admin_kubeconfig, home=control_plane.folder)
    # A controller makes it; until then the API server refuses Pods.
    eventually(lambda: kubectl.json("get", "serviceaccount", "default"))
    return kubectl


@pytest.fixture(scope="session")
def daemon_kubeconfig(kubectl: Kubectl, control_plane: ControlPlane) -> Path:
    return chart.install(kubectl, control_plane)


@pytest.fixture(scope="session")
def running_daemon(
    folder: Path, control_plane: ControlPlane, daemon_kubeconfig: Path
) -> Iterator[tuple[Daemon, Cloud, AuditLog]]:
    with running_cloud(folder) as cloud:
        daemon = Daemon(cloud.url, daemon_kubeconfig, folder)
        daemon.start()
        yield daemon, cloud, AuditLog(control_plane.audit_log)
        if daemon.alive():
            daemon.stop()


@pytest.fixture(scope="session")
def cloud(running_daemon: tuple[Daemon, Cloud, AuditLog]) -> Cloud:
    return running_daemon[1]


@pytest.fixture
def daemon(running_daemon: tuple[Daemon, Cloud, AuditLog], kubectl: Kubectl) -> Iterator[Daemon]:
    """A running daemon and its Ready node, for a test that has the cluster to itself."""
    with _tidy_world(running_daemon, kubectl) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def shared_daemon(
    running_daemon: tuple[Daemon, Cloud, AuditLog], kubectl: Kubectl
) -> Iterator[Daemon]:
    """As ``daemon``, for a module whose objects are all made at once, so that they take their time
    together; its tests look at one of them each, in the cloud too only at that one."""
    with _tidy_world(running_daemon, kubectl) as daemon:
        yield daemon


@contextmanager
def _tidy_world(
    running_daemon: tuple[Daemon, Cloud, AuditLog], kubectl: Kubectl
) -> Iterator[Daemon]:
    """A running daemon and its Ready node. Afterwards the default namespace and the cloud are
    empty again, and the daemon has neither asked for what the chart does not grant it nor logged
    an exception that nobody expected."""
    daemon, cloud, audit = running_daemon
    if not daemon.alive():
        daemon.start()
    eventually(lambda: node_is_ready(kubectl), timeout=60)
    audit.refused()
    log_bytes = daemon.log.stat().st_size
    yield daemon
    empty_the_world(daemon, cloud, kubectl)
    assert audit.refused() == []
    assert daemon.bugs(log_bytes) == []


def node_is_ready(kubectl: Kubectl) -> bool:
    """the node is Ready"""
    node = kubectl.json("get", "node", NODE)
    conditions = node["status"].get("conditions", []) if node else []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def empty_the_world(daemon: Daemon, cloud: Cloud, kubectl: Kubectl) -> None:
    """Delete all that a scenario may have left, and wait until the daemon has followed."""
    if not daemon.alive():
        daemon.start()
    kubectl("delete", KINDS, "--field-selector=metadata.name!=kubernetes", "--wait=false")
    eventually(lambda: expectations.nothing(kubectl, cloud), timeout=90)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the processes wrote last, and what the cluster looked like."""
    report = yield
    fixtures = getattr(item, "funcargs", {})
    kubectl = fixtures.get("kubectl")
    if report.failed and isinstance(kubectl, Kubectl):
        report.sections.extend(_evidence(kubectl))
    return report


def _evidence(kubectl: Kubectl) -> Iterator[tuple[str, str]]:
    for arguments in (
        ("get", "nodes,pods,services,persistentvolumeclaims,persistentvolumes", "-A"),
        ("get", "events", "--sort-by=.metadata.creationTimestamp"),
    ):
        try:
            yield " ".join(arguments), kubectl(*arguments).stdout
        except KubectlError as error:
            yield " ".join(arguments), str(error)
    for name, tail_bytes in LOG_TAILS.items():
        log = kubectl.home / f"{name}.log"
        if log.exists():
            yield log.name, log.read_text(errors="replace")[-tail_bytes:]

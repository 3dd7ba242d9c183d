"""The bed itself: a control plane that schedules and controls, and the chart's rights on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kraftlet_trio import __version__
from kraftlet_trio.cli import run
from tests.e2e.bed import chart
from tests.e2e.bed.control_plane import ControlPlane
from tests.e2e.bed.kubectl import Kubectl, KubectlError
from tests.e2e.bed.waiting import eventually


def test_scheduler_finds_no_room_without_a_node(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "no-room")
    eventually(lambda: kubectl.json("get", "serviceaccount", "default", "--namespace=no-room"))
    kubectl("run", "lonely", "--image=nginx", "--namespace=no-room")

    def unschedulable() -> bool:
        """the scheduler has judged the Pod"""
        pod = kubectl.json("get", "pod", "lonely", "--namespace=no-room")
        reasons = [item.get("reason") for item in pod["status"].get("conditions", [])]
        return "Unschedulable" in reasons

    try:
        eventually(unschedulable)
    finally:
        kubectl("delete", "namespace", "no-room")


@pytest.mark.parametrize(
    ("verb", "resource", "namespace"),
    [
        ("list", "pods", "default"),
        ("patch", "pods/status", "default"),
        ("get", "secrets", "default"),
        ("create", "leases.coordination.k8s.io", "kube-node-lease"),
        ("create", "tokenreviews.authentication.k8s.io", ""),
        ("create", "subjectaccessreviews.authorization.k8s.io", ""),
        ("get", "configmaps/extension-apiserver-authentication", "kube-system"),
        ("update", "leases.coordination.k8s.io", "kraftlet"),
        ("create", "nodes", ""),
        ("delete", "nodes", ""),
    ],
)
def test_chart_grants_what_a_node_does(
    daemon_kubeconfig: Path, kubectl: Kubectl, verb: str, resource: str, namespace: str
) -> None:
    assert _may(daemon_kubeconfig, kubectl, verb, resource, namespace)


@pytest.mark.parametrize(
    ("verb", "resource", "namespace"),
    [
        ("create", "pods", "default"),
        ("update", "secrets", "default"),
        ("create", "configmaps", "default"),
        ("update", "pods/status", "default"),
        ("delete", "persistentvolumeclaims", "default"),
        ("update", "leases.coordination.k8s.io", "default"),
        ("delete", "leases.coordination.k8s.io", "kraftlet"),
    ],
)
def test_chart_grants_no_more(
    daemon_kubeconfig: Path, kubectl: Kubectl, verb: str, resource: str, namespace: str
) -> None:
    assert not _may(daemon_kubeconfig, kubectl, verb, resource, namespace)


def _may(kubeconfig: Path, kubectl: Kubectl, verb: str, resource: str, namespace: str) -> bool:
    daemon = Kubectl(kubeconfig, home=kubectl.home)
    try:
        answer = daemon("auth", "can-i", verb, resource, f"--namespace={namespace}")
    except KubectlError:
        return False  # can-i says no by its exit code
    return answer.stdout.strip() == "yes"


EVERYTHING_SET = (
    "kraftlet.replication.enabled=true",
    "kraftlet.replication.replicas=3",
    "tls.secretName=serving",
    "node.labels.zone=b",
    "node.annotations.owner=us",
    "node.providerId=unikraft://one",
    "node.capacity.cpu=8",
    "node.capacity.memory=16Gi",
    "node.capacity.pods=20",
    "priorityClassName=system-cluster-critical",
)


def test_whole_chart_is_taken_by_the_api_server(
    kubectl: Kubectl, daemon_kubeconfig: Path, control_plane: ControlPlane
) -> None:
    pem = control_plane.authority.certificate.read_text().replace("\n", "\\n")
    certificates = (f"ukc.caCertificate={pem}", f"tls.clientCaCertificate={pem}")
    objects = chart.render(kubectl.home, *EVERYTHING_SET, *certificates)
    text = yaml.safe_dump_all(objects)
    kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=text)


def test_daemon_reads_every_variable_that_the_chart_sets(kubectl: Kubectl) -> None:
    certificates = ("ukc.caCertificate=PEM", "tls.clientCaCertificate=PEM")
    read = {parameter.envvar for parameter in run.params}
    for settings in ((*EVERYTHING_SET, *certificates), ("tls.rotateServerCertificates=true",)):
        objects = chart.render(kubectl.home, *settings)
        (workload,) = (item for item in objects if item["kind"] == "StatefulSet")
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        assert {variable["name"] for variable in container["env"]} <= read


def test_chart_has_the_cluster_sign_the_certificate_or_takes_it_from_a_secret(
    kubectl: Kubectl, daemon_kubeconfig: Path
) -> None:
    objects = chart.render(kubectl.home, "tls.rotateServerCertificates=true")
    text = yaml.safe_dump_all(objects)
    assert "KRAFTLET_ROTATE_SERVER_CERTIFICATES" in text
    kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=text)
    assert "certificatesigningrequests" not in yaml.safe_dump_all(chart.render(kubectl.home))
    with pytest.raises(chart.HelmError, match=r"tls\.secretName and tls\.rotate"):
        chart.render(kubectl.home, "tls.rotateServerCertificates=true", "tls.secretName=serving")


def test_chart_and_daemon_are_of_one_version() -> None:
    metadata = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    assert metadata["appVersion"] == values["image"]["tag"] == __version__


@pytest.mark.parametrize(
    "setting", ["node.taint.effect=Never", "kraftlet.podStatusUpdateInterval=soon", "nod.name=x"]
)
def test_chart_refuses_values_that_mean_nothing(kubectl: Kubectl, setting: str) -> None:
    with pytest.raises(chart.HelmError, match="schema"):
        chart.render(kubectl.home, setting)

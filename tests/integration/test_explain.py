"""``kraftlet-trio explain``: what manifests would become, and what it says where they can't."""

from __future__ import annotations

import json

import pytest
import trio
import yaml
from click.testing import CliRunner

from kraftlet_trio.cli import main
from kraftlet_trio.simulators.kubernetes.command import serve_cluster
from kraftlet_trio.simulators.kubernetes.simulator import KubernetesSimulator
from tests.manifests import (
    a_claim,
    a_config_map,
    a_container,
    a_deployment,
    a_pod,
    a_service,
)

INSTANCES = "cloud.unikraft.v1.instances/"


def explain(*manifests, output="json", arguments=()):
    """Exit code, and what it says of *manifests* as data."""
    text = yaml.safe_dump_all(manifests)
    done = CliRunner().invoke(
        main, ["explain", "-f", "-", "-o", output, *arguments], input=text, catch_exceptions=False
    )
    if output == "json" and done.stdout.startswith("{"):
        return done.exit_code, json.loads(done.stdout)
    return done.exit_code, done.output


def requests(explained, kind):
    """Of the resources of the first Pod, by name."""
    return {
        one["name"]: one["request"]
        for one in explained["pods"][0]["resources"]
        if one["kind"] == kind
    }


def test_deployment_becomes_instances_like_the_one_that_is_shown():
    container = a_container(ports=[8080], resources={"limits": {"memory": "65Mi", "cpu": "1500m"}})
    code, explained = explain(a_deployment("web", container), a_service("web", {443: 8080}))
    assert code == 0
    [(name, request)] = requests(explained, "instance").items()
    assert name.startswith("web-")
    assert name.endswith("-app")
    assert (request["memory_mb"], request["vcpus"]) == (65, 2)
    assert request["service_group"] == {"name": "web"}
    [group] = requests(explained, "service group").values()
    assert group["services"] == [
        {"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}
    ]
    [shown] = [one for one in explained["pods"][0]["resources"] if one["kind"] == "instance"]
    reasons = {one["name"]: one["reason"] for one in shown["fields"]}
    assert "limit" in reasons["memory_mb"]


def test_values_of_secrets_are_never_shown():
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys"},
        "stringData": {"password": "hunter2"},
    }
    reference = {"secretKeyRef": {"name": "keys", "key": "password"}}
    container = a_container(
        env=[{"name": "PASSWORD", "valueFrom": reference}],
        args=["--password=$(PASSWORD)"],
        volumeMounts=[{"name": "keys", "mountPath": "/etc/keys"}],
    )
    volume = {"name": "keys", "secret": {"secretName": "keys"}}
    pod = a_pod("web", container, volumes=[volume])
    for output in ("json", "yaml", "table"):
        code, said = explain(secret, pod, output=output)
        assert code == 0
        assert "hunter2" not in str(said)


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (a_pod("web", a_container(image="A B")), "no image reference"),
        (a_pod("web", a_container(resources={"limits": {"memory": "-1"}})), "memory"),
        (a_pod("web", annotations={f"{INSTANCES}ignore": "nobody"}), "nobody"),
        (
            a_pod(
                "web",
                a_container(mounts={"data": "/data"}),
                volumes=[{"name": "data", "hostPath": {"path": "/srv"}}],
            ),
            "hostPath",
        ),
    ],
)
def test_what_would_be_refused_says_why_and_ends_with_1(pod, said):
    code, explained = explain(pod)
    assert code == 1
    refusals = str(explained["pods"][0]["refusals"])
    assert said in refusals


def test_what_has_no_effect_is_a_warning_and_ends_with_0():
    pod = a_pod("web", a_container(securityContext={"runAsUser": 1000}), hostNetwork=True)
    code, explained = explain(pod)
    assert code == 0
    [warning] = explained["pods"][0]["warnings"]
    assert warning["reason"] == "UnsupportedFields"
    assert "hostNetwork" in warning["message"]
    assert "runAsUser" in warning["message"]


def test_claims_are_volumes_and_config_maps_are_files():
    container = a_container(
        volumeMounts=[
            {"name": "data", "mountPath": "/data"},
            {"name": "conf", "mountPath": "/etc/app"},
        ]
    )
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "conf", "configMap": {"name": "settings"}},
    ]
    pod = a_pod("web", container, volumes=volumes, automountServiceAccountToken=False)
    code, explained = explain(a_claim("data", "9.5Mi"), a_config_map(a="1"), pod)
    assert code == 0
    assert explained["volumes"][0]["request"]["size_mb"] == 10
    [request] = requests(explained, "instance").values()
    assert request["volumes"][0]["at"] == "/data"
    assert [rom["at"] for rom in request["roms"]] == ["/etc/app"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [", "YAML"), ("- 1", "no Kubernetes object"), ("kind: Pod", "metadata.name")],
)
def test_unusable_input_ends_with_2_and_one_sentence(text, said):
    done = CliRunner().invoke(main, ["explain", "-f", "-"], input=text)
    assert done.exit_code == 2
    assert said.lower() in done.output.lower()
    assert "Traceback" not in done.output


async def test_live_pod_is_explained_with_what_is_around_it(tmp_path):
    kubeconfig = tmp_path / "kubeconfig"
    async with trio.open_nursery() as nursery:
        cluster = KubernetesSimulator()
        await nursery.start(cluster.run)
        await nursery.start(serve_cluster, cluster, "127.0.0.1", 0, kubeconfig)
        cluster.create(a_service("web", {443: 8080}))
        cluster.create(a_pod("web", a_container(ports=[8080])))
        arguments = ["explain", "pod/web", "--kubeconfig", str(kubeconfig), "-o", "json"]
        done = await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, arguments))
        nursery.cancel_scope.cancel()
    assert done.exit_code == 0, done.output
    [request] = requests(json.loads(done.stdout), "instance").values()
    assert request["service_group"] == {"name": "web"}

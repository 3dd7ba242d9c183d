"""What each example comes to, in Kubernetes and in the cloud's own listing.

Each looks once, fails with what it saw, and returns True: to be waited for with ``eventually``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.bed.cloud import Cloud, tags
from tests.e2e.bed.daemon import NODE
from tests.e2e.bed.kubectl import Kubectl

EXAMPLES = Path(__file__).parents[3] / "examples"
DOMAIN = "my-app.example.com"


def names(resources: list[dict[str, Any]]) -> set[str]:
    return {item["name"] for item in resources}


def conditions(thing: dict[str, Any]) -> dict[str, str]:
    """Status by condition type."""
    return {item["type"]: item["status"] for item in thing["status"].get("conditions", [])}


def container_statuses(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of init containers too, by name."""
    status = pod["status"]
    every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return {item["name"]: item for item in every}


def pod_is_ready(kubectl: Kubectl, name: str) -> bool:
    pod = kubectl.json("get", "pod", name)
    assert pod is not None, f"there is no Pod {name}"
    assert pod["status"]["phase"] == "Running", pod["status"]
    assert conditions(pod).get("Ready") == "True", pod["status"]
    return True


def instances_match_pods(kubectl: Kubectl, cloud: Cloud) -> bool:
    """One instance for each container of each Pod, tagged for it, and no other."""
    system = kubectl.json("get", "namespace", "kube-system")
    assert system is not None
    wanted = {
        f"{pod['metadata']['name']}-{container['name']}": {
            "kraftlet:cluster": system["metadata"]["uid"],
            "kraftlet:node": NODE,
            "k8s.io:namespace": pod["metadata"]["namespace"],
            "k8s.io:pod": pod["metadata"]["name"],
            "k8s.io:container": container["name"],
            "k8s.io:uid": pod["metadata"]["uid"],
        }
        for pod in kubectl.items("pods")
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    }
    found = {name: tags(instance) for name, instance in cloud.instances().items()}
    notes = {"kraftlet:spec", "kraftlet:content", "kraftlet:renewal", "kraftlet:console"}
    assert {
        name: {key: value for key, value in there.items() if key not in notes}
        for name, there in found.items()
    } == wanted
    return True


def simple_app(kubectl: Kubectl, cloud: Cloud, *, replicas: int = 3) -> bool:
    deployment = kubectl.json("get", "deployment", "web")
    assert conditions(deployment).get("Available") == "True", deployment["status"]
    assert deployment["status"].get("availableReplicas") == replicas, deployment["status"]
    assert len(kubectl.items("pods")) == replicas
    instances_match_pods(kubectl, cloud)
    instances = cloud.instances()
    # Nobody talks to them, so they sleep from their second second on.
    assert {instance["state"] for instance in instances.values()} <= {"running", "standby"}
    assert set(cloud.service_groups()) == {"web"}
    group = cloud.service_groups()["web"]
    assert published(group) == {(443, 8080, frozenset({"tls", "http"}))}
    assert names(group["instances"]) == set(instances)
    assert len(group["domains"]) == 1
    assert not cloud.volumes()
    return True


def published(group: dict[str, Any]) -> set[tuple[int, int, frozenset[str]]]:
    """A service group's ports, with the instances' ports and the handlers."""
    return {
        (service["port"], service["destination_port"], frozenset(service["handlers"]))
        for service in group["services"]
    }


def fqdns(group: dict[str, Any]) -> list[str]:
    return [domain["fqdn"].rstrip(".") for domain in group["domains"]]


def claim_is_bound(kubectl: Kubectl, cloud: Cloud) -> bool:
    """The claim my-claim, its PersistentVolume and its volume."""
    claim = kubectl.json("get", "persistentvolumeclaim", "my-claim")
    assert claim["status"]["phase"] == "Bound", claim["status"]
    assert claim["status"]["capacity"] == {"storage": "10Mi"}
    (volume,) = kubectl.items("persistentvolumes")
    assert volume["metadata"]["name"] == f"pv-{claim['metadata']['uid']}"
    assert volume["spec"]["claimRef"]["name"] == "my-claim"
    assert volume["spec"]["storageClassName"] == "ukc-volume"
    assert volume["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert volume["status"]["phase"] == "Bound"
    assert set(cloud.volumes()) == {"my-claim"}
    assert cloud.volumes()["my-claim"]["size_mb"] == 10
    return True


def stateful_app(kubectl: Kubectl, cloud: Cloud) -> bool:
    claim_is_bound(kubectl, cloud)
    pod_is_ready(kubectl, "stateful-app")
    instances_match_pods(kubectl, cloud)
    volume = cloud.volumes()["my-claim"]
    assert volume["state"] == "mounted"
    assert names(volume["mounted_by"]) == {"stateful-app-app"}
    mounts = cloud.instances()["stateful-app-app"]["volumes"]
    assert [(mount["name"], mount["at"]) for mount in mounts] == [("my-claim", "/data")]
    return True


def multi_container(kubectl: Kubectl, cloud: Cloud) -> bool:
    pod_is_ready(kubectl, "my-pod")
    instances_match_pods(kubectl, cloud)
    groups = cloud.service_groups()
    assert set(groups) == {"my-svc-app", "my-svc-sidecar"}
    app, sidecar = groups["my-svc-app"], groups["my-svc-sidecar"]
    tls = frozenset({"tls"})
    assert published(app) == {(443, 8080, frozenset({"tls", "http"}))}
    assert published(sidecar) == {(9090, 9090, tls), (9091, 9091, tls)}
    assert names(app["instances"]) == {"my-pod-app"}
    assert names(sidecar["instances"]) == {"my-pod-sidecar"}
    assert fqdns(app) == [f"app-{DOMAIN}"]
    assert fqdns(sidecar) == [f"sidecar-{DOMAIN}"]
    return True


def init_containers(kubectl: Kubectl, cloud: Cloud) -> bool:
    pod_is_ready(kubectl, "with-init")
    instances_match_pods(kubectl, cloud)
    states = {name: instance["state"] for name, instance in cloud.instances().items()}
    assert states == {
        "with-init-fetch": "stopped",
        "with-init-migrate": "stopped",
        "with-init-app": states["with-init-app"],
    }
    assert states["with-init-app"] in ("running", "standby")
    # One port and no Service: a group of its own, under a name that the platform makes up.
    (group,) = cloud.service_groups().values()
    assert published(group) == {(443, 8080, frozenset({"tls", "http"}))}
    assert names(group["instances"]) == {"with-init-app"}
    return True


def nothing(kubectl: Kubectl, cloud: Cloud) -> bool:
    """No Pod, no claim, no PersistentVolume and no cloud resource.

    Other namespaces are not the scenarios': Pods of a node that never was end there slowly.
    """
    left = kubectl.items("pods,persistentvolumeclaims,persistentvolumes")
    assert not left, [(item["kind"], item["metadata"]["name"]) for item in left]
    assert cloud.resources() == {}
    return True

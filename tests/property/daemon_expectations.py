"""What the cloud and the Pods' statuses have to be like once nothing goes wrong any more."""

from __future__ import annotations

from collections.abc import Iterable

from tests.manifests import Json
from tests.monitor import TERMINAL
from tests.property.daemon_histories import History
from tests.property.daemon_shapes import CONFIGURED_WRONGLY, RESTLESS, SHAPES
from tests.world import World


def shortcomings(history: History) -> list[str]:
    """In what the world is not yet as its manifests ask for."""
    world = history.world
    found = []
    for deployment in world.cluster.objects("deployments"):
        wanted = deployment["spec"]["replicas"]
        there = [pod for pod in world.pods() if "ownerReferences" in pod["metadata"]]
        if len(there) != wanted:
            found.append(f"{len(there)} replicas instead of {wanted}")
    expected: set[str] = set()
    published: dict[str, dict[int, int | str]] = {}
    for pod in world.pods():
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"]:
            found.append(f"{name} is not gone")
            continue
        found += _status_shortcomings(history, pod)
        for container in _expected_containers(history, pod):
            expected.add(f"{name}-{container}")
        if pod["status"].get("phase") in TERMINAL:
            continue
        for container, (group, ports) in _wanted_groups(world, pod).items():
            published[group] = ports
            if f"{name}-{container}" not in expected:
                continue
            if f"{name}-{container}" not in world.members().get(group, ()):
                found.append(f"{name}-{container} is not in group {group}")
    if world.instances().keys() != expected:
        found.append(f"instances {sorted(world.instances())} instead of {sorted(expected)}")
    for group, ports in published.items():
        if world.published().get(group) != ports:
            found.append(f"group {group} publishes {world.published().get(group)}, not {ports}")
    if _has_claim(world) and world.volumes().keys() != {"data"}:
        found.append(f"volumes {sorted(world.volumes())}")
    for group in world.groups().values():
        for port in group.services:
            if port.handlers != {80: ("http",), 443: ("tls", "http")}.get(port.port, ("tls",)):
                found.append(f"port {port.port} of {group.name} has handlers {port.handlers}")
    return found


def is_restless(history: History) -> bool:
    """Whether the daemon goes on trying something for one of the Pods."""
    return any(
        history.shape(pod) in RESTLESS
        or (history.shape(pod) == "stateful" and not _may_have_claim(history))
        for pod in history.world.pods()
    )


def _expected_containers(history: History, pod: Json) -> Iterable[str]:
    shape = history.shape(pod)
    if shape in CONFIGURED_WRONGLY or (shape == "stateful" and not _may_have_claim(history)):
        # Only what was made while there was a claim for it alone.
        return [
            name.removeprefix(f"{pod['metadata']['name']}-")
            for name, instance in history.world.instances().items()
            if f"k8s.io:uid={pod['metadata']['uid']}" in instance.tags
        ]
    every = [one["name"] for one in (*SHAPES[shape].get("init", ()), *SHAPES[shape]["containers"])]
    if pod["metadata"]["uid"] in history.meddled:
        # Ends that were told are not made up for: init containers, and jobs that are over.
        there = history.world.instances()
        return [
            one
            for one in every
            if f"{pod['metadata']['name']}-{one}" in there
            or (one not in ("fetch", "unpack") and pod["status"].get("phase") not in TERMINAL)
        ]
    return every


def _has_claim(world: World) -> bool:
    """Whether there is one that can be counted on: not one that goes with its last Pod."""
    claims = world.cluster.objects("persistentvolumeclaims")
    return any("deletionTimestamp" not in claim["metadata"] for claim in claims)


def _may_have_claim(history: History) -> bool:
    """A volume is for one instance at a time."""
    rivals = [one for one in history.world.pods() if history.shape(one) == "stateful"]
    return _has_claim(history.world) and len(rivals) == 1


def _status_shortcomings(history: History, pod: Json) -> list[str]:
    name, shape = pod["metadata"]["name"], history.shape(pod)
    world, phase = history.world, pod["status"].get("phase")
    meddled = pod["metadata"]["uid"] in history.meddled
    match shape:
        case "job" | "retried" | "hopeless":
            wanted = "Failed" if shape == "hopeless" else "Succeeded"
            good = phase in TERMINAL if meddled else phase == wanted
        case "crashing":
            good = phase == "Running" and world.container("app", name)["restartCount"] > 0
        case "unpullable":
            good = world.waits_for("app", name) in ("ErrImagePull", "ImagePullBackOff")
        case "unconfigured" | "unmountable":
            good = world.waits_for("app", name) == "CreateContainerConfigError"
        case "oversized":
            good = world.waits_for("app", name) == "CreateContainerError"
        case "stateful" if not _may_have_claim(history):
            good = world.is_ready(name) or world.waits_for("app", name) in (
                "CreateContainerConfigError",
                "CreateContainerError",
            )
        case _:
            good = world.is_ready(name)
    return [] if good else [f"{name} ({shape}) is {phase}, waiting {world.waits_for('app', name)}"]


def _wanted_groups(world: World, pod: Json) -> dict[str, tuple[str, dict[int, int | str]]]:
    """Name and ports of the group of each container that a Service publishes."""
    containers = pod["spec"]["containers"]
    services = sorted(
        (one for one in world.cluster.objects("services") if one["spec"].get("selector")),
        key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]),
    )
    groups = {}
    for container in containers:
        declared = {port["containerPort"] for port in container.get("ports", ())}
        names, ports = [], {}
        for service in services:
            mapped = {
                port["port"]: port["targetPort"]
                for port in service["spec"]["ports"]
                if len(containers) == 1 or port["targetPort"] in declared
            }
            if mapped:
                names.append(service["metadata"]["name"])
                ports = {**mapped, **ports}
        if names:
            alone = len(containers) == 1
            group = names[0] if alone else f"{names[0]}-{container['name']}"
            groups[container["name"]] = (group, ports)
    return groups

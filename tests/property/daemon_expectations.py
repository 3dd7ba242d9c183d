"""What the cloud and the Pods' statuses have to be like once nothing goes wrong any more."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from tests.manifests import Json
from tests.monitor import TERMINAL
from tests.property.daemon_histories import History
from tests.property.daemon_shapes import (
    CONFIGURED_WRONGLY,
    DOMAIN,
    REDIRECT,
    RESTLESS,
    SHAPES,
    SOFT_LIMIT,
)
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
    wanted_groups: dict[str, _Group] = {}
    for pod in world.pods():
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"]:
            found.append(f"{name} is not gone")
            continue
        containers = {f"{name}-{one}" for one in _expected_containers(history, pod)}
        groups = {} if _is_over(pod) else _wanted_groups(world, pod)
        if any(_is_blocked(world, group) for group in groups.values()):
            expected |= containers & world.instances().keys()  # whatever it could be given
            continue
        expected |= containers
        found += _status_shortcomings(history, pod)
        for container, group in groups.items():
            wanted_groups[group.name] = group
            instance = f"{name}-{container}"
            if instance in expected and instance not in world.members().get(group.name, ()):
                found.append(f"{instance} is not in group {group.name}")
    if world.instances().keys() != expected:
        found.append(f"instances {sorted(world.instances())} instead of {sorted(expected)}")
    for group in wanted_groups.values():
        found += _group_shortcomings(world, group)
    found += _volume_shortcomings(history)
    return found


def _volume_shortcomings(history: History) -> list[str]:
    """The claim's, while there is one, and one for each Pod with a volume of its own."""
    volumes = history.world.volumes()
    if _has_claim(history.world) and "data" not in volumes:
        return ["the claim has no volume"]
    own = [
        pod
        for pod in history.world.pods()
        if history.shape(pod) == "scratch" and "deletionTimestamp" not in pod["metadata"]
    ]
    there = len(volumes.keys() - {"data"})
    return [] if there == len(own) else [f"{there} volumes of Pods' own for {len(own)} of them"]


def is_restless(history: History) -> bool:
    """Whether the daemon goes on trying something for one of the Pods."""
    return any(
        history.shape(pod) in RESTLESS
        or (history.shape(pod) == "stateful" and not _may_have_claim(history))
        for pod in history.world.pods()
    )


def _expected_containers(history: History, pod: Json) -> Iterable[str]:
    shape = history.shape(pod)
    if pod["status"].get("phase") == "Succeeded":
        return []  # they are given back to the account's quota
    if shape in {*CONFIGURED_WRONGLY, "shortlived"} or (
        shape == "stateful" and not _may_have_claim(history)
    ):
        # Only what was made in time, or while there was a claim for it alone.
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
            or (one not in ("fetch", "unpack") and not _is_over(pod))
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
        case "shortlived":
            good = phase == "Failed"
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


@attrs.frozen
class _Group:
    """What has to publish a container."""

    name: str
    ports: dict[int, int | str]
    domains: frozenset[str]
    """In full; none leaves the choice to the platform."""
    redirects: bool
    """From port 80 to port 443."""
    soft_limit: int


def _wanted_groups(world: World, pod: Json) -> dict[str, _Group]:
    """The group of each container that a Service publishes."""
    containers = pod["spec"]["containers"]
    services = sorted(
        (one for one in world.cluster.objects("services") if one["spec"].get("selector")),
        key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]),
    )
    groups = {}
    for container in containers:
        alone = len(containers) == 1
        declared = {port["containerPort"] for port in container.get("ports", ())}
        names: list[str] = []
        ports: dict[int, int | str] = {}
        domains = set()
        redirects = False
        soft_limit = 1
        for service in services:
            mapped = {
                port["port"]: port["targetPort"]
                for port in service["spec"]["ports"]
                if alone or port["targetPort"] in declared
            }
            if not mapped:
                continue
            names.append(service["metadata"]["name"])
            ports = {**mapped, **ports}
            asked = service["metadata"].get("annotations", {})
            for domain in filter(None, asked.get(DOMAIN, "").split(",")):
                label = domain if alone else f"{container['name']}-{domain}"
                domains.add(f"{label}.{world.cloud.account.zone}")
            redirects |= REDIRECT in asked
            if soft_limit == 1:
                soft_limit = int(asked.get(SOFT_LIMIT, 1))
        if names:
            name = names[0] if alone else f"{names[0]}-{container['name']}"
            groups[container["name"]] = _Group(
                name, ports, frozenset(domains), redirects and 443 in ports, soft_limit
            )
    return groups


def _group_shortcomings(world: World, group: _Group) -> list[str]:
    present = world.groups().get(group.name)
    if present is None:
        return [f"there is no group {group.name}"]
    found = []
    handlers = {80: ("http",), 443: ("tls", "http")}
    wanted = {port: (to, handlers.get(port, ("tls",))) for port, to in group.ports.items()}
    if group.redirects:
        wanted[80] = (443, ("http", "redirect"))
    there = {one.port: (one.destination_port, one.handlers) for one in present.services}
    if there != wanted:
        found.append(f"group {group.name} publishes {there}, not {wanted}")
    if present.soft_limit != group.soft_limit:
        found.append(f"group {group.name} has {present.soft_limit}, not {group.soft_limit}")
    if group.domains and group.domains != set(present.domains):
        found.append(f"group {group.name} has {present.domains}, not {group.domains}")
    return found


def _is_over(pod: Json) -> bool:
    return pod["status"].get("phase") in TERMINAL


def _is_blocked(world: World, group: _Group) -> bool:
    """Whether a Pod that is over keeps a domain in the group that its instance is in."""
    over = {pod["metadata"]["name"] for pod in world.pods() if _is_over(pod)}
    return any(
        other.name != group.name
        and group.domains & set(other.domains)
        and any(one.name.rpartition("-")[0] in over for one in other.instances.values())
        for other in world.groups().values()
    )

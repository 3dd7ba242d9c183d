"""Histories that a daemon may go through, and what the cloud has to be like after them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import trio
from hypothesis import strategies as st

from kraftlet_trio.simulators.cloud.faults import (
    AnswerHtml,
    AnswerStatus,
    CommitThenDrop,
    Delay,
    DropBefore,
    Effect,
)
from kraftlet_trio.simulators.kubernetes.errors import ApiError
from tests.manifests import Json, a_claim, a_container, a_deployment, a_pod, a_service
from tests.monitor import TERMINAL
from tests.wire import Moment
from tests.world import World

# Shapes of Pods

_MISSING = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "missing", "key": "a"}}}
_STUBBORN = {"terminationGracePeriodSeconds": 5}

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"containers": [a_container()]},
    "web": {"containers": [a_container(ports=[8080])]},
    "pair": {"containers": [a_container(ports=[8080]), a_container("side", ports=[9090])]},
    "stubborn": {"containers": [a_container(image="stubborn", ports=[8080])], **_STUBBORN},
    "prepared": {
        "containers": [a_container(ports=[8080])],
        "init": (a_container("fetch", "fetch"), a_container("unpack", "unpack")),
    },
    "proxied": {
        "containers": [a_container(ports=[8080])],
        "init": (a_container("proxy", restartPolicy="Always"),),
    },
    "stateful": {
        "containers": [a_container(ports=[8080], mounts={"data": "/data"})],
        "claims": {"data": "data"},
    },
    "job": {"containers": [a_container(image="job")], "restartPolicy": "Never"},
    "retried": {"containers": [a_container(image="retried")], "restartPolicy": "OnFailure"},
    "hopeless": {"containers": [a_container(image="failing")], "restartPolicy": "Never"},
    "crashing": {"containers": [a_container(image="failing")]},
    "unpullable": {"containers": [a_container(image="unpullable", ports=[8080])]},
    "unconfigured": {"containers": [a_container(env=[_MISSING])]},
}

SCRIPTS: dict[str, dict[str, Any]] = {
    "stubborn": {"ignores_stop": True},
    "fetch": {"run_seconds": 0.3},
    "unpack": {"run_seconds": 0.3, "exits": (1,)},
    "job": {"run_seconds": 3.0},
    "retried": {"run_seconds": 0.5, "exits": (2, 2)},
    "failing": {"run_seconds": 1.5, "exit_code": 1},
    "unpullable": {"pull": "fail"},
}

_RESTLESS = {"crashing", "unpullable", "unconfigured"}
"""Shapes that make the daemon write again and again."""

DEPLOYMENT = a_deployment("web", replicas=2)

PORTS: list[dict[int, int | str]] = [{443: 8080}, {443: 8080, 80: 9090}, {8443: 8080}, {80: 9090}]


@attrs.define
class History:
    """What happened so far that the expectations depend on."""

    world: World
    shapes: dict[str, str] = attrs.field(factory=dict)
    """Shape of each Pod by its uid."""
    meddled: set[str] = attrs.field(factory=set)
    """Uids of Pods whose instances somebody stopped, ended or deleted."""

    def shape(self, pod: Json) -> str:
        """Pods of the Deployment are of one shape."""
        return self.shapes.get(pod["metadata"]["uid"], "web")

    def instance(self, number: int) -> Any:
        """One of the instances, or None where there is none."""
        every = list(self.world.instances().values())
        return every[number % len(every)] if every else None

    def meddle(self, instance: Any) -> None:
        [uid] = [one for one in instance.tags if one.startswith("k8s.io:uid=")]
        self.meddled.add(uid.partition("=")[2])


# What happens


@attrs.frozen
class CreatePod:
    name: str
    shape: str

    async def happen(self, history: History) -> None:
        fields = dict(SHAPES[self.shape])
        containers = fields.pop("containers")
        pod = a_pod(self.name, *containers, labels={"app": "web"}, **fields)
        if history.world.pod(self.name) is None:
            created = history.world.cluster.create(pod)
            history.shapes[created["metadata"]["uid"]] = self.shape


@attrs.frozen
class DeletePod:
    name: str
    grace_seconds: int | None

    async def happen(self, history: History) -> None:
        history.world.delete(a_pod(self.name), grace_seconds=self.grace_seconds)


@attrs.frozen
class Scale:
    """Bring the Deployment to a number of replicas, whose Pods are like the others named here."""

    replicas: int

    async def happen(self, history: History) -> None:
        try:
            history.world.scale("web", self.replicas)
        except ApiError:  # there is none yet
            history.world.apply(DEPLOYMENT)


@attrs.frozen
class RollOut:
    """Replace the Deployment's Pods by others, step by step."""

    image: str

    async def happen(self, history: History) -> None:
        def change(deployment: Json) -> Json:
            [container] = deployment["spec"]["template"]["spec"]["containers"]
            container["image"] = self.image
            return deployment

        if history.world.cluster.objects("deployments"):
            history.world.cluster.change("deployments", "web", change)


@attrs.frozen
class LoseNode:
    """Somebody deletes the Node object."""

    async def happen(self, history: History) -> None:
        for node in history.world.cluster.objects("nodes"):
            history.world.delete(node)


@attrs.frozen
class PutService:
    name: str
    ports: dict[int, int | str]

    async def happen(self, history: History) -> None:
        service = a_service(self.name, self.ports, app="web")
        try:
            history.world.apply(service)
        except ApiError:  # it is there already
            history.world.cluster.change(
                "services",
                self.name,
                lambda old: {**old, "spec": {**old["spec"], "ports": service["spec"]["ports"]}},
            )


@attrs.frozen
class DeleteService:
    name: str

    async def happen(self, history: History) -> None:
        history.world.delete(a_service(self.name))


@attrs.frozen
class CreateClaim:
    async def happen(self, history: History) -> None:
        if not history.world.cluster.objects("persistentvolumeclaims"):
            history.world.apply(a_claim())


@attrs.frozen
class DeleteClaim:
    async def happen(self, history: History) -> None:
        history.world.delete(a_claim())


@attrs.frozen
class EndInstance:
    """Its application returns by itself."""

    number: int
    exit_code: int

    async def happen(self, history: History) -> None:
        instance = history.instance(self.number)
        if instance is not None and instance.state == "running":
            history.meddle(instance)
            history.world.end(instance.name, self.exit_code)


@attrs.frozen
class StopInstance:
    """The account's owner stops it past the daemon."""

    number: int

    async def happen(self, history: History) -> None:
        if (instance := history.instance(self.number)) is not None:
            history.meddle(instance)
            await history.world.as_account_owner("PUT", f"/v1/instances/{instance.uuid}/stop")


@attrs.frozen
class DeleteInstance:
    """The account's owner deletes it past the daemon."""

    number: int

    async def happen(self, history: History) -> None:
        if (instance := history.instance(self.number)) is not None:
            history.meddle(instance)
            await history.world.as_account_owner("DELETE", f"/v1/instances/{instance.uuid}")


@attrs.frozen
class Misfortune:
    """Some of the next requests to one of the APIs go wrong."""

    api: str
    effect: Effect
    method: str
    times: int

    async def happen(self, history: History) -> None:
        world = history.world
        faults = world.cloud_faults if self.api == "cloud" else world.cluster_faults
        faults.add(self.effect, method=self.method, times=self.times)


@attrs.frozen
class FillQuota:
    async def happen(self, history: History) -> None:
        account = history.world.cloud.account
        account.hard = attrs.evolve(account.hard, instances=len(account.instances))


@attrs.frozen
class FreeQuota:
    async def happen(self, history: History) -> None:
        free_quota(history.world)


@attrs.frozen
class ForgetHistory:
    """Watchers that are not up to date get 410."""

    async def happen(self, history: History) -> None:
        history.world.cluster.expire_history()


@attrs.frozen
class Die:
    """The daemon dies at one of its next writes, and is started again after a while."""

    count: int
    moment: Moment
    away_seconds: float

    async def happen(self, history: History) -> None:
        world = history.world
        assert world.life is not None
        world.restart_seconds = self.away_seconds
        world.life.kill_moment = self.moment
        world.life.kill_at = world.life.writes + self.count


@attrs.frozen
class Pass:
    seconds: float

    async def happen(self, _history: History) -> None:
        await trio.sleep(self.seconds)


NAMES = st.sampled_from(["one", "two", "three"])
SERVICES = st.sampled_from(["web", "shop"])
EFFECTS: list[Effect] = [
    DropBefore(),
    CommitThenDrop(),
    AnswerStatus(500),
    AnswerStatus(429, headers={"retry-after": "2"}),
    AnswerHtml(502),
    Delay(0.4),
    Delay(6),
]


def happenings() -> st.SearchStrategy[Any]:
    numbers = st.integers(0, 5)
    return st.one_of(
        st.builds(CreatePod, NAMES, st.sampled_from(sorted(SHAPES))),
        st.builds(CreatePod, NAMES, st.sampled_from(sorted(SHAPES))),
        st.builds(DeletePod, NAMES, st.sampled_from([None, 0, 2])),
        st.builds(Scale, st.integers(0, 3)),
        st.builds(RollOut, st.sampled_from(["nginx:1", "nginx:2"])),
        st.builds(LoseNode),
        st.builds(PutService, SERVICES, st.sampled_from(PORTS)),
        st.builds(DeleteService, SERVICES),
        st.builds(CreateClaim),
        st.builds(DeleteClaim),
        st.builds(EndInstance, numbers, st.sampled_from([0, 1])),
        st.builds(StopInstance, numbers),
        st.builds(DeleteInstance, numbers),
        st.builds(
            Misfortune,
            st.sampled_from(["cloud", "cluster"]),
            st.sampled_from(EFFECTS),
            st.sampled_from(["GET", "POST", "PUT|PATCH", "DELETE", ".*"]),
            st.integers(1, 6),
        ),
        st.builds(FillQuota),
        st.builds(FreeQuota),
        st.builds(ForgetHistory),
        st.builds(
            Die, st.integers(1, 6), st.sampled_from(Moment), st.sampled_from([0.0, 1.0, 20.0])
        ),
        st.builds(Pass, st.sampled_from([0.01, 0.06, 0.3, 1.0, 4.0, 15.0, 60.0])),
        st.builds(Pass, st.sampled_from([0.01, 0.06, 0.3, 1.0, 4.0, 15.0, 60.0])),
    )


# What has to be true once it heals


def free_quota(world: World) -> None:
    world.cloud.account.hard = attrs.evolve(world.cloud.account.hard, instances=64)


def heal(world: World) -> None:
    """Nothing goes wrong any more."""
    world.cloud_faults.clear()
    world.cluster_faults.clear()
    free_quota(world)
    assert world.life is not None
    world.life.kill_at = float("inf")
    world.restart_seconds = 1.0


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
    return found


def is_restless(history: History) -> bool:
    """Whether the daemon goes on trying something for one of the Pods."""
    return any(
        history.shape(pod) in _RESTLESS
        or (history.shape(pod) == "stateful" and not _may_have_claim(history))
        for pod in history.world.pods()
    )


def _expected_containers(history: History, pod: Json) -> Iterable[str]:
    shape = history.shape(pod)
    if shape == "unconfigured" or (shape == "stateful" and not _may_have_claim(history)):
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
        case "unconfigured":
            good = world.waits_for("app", name) == "CreateContainerConfigError"
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

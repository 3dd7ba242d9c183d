"""Histories that a daemon may go through: what users, the platform and the network do to it."""

from __future__ import annotations

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
    Duplicate,
    Effect,
    Truncate,
    Unfamiliar,
)
from kraftlet_trio.simulators.kubernetes.errors import ApiError
from tests.manifests import Json, a_claim, a_pod, a_service
from tests.property.daemon_shapes import DEPLOYMENT, PORTS, SERVICE_ANNOTATIONS, SHAPES
from tests.wire import LateAnswer, Moment
from tests.world import World


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
class SetImage:
    """Give the first container of a Pod another image, where it runs for ever."""

    name: str
    image: str

    async def happen(self, history: History) -> None:
        def change(pod: Json) -> Json:
            pod["spec"]["containers"][0]["image"] = self.image
            return pod

        pod = history.world.pod(self.name)
        if pod is not None and history.shape(pod) in ("plain", "web", "pair", "scratch"):
            history.world.cluster.change("pods", self.name, change)


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
    annotations: dict[str, str]

    async def happen(self, history: History) -> None:
        service = a_service(self.name, self.ports, app="web", annotations=self.annotations)

        def change(old: Json) -> Json:
            old["spec"]["ports"] = service["spec"]["ports"]
            old["metadata"]["annotations"] = dict(self.annotations)
            return old

        try:
            history.world.apply(service)
        except ApiError:  # it is there already
            history.world.cluster.change("services", self.name, change)


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
    effect: Effect | LateAnswer
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
EFFECTS: list[Effect | LateAnswer] = [
    DropBefore(),
    CommitThenDrop(),
    AnswerStatus(500),
    AnswerStatus(429, headers={"retry-after": "2"}),
    AnswerHtml(502),
    Delay(0.4),
    Delay(6),
    Duplicate(),
    Truncate(),
    Unfamiliar(),
    LateAnswer(0.4),
    LateAnswer(6),
]


def happenings() -> st.SearchStrategy[Any]:
    numbers = st.integers(0, 5)
    return st.one_of(
        st.builds(CreatePod, NAMES, st.sampled_from(sorted(SHAPES))),
        st.builds(CreatePod, NAMES, st.sampled_from(sorted(SHAPES))),
        st.builds(DeletePod, NAMES, st.sampled_from([None, 0, 2])),
        st.builds(Scale, st.integers(0, 3)),
        st.builds(RollOut, st.sampled_from(["nginx:1", "nginx:2"])),
        st.builds(SetImage, NAMES, st.sampled_from(["nginx:1", "nginx:2"])),
        st.builds(LoseNode),
        st.builds(
            PutService, SERVICES, st.sampled_from(PORTS), st.sampled_from(SERVICE_ANNOTATIONS)
        ),
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

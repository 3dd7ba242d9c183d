"""The words between deciding and doing: what is observed, remembered, and to be done for a Pod."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.pod import Pod, PodStatus
from kraftlet_trio.mapping.container_status import Held, RunsTold, Trouble


@attrs.frozen
class RecordOwnership:
    """Put the finalizer on the Pod and note its service groups there, before they are created."""

    groups: frozenset[str]

    @property
    def key(self) -> str:
        return "own"


@attrs.frozen
class CreateInstance:
    container: str

    @property
    def key(self) -> str:
        return f"run {self.container}"


@attrs.frozen
class StartInstance:
    container: str
    uuid: str
    restart: bool
    """A run of this container came before."""

    @property
    def key(self) -> str:
        return f"run {self.container}"


@attrs.frozen
class StopInstance:
    container: str
    uuid: str
    drain_seconds: float

    @property
    def key(self) -> str:
        return f"stop {self.container}"


@attrs.frozen
class DeleteInstance:
    """Delete it, by force where it still runs."""

    container: str
    uuid: str

    @property
    def key(self) -> str:
        return f"delete {self.container}"


@attrs.frozen
class LookUpInstances:
    """Read the instances by name: one may exist whose creation was never answered."""

    containers: frozenset[str]

    @property
    def key(self) -> str:
        return "look up"


@attrs.frozen
class LetGo:
    """Take the finalizer off, and confirm the deletion to the API server."""

    @property
    def key(self) -> str:
        return "let go"


Step = (
    RecordOwnership
    | CreateInstance
    | StartInstance
    | StopInstance
    | DeleteInstance
    | LookUpInstances
    | LetGo
)


@attrs.frozen(kw_only=True)
class Observed:
    """What both APIs say of a Pod."""

    pod: Pod
    """As last seen."""
    vanished: bool = False
    """No longer in the API server, whoever took it away."""
    owned: bool = False
    """Carries the finalizer, or finalizers are switched off."""
    autostart: bool = True
    recorded_groups: frozenset[str] = frozenset()
    """Service groups noted on the Pod."""
    wanted_groups: Mapping[str, str] = attrs.field(factory=dict)
    """Name of the service group a container's instance has to join, where it has to."""
    ready_groups: frozenset[str] = frozenset()
    """Those of the wanted ones that exist in the cloud."""
    group_troubles: Mapping[str, str] = attrs.field(factory=dict)
    """What keeps a wanted group from existing."""
    claim_troubles: Mapping[str, str] = attrs.field(factory=dict)
    """What is wrong with a claim that a container mounts, by container name."""
    groups_released: bool = False
    """No service group is left in the cloud for this Pod's sake."""
    instances: Mapping[str, Instance] = attrs.field(factory=dict)
    """By container name."""
    surplus: tuple[Instance, ...] = ()
    """Instances of this Pod that stand for no container of it."""


@attrs.frozen(kw_only=True)
class Failure:
    """A step that failed, and when it may be tried again."""

    trouble: Trouble
    attempts: int
    retry_at: datetime


@attrs.frozen(kw_only=True)
class BackOff:
    """Kubelet's crash back-off of one container."""

    seconds: float
    """How long after an end the next run may begin."""
    bumped_at: datetime


@attrs.define(kw_only=True)
class Memory:
    """The little about a Pod that neither API keeps; a restart of the daemon rebuilds it."""

    reported: PodStatus | None = None
    """The status last written, ahead of the informer."""
    failures: dict[str, Failure] = attrs.field(factory=dict)
    """By step key."""
    back_offs: dict[str, BackOff] = attrs.field(factory=dict)
    """By container name."""
    restarted: dict[str, RunsTold] = attrs.field(factory=dict)
    """By container name: what was reported of its runs when it was last started again."""
    stop_asked: set[str] = attrs.field(factory=set)
    """Instances (uuids) told to stop."""
    stopping_since: datetime | None = None
    uncertain: set[str] = attrs.field(factory=set)
    """Containers whose instance may exist unseen: its creation went unanswered."""
    let_go: bool = False


@attrs.frozen(kw_only=True)
class Plan:
    """What to do now, side by side, and what the status should say."""

    steps: tuple[Step, ...] = ()
    held: Mapping[str, Held] = attrs.field(factory=dict)
    report: bool = True
    """Whether a status is to be written where it differs from the one reported."""
    stopped_for_good: bool = False
    watch: frozenset[str] = frozenset()
    """Instances (uuids) in transition, to be read often."""
    wake_at: datetime | None = None
    """When to look again although nothing rang."""
    finished: bool = False
    """Nothing is left to tend."""

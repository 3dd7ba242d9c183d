"""The words between deciding and doing: what is observed, remembered, and to be done for a Pod."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.kubernetes.pod import Pod, PodStatus
from kraftlet_trio.mapping.annotations import Refresh
from kraftlet_trio.mapping.container_state import RunKey
from kraftlet_trio.mapping.container_status import Held, RunsTold, Trouble
from kraftlet_trio.mapping.instance_updates import SpecHash
from kraftlet_trio.mapping.pod_status import PodFailure
from kraftlet_trio.pods.admission import Refusal
from kraftlet_trio.pods.hooks import HookKind, HookState
from kraftlet_trio.pods.probed_run import Verdict


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
class UpdateInstance:
    """Give it what its container asks for now: image, size, environment, files.

    One that runs takes most of it over when it next stops.
    """

    container: str
    uuid: str

    @property
    def key(self) -> str:
        return f"update {self.container}"


@attrs.frozen
class StartHook:
    """Begin its container's ``postStart`` or ``preStop`` hook, in this run of it."""

    kind: HookKind
    container: str
    uuid: str
    seconds: float | None = None
    """How long it may take; None: as long as the container runs."""

    @property
    def key(self) -> str:
        return f"{self.kind} {self.container}"


@attrs.frozen
class StopInstance:
    container: str
    uuid: str
    drain_seconds: float
    why: str = ""
    """Ends the sentence of the event, after the container's name."""
    force: bool = False
    """It did not stop in time: kill it."""
    again: bool = False
    """It is to run again with something new."""

    @property
    def key(self) -> str:
        return f"stop {self.container}"


@attrs.frozen
class ReadLastWords:
    """Read the end of its console, which becomes the message of its end."""

    container: str
    uuid: str

    @property
    def key(self) -> str:
        return f"read {self.container}"


@attrs.frozen
class ClearAway:
    """Delete the instance of a container that is done for good, but keep what it wrote."""

    container: str
    uuid: str

    @property
    def key(self) -> str:
        return f"delete {self.container}"


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
class DeleteVolumes:
    """Delete the volumes that were made for this Pod alone."""

    @property
    def key(self) -> str:
        return "delete volumes"


@attrs.frozen
class Annotate:
    """Write these annotations on the Pod; None takes one off."""

    annotations: Mapping[str, str | None]

    @property
    def key(self) -> str:
        return "annotate"


@attrs.frozen
class Reclaim:
    """Delete the Pod itself, so that its controller makes another one elsewhere."""

    @property
    def key(self) -> str:
        return "reclaim"


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
    | UpdateInstance
    | StartHook
    | StopInstance
    | ReadLastWords
    | DeleteInstance
    | ClearAway
    | LookUpInstances
    | DeleteVolumes
    | Annotate
    | Reclaim
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
    own_volumes: bool = False
    """Some of its volumes are made for it alone."""
    ignored: frozenset[str] = frozenset()
    """Containers that are none of this node's business, by annotation."""
    blocked: str = ""
    """Why no container can be made an instance until the Pod is changed."""
    refusal: Refusal | None = None
    """Why this node does not take the Pod."""
    refresh: Refresh = Refresh.OFF
    """What becomes of a running container when the content of its files changes."""
    reclaims: bool = False
    """It is to be deleted once the quota keeps it from running."""
    annotations: Mapping[str, str | None] = attrs.field(factory=dict)
    """Those to be written on the Pod, where they differ from what it has."""
    specs: Mapping[str, SpecHash] = attrs.field(factory=dict)
    """What containers ask for of that which may change while they run."""
    verdicts: Mapping[str, Verdict] = attrs.field(factory=dict)
    """What the probes say of the present run, by container name."""
    hooks: Mapping[tuple[HookKind, str], HookState] = attrs.field(factory=dict)
    """Hooks begun in the present run, by container name."""
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
    configuration: bool = False
    """It lasts until an object is changed."""


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
    stop_forced: set[str] = attrs.field(factory=set)
    """Instances (uuids) told to stop at once."""
    stop_begun: dict[str, datetime] = attrs.field(factory=dict)
    """When stopping an instance (uuid) began, be it with a hook, while its Pod lives on."""
    restarting: set[str] = attrs.field(factory=set)
    """Containers that were stopped only to run again with something new: no back-off for these."""
    to_refresh: set[str] = attrs.field(factory=set)
    """Containers to be looked at because something that they refer to changed."""
    last_words: dict[RunKey, str] = attrs.field(factory=dict)
    """The end of the console of runs that are over."""
    quota_refusals: dict[str, str] = attrs.field(factory=dict)
    """What the platform said to containers that it has no room for."""
    volumes_deleted: bool = False
    stopping_since: datetime | None = None
    uncertain: set[str] = attrs.field(factory=set)
    """Containers whose instance may exist unseen: its creation went unanswered."""
    let_go: bool = False

    def forget_stop(self, uuid: str) -> None:
        """The instance runs again, or is gone."""
        self.stop_asked.discard(uuid)
        self.stop_forced.discard(uuid)
        self.stop_begun.pop(uuid, None)


@attrs.frozen(kw_only=True)
class Plan:
    """What to do now, side by side, and what the status should say."""

    steps: tuple[Step, ...] = ()
    held: Mapping[str, Held] = attrs.field(factory=dict)
    report: bool = True
    """Whether a status is to be written where it differs from the one reported."""
    stopped_for_good: bool = False
    failure: PodFailure | None = None
    """Makes the Pod ``Failed`` once nothing of it runs."""
    watch: frozenset[str] = frozenset()
    """Instances (uuids) in transition, to be read often."""
    wake_at: datetime | None = None
    """When to look again although nothing rang."""
    finished: bool = False
    """Nothing is left to tend."""

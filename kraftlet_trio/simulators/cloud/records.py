"""The resources of the simulated account, as mutable records that refer to each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import attrs
import trio

from kraftlet_trio.cloud.objects import (
    DRAINING,
    RUNNING,
    STANDBY,
    STARTING,
    STOP_SCALE_TO_ZERO,
    STOPPING,
    ScaleToZero,
    Service,
)
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.simulators.cloud.actions import Action
from kraftlet_trio.simulators.cloud.certificate_files import CertificateIdentity
from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.images import ImageName
from kraftlet_trio.simulators.cloud.logs import Log
from kraftlet_trio.simulators.cloud.operations import Operation
from kraftlet_trio.simulators.cloud.stops import Stop
from kraftlet_trio.simulators.cloud.traffic import Traffic

LIVE_STATES = frozenset({STARTING, RUNNING, DRAINING, STOPPING})
"""Those that count against the live quotas (platform reference, instance states)."""


@attrs.define(eq=False, kw_only=True)
class Volume:
    uuid: str
    name: str
    created_at: datetime
    formatted_at: float
    """On Trio's clock; ``initializing`` until then."""
    size_mb: int
    persistent: bool
    """False for a volume that came with its instance and goes with it."""
    quota_policy: str = "static"
    filesystem: str = "ext4"
    access_mode: str = "rwo"
    tags: tuple[str, ...] = ()
    delete_lock: bool = False
    filesystem_args: dict[str, str] = attrs.field(factory=dict)
    """For a site's own file systems; kept to be shown."""
    host_path: str = ""
    """Of a managed volume: the directory of the machine that it is."""
    uid: int = 0
    gid: int = 0
    is_template: bool = False
    attachments: dict[str, Attachment] = attrs.field(factory=dict)
    """By the instance's UUID."""
    busy_until: float = 0.0
    """On Trio's clock: an instance that used it is still being cleaned up, or it is cloned."""

    @property
    def mounted_by(self) -> list[Attachment]:
        return [
            each
            for each in self.attachments.values()
            if each.instance.holds_mounts and not each.attaching
        ]

    @property
    def state(self) -> str:
        if self.is_template:
            return "template"
        if self.mounted_by:
            return "mounted"
        if self.attachments:
            return "idle"
        now = trio.current_time()
        if now < self.formatted_at:
            return "initializing"
        return "busy" if now < self.busy_until else "available"


@attrs.define(eq=False, kw_only=True)
class Attachment:
    """A volume's place in an instance."""

    volume: Volume
    instance: Instance
    at: str
    readonly: bool
    attaching: bool = False
    """Accepted while the instance ran: not in effect until it rests."""
    detaching: bool = False
    """Likewise, until it is stopped for good."""


@attrs.define(eq=False, kw_only=True)
class Certificate:
    uuid: str
    name: str
    created_at: datetime
    common_name: str
    """Without a trailing dot."""
    requested: bool
    """By the platform itself, for a domain; not uploaded."""
    issued_at: float
    """On Trio's clock; ``pending`` until then."""
    fails: bool = False
    """Whether the request ends in an error instead."""
    identity: CertificateIdentity | None = None
    """What was read from an upload; None for a requested one."""

    @property
    def state(self) -> str:
        if trio.current_time() < self.issued_at:
            return "pending"
        return "error" if self.fails else "valid"


@attrs.define(eq=False, kw_only=True)
class ServiceGroup:
    uuid: str
    name: str
    created_at: datetime
    persistent: bool
    """False for a group that came with an instance and goes with its last one."""
    services: tuple[Service, ...]
    domains: tuple[str, ...]
    """In full, without a trailing dot."""
    certificates: dict[str, Certificate] = attrs.field(factory=dict)
    """By domain, for those that have one."""
    autokill_ms: int = 0
    """Deleted so long after it became empty; 0 for never."""
    empty_since: float | None = None
    """On Trio's clock."""
    soft_limit: int = 1
    hard_limit: int = 65535
    instances: dict[str, Instance] = attrs.field(factory=dict)
    """By UUID, in the order they joined."""
    busy_until: float = 0.0
    """On Trio's clock: an instance that used it is still being cleaned up."""


@attrs.define(eq=False, kw_only=True)
class Pin:
    """An image that is kept on the node."""

    uuid: str
    name: str
    created_at: datetime
    image: ImageName
    url: str


@attrs.frozen
class Autokill:
    """When a resource goes by itself; zeros for never."""

    time_ms: int = 0
    num_requests: int = 0
    """Served by an instance."""


@attrs.frozen
class Ancestor:
    """A checkpoint in an instance's lineage, which may be gone by now."""

    uuid: str
    name: str
    created_at: datetime


@attrs.define(eq=False, kw_only=True)
class Update:
    """A change that waits until its instance stops, or that failed then."""

    operation: Operation
    error: str = ""


@attrs.define(eq=False, kw_only=True)
class Restart:
    """Where an instance stands in its sequence of restarts."""

    attempt: int
    next_at: datetime


@attrs.define(eq=False, kw_only=True)
class Instance:
    uuid: str
    name: str
    created_at: datetime
    image: ImageName
    memory_mb: int
    vcpus: int
    private_ip: str
    log: Log
    args: tuple[str, ...] | None = None
    """None: those of the image."""
    env: dict[str, str] = attrs.field(factory=dict)
    restart_policy: str = "never"
    scale_to_zero: ScaleToZero = attrs.field(factory=ScaleToZero)
    service_group: ServiceGroup | None = None
    attachments: list[Attachment] = attrs.field(factory=list)
    roms: tuple[dict[str, Any], ...] = ()
    plugins: tuple[dict[str, Any], ...] = ()
    tags: tuple[str, ...] = ()
    annotations: dict[str, str] = attrs.field(factory=dict)
    features: tuple[str, ...] = ()
    hostname: str = ""
    """Empty: the name."""
    delete_lock: bool = False
    schedules: tuple[dict[str, Any], ...] = ()
    autokill: Autokill = Autokill()
    """For a template or checkpoint, its own: time counts from its last use."""
    idle_since: float | None = None
    """On Trio's clock: when it stopped, or as a template or checkpoint was last used."""
    dependencies: tuple[str, ...] = ()
    """UUIDs."""
    gateway: str = ""
    nameserver: str = ""
    lineage: tuple[Ancestor, ...] = ()
    """Newest first."""
    template_seconds: float | None = None
    """How long it took to become a template."""
    retained_until: datetime | None = None
    """Set once it is deleted, where the platform retains such instances."""

    state: str
    action: Action = attrs.field(factory=lambda: Action("start", "api"))
    """What moves it, or moved it last."""
    stop: Stop = attrs.field(factory=Stop)
    stop_known_at: float = 0.0
    """On Trio's clock; until then reads do not show it."""
    start_count: int = 0
    restart_count: int = 0
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    woken_at: float | None = None
    """On Trio's clock: when it was told to leave standby, until it runs."""
    booted_at: float | None = None
    """On Trio's clock, while it runs."""
    uptime_seconds: float = 0.0
    """Of all finished runs."""
    boot_seconds: float | None = None
    silent_seconds: float = 0.0
    """How long after its boot its application takes to listen."""
    restart: Restart | None = None
    traffic: Traffic = attrs.field(factory=Traffic)
    updates: list[Update] = attrs.field(factory=list)
    deleted: bool = False
    changed: trio.Event = attrs.field(factory=trio.Event)
    """Set, and replaced by a new one, at each change of state and at deletion."""

    @property
    def is_live(self) -> bool:
        return self.state in LIVE_STATES

    @property
    def holds_mounts(self) -> bool:
        """Standby counts: it keeps its volumes mounted."""
        return self.is_live or self.state == STANDBY

    @property
    def is_falling_asleep(self) -> bool:
        """On its way to standby, from where it can be woken."""
        return self.state == STOPPING and bool((self.stop.reason or 0) & STOP_SCALE_TO_ZERO)

    def notify(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Record(Protocol):
    uuid: str
    name: str


R = TypeVar("R", bound=Record)


class Collection(Generic[R]):
    """Records of one kind in the order of their creation, by UUID and by name."""

    def __init__(self, kind: str, account_changed: Doorbell) -> None:
        self._account_changed = account_changed
        self.kind = kind
        """As messages call it."""
        self.changed = Doorbell()
        r"""Rung when a record comes, goes or is touched."""
        self._by_uuid: dict[str, R] = {}
        self._by_name: dict[str, R] = {}

    def __iter__(self) -> Iterator[R]:
        return iter(self._by_uuid.values())

    def __len__(self) -> int:
        return len(self._by_uuid)

    def __contains__(self, uuid: str) -> bool:
        return uuid in self._by_uuid

    def has_name(self, name: str) -> bool:
        return name in self._by_name

    def check_free(self, name: str) -> None:
        if name in self._by_name:
            raise ItemError(
                ErrorCode.ALREADY_EXISTS, f"{self.kind.capitalize()} '{name}' already exists"
            )

    def add(self, record: R) -> None:
        self._by_uuid[record.uuid] = record
        self._by_name[record.name] = record
        self.touch()

    def remove(self, record: R) -> None:
        del self._by_uuid[record.uuid]
        del self._by_name[record.name]
        self.touch()

    def touch(self) -> None:
        """One of the records was changed."""
        self.changed.ring()
        self._account_changed.ring()

    def find(self, identifier: Identifier) -> R:
        """Raises ``ItemError``: not found."""
        found = (
            self._by_uuid.get(identifier.uuid)
            if identifier.uuid
            else self._by_name.get(identifier.name)
        )
        if found is None:
            raise ItemError(ErrorCode.NOT_FOUND, f"No {self.kind} with {identifier}")
        return found

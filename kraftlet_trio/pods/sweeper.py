"""Orphans: what is left in the cloud of Pods that are no more.

A Pod's finalizer keeps it until all that was made for it is gone. Orphans come about where that
cannot help: a creation that the platform commits long after it went unanswered, a finalizer that
somebody took off, or that is switched off. So whatever bears the tags of this node of this cluster
and the uid of a Pod is looked at now and then. One whose Pod has been missing for the whole grace
time goes, once the API server itself, asked for all Pods of the node, does not know of the Pod
either: neither our own view nor a failed question ever counts as absence.

The claims' volumes are not the sweeper's business. Service groups bear no tags, so their owner
cannot be proven: only one that an orphan was in is given up, and deleted if nobody else is in it,
just as at a Pod's regular end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Never

import attrs
import structlog
import trio

from kraftlet_trio.cloud.errors import CloudError, ResourceNotFound
from kraftlet_trio.cloud.objects import (
    DRAINING,
    RUNNING,
    STANDBY,
    STARTING,
    STOPPED,
    STOPPING,
    Instance,
    Volume,
)
from kraftlet_trio.kubernetes.errors import KubernetesError
from kraftlet_trio.kubernetes.events import EventType
from kraftlet_trio.kubernetes.objects import ObjectMeta, ObjectReference
from kraftlet_trio.kubernetes.pod import PodUID
from kraftlet_trio.kubernetes.resources import Resource
from kraftlet_trio.mapping.container_state import is_alive
from kraftlet_trio.mapping.names import pod_uid_of, pod_uid_tag, pod_volume_of
from kraftlet_trio.pods.context import PodContext

log = structlog.get_logger()

_LOOKS_A_GRACE = 5
_LONGEST_PAUSE_SECONDS = 60.0
_DRAIN_SECONDS = 30.0
"""What an orphan that runs is given to end by itself, as much as a Pod is by default."""

_STATES = (STARTING, RUNNING, DRAINING, STOPPING, STOPPED, STANDBY)
"""Of instances proper. One that was made a template keeps its tags, and is somebody's now."""


@attrs.frozen(kw_only=True)
class SweeperSettings:
    grace_seconds: float = 300.0
    """How long a Pod has to be missing before what is left of it goes."""
    dry_run: bool = False
    """Only say what would go."""


@attrs.frozen
class _Identity:
    """A Pod, of which no more is read, so that none is missed for the rest of it."""

    metadata: ObjectMeta


_POD_IDENTITIES = Resource(_Identity, "api/v1", "pods", "Pod", namespaced=True)


@attrs.frozen
class _Orphan:
    resource: Instance | Volume
    pod_uid: str
    """As the tag has it."""

    @property
    def kind(self) -> Literal["instance", "volume"]:
        return "instance" if isinstance(self.resource, Instance) else "volume"

    def __str__(self) -> str:
        return f"{self.kind} {self.resource.name} ({self.resource.uuid}) of Pod uid {self.pod_uid}"


async def run_sweeper(context: PodContext, settings: SweeperSettings) -> Never:
    """Look for orphans, and remove them, until cancelled. Failures are logged, never raised."""
    sweeper = _Sweeper(context, settings)
    while True:
        await trio.sleep(min(settings.grace_seconds / _LOOKS_A_GRACE, _LONGEST_PAUSE_SECONDS))
        try:
            await sweeper.sweep()
        except (CloudError, KubernetesError) as error:
            log.info("orphans cannot be looked for", error=str(error))


@attrs.define
class _Sweeper:
    _context: PodContext
    _settings: SweeperSettings
    _seen_since: dict[str, float] = attrs.field(factory=dict, init=False)
    """By uuid: Trio's time from which on it was an orphan at every look."""
    _stopping_since: dict[str, float] = attrs.field(factory=dict, init=False)
    """By uuid of an instance: when it was told to stop."""
    _told: set[tuple[str, str]] = attrs.field(factory=set, init=False)
    """Reasons of events, by uuid, so that each is told once."""

    async def sweep(self) -> None:
        """Look once. Raises ``CloudError`` or ``KubernetesError`` where that fails."""
        now = trio.current_time()
        found = [*self._instances(), *self._volumes(await self._all_volumes())]
        self._forget_all_but({orphan.resource.uuid for orphan in found})
        for kind in ("instance", "volume"):
            count = sum(orphan.kind == kind for orphan in found)
            self._context.metrics.orphans[kind] = count
        due = []
        for orphan in found:
            since = self._seen_since.setdefault(orphan.resource.uuid, now)
            if now - since >= self._settings.grace_seconds:
                due.append(orphan)
        if not due:
            return
        present = await self._context.kubernetes.list(
            _POD_IDENTITIES, field_selector=f"spec.nodeName={self._context.settings.node_name}"
        )
        living = {pod_uid_tag(pod.metadata.uid) for pod in present.items}
        for orphan in due:
            if pod_uid_tag(orphan.pod_uid) in living:
                del self._seen_since[orphan.resource.uuid]
            else:
                await self._sweep_away(orphan)

    def _instances(self) -> Iterator[_Orphan]:
        for instance in self._context.feed.instances.values():
            if instance.state in _STATES and (uid := self._missing_pod(instance.tags)):
                yield _Orphan(instance, uid)

    async def _all_volumes(self) -> list[Volume]:
        return await self._context.cloud.list_volumes(tags=self._context.owner.tags)

    def _volumes(self, volumes: list[Volume]) -> Iterator[_Orphan]:
        for volume in volumes:
            if pod_volume_of(volume.tags) is not None and (uid := self._missing_pod(volume.tags)):
                yield _Orphan(volume, uid)

    def _missing_pod(self, tags: tuple[str, ...]) -> str | None:
        uid = pod_uid_of(tags)
        return uid if uid and self._context.pods.get(uid) is None else None

    def _forget_all_but(self, uuids: set[str]) -> None:
        self._seen_since = {key: at for key, at in self._seen_since.items() if key in uuids}
        self._stopping_since = {key: at for key, at in self._stopping_since.items() if key in uuids}
        self._told = {(uuid, reason) for uuid, reason in self._told if uuid in uuids}

    async def _sweep_away(self, orphan: _Orphan) -> None:
        if orphan.resource.delete_lock:
            self._tell(orphan, "Warning", "OrphanLocked", "stays: unlock it to have it deleted")
        elif self._settings.dry_run:
            self._tell(
                orphan,
                "Normal",
                "OrphanFound",
                "would be deleted, but KRAFTLET_ORPHAN_SWEEP is dry-run",
            )
        else:
            try:
                await self._remove(orphan)
            except CloudError as error:
                log.warning("orphan not removed", orphan=str(orphan), error=str(error))

    async def _remove(self, orphan: _Orphan) -> None:
        cloud, uuid = self._context.cloud, orphan.resource.uuid
        match orphan.resource:
            case Volume():
                await cloud.delete_volume(uuid)
            case Instance() as instance:
                if is_alive(instance) and not await self._is_drained(instance):
                    return
                await cloud.delete_instance(uuid)
                self._context.feed.forget(uuid)
                if instance.service_group is not None:
                    self._context.groups.let_go(PodUID(orphan.pod_uid), instance.service_group.name)
        self._context.metrics.orphans_deleted.inc(orphan.kind)
        self._tell(orphan, "Normal", "OrphanDeleted", "was deleted: there is no such Pod any more")

    async def _is_drained(self, instance: Instance) -> bool:
        """Whether it has had its time to stop; tells it to, the first time."""
        now = trio.current_time()
        since = self._stopping_since.get(instance.uuid)
        if since is not None:
            return now - since >= _DRAIN_SECONDS
        try:
            await self._context.cloud.stop_instance(
                instance.uuid, drain_timeout_ms=round(_DRAIN_SECONDS * 1000)
            )
        except ResourceNotFound:
            return True
        self._stopping_since[instance.uuid] = now
        return False

    def _tell(self, orphan: _Orphan, kind: EventType, reason: str, what: str) -> None:
        key = (orphan.resource.uuid, reason)
        if key in self._told:
            return
        self._told.add(key)
        log.info("orphan", reason=reason, orphan=str(orphan))
        node = self._context.settings.node_name
        # The kubelet puts a node's name in its uid's place, and kubectl describe looks for that.
        about = ObjectReference(api_version="v1", kind="Node", name=node, uid=node)
        self._context.events.record(about, kind, reason, f"{orphan} {what}")

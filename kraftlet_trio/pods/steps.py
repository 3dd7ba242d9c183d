"""The steps of a plan, performed: each a call or two to one of the APIs.

A step raises ``CloudError``, ``KubernetesError`` or ``ConfigurationProblem`` and may then be taken
again: it finds what an earlier attempt left behind.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
import structlog

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.errors import CloudUnavailable, NameTaken, ResourceNotFound
from kraftlet_trio.cloud.objects import Instance, InstanceRequest, InstanceServiceGroup
from kraftlet_trio.kubernetes.client import PatchKind
from kraftlet_trio.kubernetes.errors import Conflict, NotFound
from kraftlet_trio.kubernetes.objects import ObjectReference
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.kubernetes.resources import PODS
from kraftlet_trio.mapping.annotations import SERVICE_GROUPS
from kraftlet_trio.mapping.container_status import container_status_of, runs_told
from kraftlet_trio.mapping.names import pod_uid_of
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning
from kraftlet_trio.pods.back_off import bumped, recalled
from kraftlet_trio.pods.context import PodContext
from kraftlet_trio.pods.inputs import InstanceInputs
from kraftlet_trio.pods.observation import PodObserver
from kraftlet_trio.pods.plan import (
    CreateInstance,
    DeleteInstance,
    LetGo,
    LookUpInstances,
    Memory,
    RecordOwnership,
    StartInstance,
    Step,
    StopInstance,
)
from kraftlet_trio.pods.transitions import PodEvent

log = structlog.get_logger()


@attrs.define
class PodSteps:
    """Performs the steps of one Pod."""

    context: PodContext
    observer: PodObserver
    memory: Memory
    inputs: InstanceInputs = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.inputs = InstanceInputs(self.context, self.observer, self._warn)

    async def perform(self, step: Step) -> None:
        match step:
            case RecordOwnership(groups):
                await self._record_ownership(groups)
            case CreateInstance(container):
                await self._create_instance(container)
            case StartInstance(container, uuid, restart):
                await self._start_instance(container, uuid, restart=restart)
            case StopInstance(container, uuid, drain_seconds):
                await self._stop_instance(container, uuid, drain_seconds)
            case DeleteInstance(container, uuid):
                await self._delete_instance(container, uuid)
            case LookUpInstances(containers):
                await self._look_up(containers)
            case LetGo():
                await self._let_go()

    def tell(self, event: PodEvent) -> None:
        """Record an event on the Pod."""
        pod = self._pod
        about = ObjectReference(
            api_version="v1",
            kind="Pod",
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            uid=pod.metadata.uid,
            field_path=self._field_path(event.container),
        )
        self.context.events.record(about, event.type, event.reason, event.message)

    @property
    def _pod(self) -> Pod:
        return self.observer.present

    def _warn(self, warning: ConfigurationWarning, container: str) -> None:
        self.tell(PodEvent("Warning", warning.reason, warning.message, container))

    def _field_path(self, container: str) -> str:
        if not container:
            return ""
        init = any(one.name == container for one in self._pod.spec.init_containers)
        return f"spec.{'initContainers' if init else 'containers'}{{{container}}}"

    def _container(self, name: str) -> Container:
        spec = self._pod.spec
        return next(one for one in (*spec.init_containers, *spec.containers) if one.name == name)

    async def _record_ownership(self, groups: frozenset[str]) -> None:
        metadata: dict[str, Any] = {"uid": self._pod.metadata.uid}
        if self.context.settings.finalizer:
            metadata["finalizers"] = [self.context.settings.finalizer]
        if groups:
            metadata["annotations"] = {SERVICE_GROUPS: ",".join(sorted(groups))}
        await self._patch_pod({"metadata": metadata})
        self.observer.owned = groups

    async def _patch_pod(self, body: dict[str, Any]) -> None:
        metadata = self._pod.metadata
        await self.context.kubernetes.patch(
            PODS, metadata.name, body, namespace=metadata.namespace, kind=PatchKind.STRATEGIC
        )

    async def _create_instance(self, name: str) -> None:
        container = self._container(name)
        request = await self.inputs.request(container)
        self.tell(PodEvent("Normal", "Pulling", f'Pulling image "{container.image}"', name))
        self.memory.uncertain.add(name)
        try:
            instance = created(request, await self.context.cloud.create_instance(request))
        except NameTaken:
            instance = await self._adopt(request)
        except ResourceNotFound:
            self.memory.uncertain.discard(name)
            if request.service_group is not None and request.service_group.name:
                self.context.groups.recheck(request.service_group.name)
            raise
        except CloudUnavailable:
            raise  # it may exist: the container stays among the uncertain ones
        except Exception:
            self.memory.uncertain.discard(name)
            raise
        self.memory.uncertain.discard(name)
        self.memory.stop_asked.discard(instance.uuid)
        self.context.feed.put(instance)
        log.info("instance created", container=name, instance=instance.uuid)
        self.tell(PodEvent("Normal", "Created", f"Created container: {name}", name))
        self.tell(
            PodEvent("Normal", "CreateInstanceSuccess", f"Created instance {request.name}", name)
        )

    async def _adopt(self, request: InstanceRequest) -> Instance:
        """The instance that bears the name, if an earlier attempt for this very Pod made it."""
        found = await self.context.cloud.get_instances(names=[request.name])
        uid = self._pod.metadata.uid
        for instance in found:
            if pod_uid_of(instance.tags) == uid:
                return instance
        raise ConfigurationProblem(
            "CreateInstanceFailed",
            f"Unikraft Cloud has an instance named {request.name} that is not this Pod's; "
            "delete it, or give the Pod another name",
        )

    async def _start_instance(self, name: str, uuid: str, *, restart: bool) -> None:
        instance = self.context.feed.instances.get(uuid)
        try:
            await self.context.cloud.start_instance(uuid)
        except ResourceNotFound:
            self.context.feed.forget(uuid)
            return
        log.info("instance started", container=name, instance=uuid, restart=restart)
        if instance is None:
            return
        if restart:
            self._note_restart(name, instance.stopped_at or utc_now())
        self.context.feed.put(
            attrs.evolve(instance, state=cloud.STARTING, stop_reason=None, exit_code=None)
        )

    def _note_restart(self, name: str, ended_at: datetime) -> None:
        reported = container_status_of(self.memory.reported or self._pod.status, name)
        self.memory.restarted[name] = runs_told(reported)
        back_off = self.memory.back_offs.get(name)
        if back_off is None and reported is not None:
            back_off = recalled(reported, ended_at)
        self.memory.back_offs[name] = bumped(back_off, ended_at, utc_now())

    async def _stop_instance(self, name: str, uuid: str, drain_seconds: float) -> None:
        self.tell(PodEvent("Normal", "Killing", f"Stopping container {name}", name))
        try:
            await self.context.cloud.stop_instance(
                uuid, drain_timeout_ms=max(0, round(drain_seconds * 1000))
            )
        except ResourceNotFound:
            self.context.feed.forget(uuid)
            return
        self.memory.stop_asked.add(uuid)
        instance = self.context.feed.instances.get(uuid)
        if instance is not None and instance.state == cloud.STANDBY:
            # Only one that a later read still finds asleep has slept through it.
            self.context.feed.put(attrs.evolve(instance, state=cloud.STOPPING))
        log.info("instance told to stop", container=name, instance=uuid)

    async def _delete_instance(self, name: str, uuid: str) -> None:
        await self.context.cloud.delete_instance(uuid)
        self.context.feed.forget(uuid)
        self.memory.stop_asked.discard(uuid)
        log.info("instance deleted", container=name, instance=uuid)

    async def _look_up(self, containers: frozenset[str]) -> None:
        metadata = self._pod.metadata
        naming = self.context.settings.naming
        names = [naming.instance(metadata.namespace, metadata.name, one) for one in containers]
        for instance in await self.context.cloud.get_instances(names=names):
            if pod_uid_of(instance.tags) == metadata.uid:
                self.context.feed.put(instance)
        self.memory.uncertain -= containers

    async def _let_go(self) -> None:
        metadata = self._pod.metadata
        kubernetes = self.context.kubernetes
        try:
            if metadata.deletion_grace_period_seconds != 0:
                await kubernetes.delete(
                    PODS,
                    metadata.name,
                    namespace=metadata.namespace,
                    uid=metadata.uid,
                    grace_seconds=0,
                )
            if self.context.settings.finalizer:
                await self._patch_pod(
                    {
                        "metadata": {
                            "uid": metadata.uid,
                            "$deleteFromPrimitiveList/finalizers": [
                                self.context.settings.finalizer
                            ],
                        }
                    }
                )
        except (NotFound, Conflict):
            pass  # gone, or already followed by a namesake
        self.memory.let_go = True
        log.info("pod let go")


def created(request: InstanceRequest, answer: Instance) -> Instance:
    """A creation's answer, which holds fewer fields than a read, filled up from the request."""
    group = request.service_group
    return attrs.evolve(
        answer,
        name=answer.name or request.name,
        state=answer.state or (cloud.STARTING if request.autostart else cloud.STOPPED),
        tags=request.tags or (),
        service_group=answer.service_group
        or (InstanceServiceGroup(name=group.name) if group and group.name else None),
    )

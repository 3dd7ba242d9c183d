"""The steps of a plan, performed: each a call or two to one of the APIs.

A step raises ``CloudError``, ``KubernetesError`` or ``ConfigurationProblem`` and may then be taken
again: it finds what an earlier attempt left behind.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import attrs
import structlog

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud import objects as cloud
from kraftlet_trio.cloud.errors import CloudError, CloudUnavailable, NameTaken, ResourceNotFound
from kraftlet_trio.cloud.objects import (
    Instance,
    InstancePatch,
    InstanceRequest,
    InstanceServiceGroup,
)
from kraftlet_trio.consoles.last_consoles import read_end
from kraftlet_trio.kubernetes.client import PatchKind
from kraftlet_trio.kubernetes.errors import Conflict, NotFound
from kraftlet_trio.kubernetes.objects import ObjectReference
from kraftlet_trio.kubernetes.pod import Container, Pod, PodUID
from kraftlet_trio.kubernetes.resources import PODS
from kraftlet_trio.mapping.annotations import SERVICE_GROUPS
from kraftlet_trio.mapping.console_runs import tags_of_next_run
from kraftlet_trio.mapping.container_state import run_key
from kraftlet_trio.mapping.container_status import container_status_of, runs_told
from kraftlet_trio.mapping.instance_updates import instance_patch, renewal_of
from kraftlet_trio.mapping.last_words import MOST_BYTES, last_words
from kraftlet_trio.mapping.names import pod_uid_of
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning
from kraftlet_trio.pods.back_off import bumped, recalled
from kraftlet_trio.pods.context import PodContext
from kraftlet_trio.pods.hooks import HookKind
from kraftlet_trio.pods.inputs import InstanceInputs
from kraftlet_trio.pods.observation import PodObserver
from kraftlet_trio.pods.plan import (
    Annotate,
    ClearAway,
    CreateInstance,
    DeleteInstance,
    DeleteVolumes,
    LetGo,
    LookUpInstances,
    Memory,
    ReadLastWords,
    Reclaim,
    RecordOwnership,
    StartHook,
    StartInstance,
    Step,
    StopInstance,
    UpdateInstance,
)
from kraftlet_trio.pods.pod_volumes import ensure, remove
from kraftlet_trio.pods.runs import Runs
from kraftlet_trio.pods.transitions import PodEvent

log = structlog.get_logger()


@attrs.define
class PodSteps:
    """Performs the steps of one Pod."""

    context: PodContext
    observer: PodObserver
    memory: Memory
    inputs: InstanceInputs = attrs.field(init=False)
    runs: Runs = attrs.field(init=False)
    """Set by the actor, in whose nursery hooks run."""

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
            case UpdateInstance(container, uuid):
                await self._update_instance(container, uuid)
            case StartHook(kind, container, uuid, seconds):
                self._start_hook(kind, container, uuid, seconds)
            case StopInstance():
                await self._stop_instance(step)
            case ReadLastWords(_, uuid):
                await self._read_last_words(uuid)
            case DeleteInstance(container, uuid):
                await self._keep_replaced(uuid)
                await self._delete_instance(container, uuid)
            case ClearAway(container, uuid):
                await self._clear_away(container, uuid)
            case LookUpInstances(containers):
                await self._look_up(containers)
            case DeleteVolumes():
                await remove(self.context.cloud, self._pod.metadata.uid)
                self.memory.volumes_deleted = True
            case Annotate(annotations):
                uid = self._pod.metadata.uid
                await self._patch_pod({"metadata": {"uid": uid, "annotations": dict(annotations)}})
            case Reclaim():
                await self._reclaim()
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
        if self.inputs.needs_own_address(container):
            # Its address is known only once it exists: it is told before it starts.
            request = attrs.evolve(request, autostart=False)
        if self.observer.wishes.own_volumes:
            await ensure(self.context.cloud, await self.inputs.own_volumes(container))
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
        self.memory.forget_stop(instance.uuid)
        self.context.feed.put(instance)
        log.info("instance created", container=name, instance=instance.uuid)
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
        if instance is not None:
            await self._bring_up_to_date(self._container(name), instance, restart=restart)
            if restart:
                await self._note_run(uuid)
        try:
            await self.context.cloud.start_instance(uuid)
        except ResourceNotFound:
            self.context.feed.forget(uuid)
            return
        log.info("instance started", container=name, instance=uuid, restart=restart)
        self.memory.forget_stop(uuid)
        if instance is None:
            return
        if restart:
            self._note_restart(name, instance.stopped_at or utc_now())
        present = self.context.feed.instances.get(uuid, instance)
        self.context.feed.put(
            attrs.evolve(present, state=cloud.STARTING, stop_reason=None, exit_code=None)
        )

    async def _note_run(self, uuid: str) -> None:
        """Note where in its console the next run begins; failing to is no reason not to begin."""
        instance = self.context.feed.instances.get(uuid)
        if instance is None:
            return
        try:
            console = await self.context.consoles.read(uuid, 0, 0)
            tags = tags_of_next_run(instance, console.available_end, utc_now())
            if tags is not None:
                await self.context.cloud.update_instance(uuid, InstancePatch(tags=tags))
                present = self.context.feed.instances.get(uuid, instance)
                self.context.feed.put(attrs.evolve(present, tags=tags))
        except CloudError as error:
            log.warning("begin of a run not noted", instance=uuid, error=str(error))

    async def _bring_up_to_date(
        self, container: Container, instance: Instance, *, restart: bool
    ) -> None:
        """A run begins with what ConfigMaps and Secrets hold then, as the kubelet's do."""
        if restart:
            needed = self.inputs.depends_on_others(container)
        else:
            needed = self.inputs.needs_own_address(container)
        if not needed:
            return
        if not instance.private_ip:
            # The answer to its creation does not tell it.
            [instance] = await self.context.cloud.get_instances(uuids=[instance.uuid]) or [instance]
        patch = await self._patch_of(container, instance)
        if patch != InstancePatch():
            await self._patch_instance(container.name, instance, patch)

    def _note_restart(self, name: str, ended_at: datetime) -> None:
        reported = container_status_of(self.memory.reported or self._pod.status, name)
        self.memory.restarted[name] = runs_told(reported)
        if name in self.memory.restarting:
            self.memory.restarting.discard(name)
            return
        back_off = self.memory.back_offs.get(name)
        if back_off is None and reported is not None:
            back_off = recalled(reported, ended_at)
        self.memory.back_offs[name] = bumped(back_off, ended_at, utc_now())

    async def _stop_instance(self, step: StopInstance) -> None:
        if step.uuid not in self.memory.stop_asked:
            text = f"Stopping container {step.container}"
            if step.why:
                text = f"Container {step.container} {step.why}"
            self.tell(PodEvent("Normal", "Killing", text, step.container))
        self.memory.stop_begun.setdefault(step.uuid, utc_now())
        if step.again:
            self.memory.restarting.add(step.container)
        try:
            await self.context.cloud.stop_instance(
                step.uuid,
                drain_timeout_ms=max(0, round(step.drain_seconds * 1000)),
                force=step.force,
            )
        except ResourceNotFound:
            self.context.feed.forget(step.uuid)
            return
        self.memory.stop_asked.add(step.uuid)
        if step.force:
            self.memory.stop_forced.add(step.uuid)
        instance = self.context.feed.instances.get(step.uuid)
        if instance is not None and instance.state == cloud.STANDBY:
            # Only one that a later read still finds asleep has slept through it.
            self.context.feed.put(attrs.evolve(instance, state=cloud.STOPPING))
        log.info("instance told to stop", container=step.container, instance=step.uuid)

    def _start_hook(self, kind: HookKind, name: str, uuid: str, seconds: float | None) -> None:
        instance = self.context.feed.instances.get(uuid)
        if instance is not None:
            if kind == "preStop":
                self.memory.stop_begun.setdefault(uuid, utc_now())
            container = self._container(name)
            self.runs.hooks.start(kind, run_key(instance), container, instance, seconds)

    async def _update_instance(self, name: str, uuid: str) -> None:
        instance = self.context.feed.instances.get(uuid)
        self.memory.to_refresh.discard(name)
        if instance is None:
            return
        patch = await self._patch_of(self._container(name), instance)
        if patch == InstancePatch():
            return
        await self._patch_instance(name, instance, patch)

    async def _patch_of(self, container: Container, instance: Instance) -> InstancePatch:
        """What makes the instance as it would be made now."""
        renewal = renewal_of(instance)
        request = await self.inputs.request(container, instance.private_ip)
        renews = renewal is not None and renewal <= utc_now()
        return instance_patch(instance, request, renews=renews)

    async def _patch_instance(self, name: str, instance: Instance, patch: InstancePatch) -> None:
        try:
            await self.context.cloud.update_instance(instance.uuid, patch)
        except ResourceNotFound:
            self.context.feed.forget(instance.uuid)
            return
        log.info("instance updated", container=name, instance=instance.uuid)
        if patch.image is not None:
            # What crashed was the former image.
            self.memory.back_offs.pop(name, None)
            self.memory.restarting.add(name)
        # Its tags change at once; the rest shows in the next read.
        [present] = await self.context.cloud.get_instances(uuids=[instance.uuid]) or [instance]
        self.context.feed.put(present)

    async def _read_last_words(self, uuid: str) -> None:
        instance = self.context.feed.instances.get(uuid)
        if instance is None:
            return
        words = ""
        try:
            words = last_words((await read_end(self.context.cloud, uuid, MOST_BYTES)).data)
        except CloudError as error:
            log.warning("console not read", instance=uuid, error=str(error))
        self.memory.last_words = {run_key(instance): words}

    async def _keep_replaced(self, uuid: str) -> None:
        """What an instance wrote is the log of a run before, if its Pod lives on without it."""
        pod = self.context.pods.get(self._pod.metadata.uid)
        instance = self.context.feed.instances.get(uuid)
        if pod is None or pod.metadata.deletion_timestamp is not None or instance is None:
            return
        try:
            await self.context.consoles.keep(PodUID(pod.metadata.uid), instance)
        except CloudError as error:
            log.warning("console not kept", instance=uuid, error=str(error))

    async def _clear_away(self, name: str, uuid: str) -> None:
        uid = self._pod.metadata.uid
        if (instance := self.context.feed.instances.get(uuid)) is not None:
            await self.context.consoles.keep(PodUID(uid), instance)
        await self._delete_instance(name, uuid)

    async def _reclaim(self) -> None:
        metadata = self._pod.metadata
        log.info("pod reclaimed")
        with suppress(NotFound, Conflict):
            await self.context.kubernetes.delete(
                PODS, metadata.name, namespace=metadata.namespace, uid=metadata.uid
            )

    async def _delete_instance(self, name: str, uuid: str) -> None:
        instance = self.context.feed.instances.get(uuid)
        if instance is not None and instance.state == cloud.STOPPED:
            await self.context.consoles.let_followers_finish(uuid)
        await self.context.cloud.delete_instance(uuid)
        self.context.feed.forget(uuid)
        self.memory.forget_stop(uuid)
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

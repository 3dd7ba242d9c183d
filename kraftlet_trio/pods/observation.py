"""What both APIs say of a Pod right now, gathered from the stores without waiting."""

from __future__ import annotations

from collections.abc import Mapping, Set

import attrs

from kraftlet_trio.cloud.objects import Instance, ServiceGroupRequest
from kraftlet_trio.kubernetes.object_watches import ObjectKey
from kraftlet_trio.kubernetes.pod import Pod, PodUID
from kraftlet_trio.mapping.annotations import SERVICE_GROUPS, PodOptions, Refresh, pod_options
from kraftlet_trio.mapping.instance_updates import SpecHash, spec_hash
from kraftlet_trio.mapping.names import container_of
from kraftlet_trio.mapping.problems import ConfigurationWarning
from kraftlet_trio.mapping.services import ContainerGroup, container_groups, default_group
from kraftlet_trio.mapping.status_annotations import annotation_changes
from kraftlet_trio.mapping.unsupported import unsupported_problem, unsupported_warning
from kraftlet_trio.mapping.volumes import PodVolume, pod_volumes, volume_warnings
from kraftlet_trio.pods.admission import Refusal, refusal
from kraftlet_trio.pods.claim_volumes import claim_troubles
from kraftlet_trio.pods.context import PodContext
from kraftlet_trio.pods.plan import Observed
from kraftlet_trio.pods.referred_objects import referred_objects


@attrs.frozen
class Wishes:
    """What the Pod's manifest and its Services ask for."""

    options: PodOptions = attrs.field(factory=PodOptions)
    groups: Mapping[str, ContainerGroup] = attrs.field(factory=dict)
    """By container name."""
    own_groups: Mapping[str, ServiceGroupRequest] = attrs.field(factory=dict)
    """Groups to be made along with the container's instance, where no Service publishes the Pod."""
    specs: Mapping[str, SpecHash] = attrs.field(factory=dict)
    """What its containers ask for of that which may change while they run."""
    own_volumes: tuple[PodVolume, ...] = ()
    """Cloud volumes to be made for this Pod alone; their sizes may yet grow."""
    blocked: str = ""
    """Why none of its containers can run."""
    warnings: tuple[ConfigurationWarning, ...] = ()


@attrs.define
class PodObserver:
    """Looks at one Pod, remembers it when it vanishes, and what it asks for until that changes."""

    context: PodContext
    uid: PodUID
    pod: Pod | None = None
    """As last seen; None if it never was."""
    owned: frozenset[str] | None = None
    """Service groups noted on the Pod together with the finalizer, once this daemon has done so."""
    wishes: Wishes = attrs.field(factory=Wishes, init=False)
    _wishes_of: tuple[Pod, int] | None = attrs.field(default=None, init=False)
    _let_go: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """Those noted on the Pod that it does not need."""

    @property
    def present(self) -> Pod:
        """The Pod as last seen. Ask only once ``observe`` has found it."""
        assert self.pod is not None, "steps are planned only for a Pod that was seen"
        return self.pod

    def observe(self) -> Observed | None:
        """None for a Pod that this daemon has never seen."""
        present = self.context.pods.get(self.uid)
        self.pod = present or self.pod
        if self.pod is None:
            return None
        ending = present is None or self.pod.metadata.deletion_timestamp is not None
        recorded = self._recorded(self.pod)
        self._refresh_wishes(self.pod)
        options = self.wishes.options
        instances, surplus = self._instances(self.pod)
        joined = {
            instance.service_group.name
            for instance in (*instances.values(), *surplus)
            if instance.service_group is not None
        }
        contents = {} if ending else {one.name: one for one in self.wishes.groups.values()}
        self._hold_groups(recorded, joined, contents)
        troubles = {} if ending else claim_troubles(self.pod, self.context.claims)
        groups = self.context.groups
        wanted = {} if ending else {name: one.name for name, one in self.wishes.groups.items()}
        return Observed(
            pod=self.pod,
            vanished=present is None,
            owned=self._is_owned(self.pod),
            autostart=options.autostart,
            ignored=options.ignored,
            refresh=options.refresh,
            blocked=self.wishes.blocked,
            specs=self.wishes.specs,
            own_volumes=bool(self.wishes.own_volumes),
            refusal=self._refusal(self.pod),
            reclaims=self._is_reclaimed(self.pod),
            annotations=annotation_changes(
                self.pod, instances, options, self.context.cloud.base_url
            ),
            recorded_groups=recorded,
            wanted_groups=wanted,
            ready_groups=frozenset(name for name in wanted.values() if groups.is_ready(name)),
            group_troubles={
                name: trouble for name in wanted.values() if (trouble := groups.trouble(name))
            },
            claim_troubles=troubles,
            groups_released=all(groups.is_settled(self.uid, name) for name in recorded),
            instances=instances,
            surplus=surplus,
        )

    def _is_owned(self, pod: Pod) -> bool:
        finalizer = self.context.settings.finalizer
        return self.owned is not None or not finalizer or finalizer in pod.metadata.finalizers

    def _recorded(self, pod: Pod) -> frozenset[str]:
        text = pod.metadata.annotations.get(SERVICE_GROUPS, "")
        return frozenset(filter(None, text.split(","))) | (self.owned or frozenset())

    def _refresh_wishes(self, pod: Pod) -> None:
        namespace = pod.metadata.namespace
        key = (pod, self.context.services.generation(namespace))
        if self._wishes_of is not None and self._wishes_of[0] is pod and self._wishes_of == key:
            return
        self._wishes_of = key
        services = self.context.services.of_namespace(namespace).values()
        names = {service.metadata.name for service in services}
        options = pod_options(pod, self.context.settings.defaults)
        found = container_groups(
            pod, services, self.context.settings.naming, names, ignored=options.ignored
        )
        groups = {name: group for name, group in found.items() if group is not None}
        own_groups = {}
        if not groups:
            own_groups = {
                container.name: group
                for container in pod.spec.containers
                if (group := default_group(pod, container, ignored=options.ignored)) is not None
            }
        warnings = [
            ConfigurationWarning("InvalidAnnotation", problem.message)
            for problem in options.problems
        ]
        for container_group in groups.values():
            warnings += container_group.problems
        warnings += volume_warnings(pod)
        blocking = [problem.message for problem in options.blocking]
        if options.strict and (problem := unsupported_problem(pod)) is not None:
            blocking.append(problem.message)
        elif (warning := unsupported_warning(pod)) is not None:
            warnings.append(warning)
        self.wishes = Wishes(
            options,
            groups,
            own_groups,
            {
                container.name: spec_hash(container, options.of(container.name).scale_to_zero)
                for container in (*pod.spec.init_containers, *pod.spec.containers)
            },
            self.own_volumes(),
            "; ".join(blocking),
            tuple(dict.fromkeys(warnings)),
        )

    def own_volumes(self, smallest_mb: int = 0) -> tuple[PodVolume, ...]:
        """The cloud volumes of the Pod's own, none less than *smallest_mb* MiB large."""
        return pod_volumes(
            self.present,
            owner=self.context.owner,
            naming=self.context.settings.naming,
            min_volume_mb=smallest_mb,
            host_paths=self.context.settings.host_path_volumes,
        )

    def _refusal(self, pod: Pod) -> Refusal | None:
        """Of a Pod that nothing was made for yet: what runs is not turned away."""
        if self._is_owned(pod) and self.context.settings.finalizer:
            return None
        return refusal(pod, self.context.settings, self.context.node())

    def _is_reclaimed(self, pod: Pod) -> bool:
        controlled = any(owner.controller for owner in pod.metadata.owner_references)
        return controlled and self.context.settings.reclaims_failed_pods

    def references(self) -> frozenset[ObjectKey]:
        """All that its containers are made of."""
        pod = self.present
        containers = (*pod.spec.init_containers, *pod.spec.containers)
        return referred_objects(pod, containers, self.wishes.options)

    def refreshed_references(self) -> frozenset[ObjectKey]:
        """What its containers are to follow while they run, if they ask for that."""
        return frozenset() if self.wishes.options.refresh == Refresh.OFF else self.references()

    def refreshable(self) -> frozenset[str]:
        """Containers that are to be given what changes while they run."""
        if self.wishes.options.refresh == Refresh.OFF:
            return frozenset()
        return frozenset(one.name for one in self.present.spec.containers)

    def _instances(self, pod: Pod) -> tuple[dict[str, Instance], tuple[Instance, ...]]:
        names = {one.name for one in (*pod.spec.init_containers, *pod.spec.containers)}
        instances: dict[str, Instance] = {}
        surplus = []
        for instance in self.context.feed.of_pod(self.uid).values():
            name = container_of(instance.tags)
            if name in names and name not in instances:
                instances[name] = instance
            else:
                surplus.append(instance)
        return instances, tuple(surplus)

    def _hold_groups(
        self, recorded: frozenset[str], joined: Set[str], contents: Mapping[str, ContainerGroup]
    ) -> None:
        """Tell the groups that this Pod has instances in them, or what it wants of them by name.

        Only groups that are noted on the Pod are held: what is made must be found again. One that
        its Services no longer ask for is let go with the last instance in it, so that a domain is
        free for the group of another name that may have taken its place.
        """
        needed = recorded & (contents.keys() | joined)
        for name in needed:
            self.context.groups.hold(self.uid, name, contents.get(name))
        for name in recorded - needed - self._let_go:
            self.context.groups.let_go(self.uid, name)
        self._let_go = recorded - needed

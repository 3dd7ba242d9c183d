"""Service groups: one actor each, alive as long as a Pod of this node needs the group.

Pods hold the groups that their instances join. The first to hold one has it made; what all its
holders say together is what it publishes, also when that changes later; the last to let go has it
deleted, unless instances of others (another node's, or attached by hand) still use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
import structlog
import trio

from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError, NameTaken
from kraftlet_trio.cloud.objects import (
    Certificate,
    DomainRequest,
    Service,
    ServiceGroup,
    ServiceGroupRequest,
)
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubernetes.pod import PodUID
from kraftlet_trio.mapping.service_annotations import DEFAULT_LIMITS, ConnectionLimits
from kraftlet_trio.mapping.services import ContainerGroup

log = structlog.get_logger()

_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 30.0
_LEAVING_SECONDS = 5.0
"""How long instances that were just deleted may still show in their group."""


@attrs.define
class _Group:
    """One group's state, shared by its actor and the Pods."""

    name: str
    holders: dict[PodUID, ContainerGroup | None] = attrs.field(factory=dict)
    """What each holder needs published; None from one that only waits for its instances to end."""
    latest: ContainerGroup | None = None
    leavers: set[PodUID] = attrs.field(factory=set)
    """Pods that were the last to let go, and wait until the group is gone or held by others."""
    bell: Doorbell = attrs.field(factory=Doorbell)
    ready: bool = False
    trouble: str | None = None


@attrs.define
class ServiceGroups:
    """The groups that Pods of this node hold, and the tasks that tend them."""

    _cloud: CloudClient
    _wake_pod: Callable[[PodUID], None]
    _groups: dict[str, _Group] = attrs.field(factory=dict, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tend groups until cancelled; the groups then stay in the cloud as they are."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def hold(self, pod: PodUID, name: str, content: ContainerGroup | None) -> None:
        """Need the group *name*, publishing *content*; again with other content to change it."""
        group = self._group(name)
        group.leavers.discard(pod)
        newcomer = pod not in group.holders
        # A further replica that needs what the one before it needed is no news to the group.
        if group.latest != content if newcomer else group.holders[pod] != content:
            group.bell.ring()
        group.holders[pod] = group.latest = content

    def let_go(self, pod: PodUID, name: str) -> None:
        """Need it no longer. When the last holder leaves, the group is deleted.

        So is one that an earlier daemon made, and that nobody has held since.
        """
        group = self._group(name)
        group.holders.pop(pod, None)
        if not group.holders:
            group.leavers.add(pod)
        group.bell.ring()

    def recheck(self, name: str) -> None:
        """The cloud said that the group does not exist: look, and make it again."""
        group = self._groups.get(name)
        if group is not None:
            group.ready = False
            group.bell.ring()

    def is_ready(self, name: str) -> bool:
        group = self._groups.get(name)
        return group is not None and group.ready

    def trouble(self, name: str) -> str | None:
        """What keeps the group from being as it should, for people."""
        group = self._groups.get(name)
        return group.trouble if group else None

    def is_settled(self, pod: PodUID, name: str) -> bool:
        """Whether the group that *pod* let go is gone, or is the business of others.

        Once true it stays so, whatever the others do.
        """
        group = self._groups.get(name)
        return group is None or pod not in group.leavers

    def _group(self, name: str) -> _Group:
        group = self._groups.get(name)
        if group is None:
            assert self._nursery is not None, "groups are tended only while run() runs"
            group = self._groups[name] = _Group(name)
            self._nursery.start_soon(self._tend, group, name=f"service group {name}")
        return group

    async def _tend(self, group: _Group) -> None:
        structlog.contextvars.clear_contextvars()  # those of the Pod that came first
        retry_seconds = _FIRST_RETRY_SECONDS
        while True:
            try:
                if group.holders:
                    self._settle(group)
                    await self._publish(group)
                    await group.bell.wait()
                else:
                    await self._remove(group)
                    if not group.holders:
                        break
            except CloudError as error:
                log.warning(
                    "service group not as wanted", service_group=group.name, error=str(error)
                )
                group.trouble = str(error)
                self._wake(group.holders)
                await trio.sleep(retry_seconds)
                retry_seconds = min(retry_seconds * 2, _LONGEST_RETRY_SECONDS)
            else:
                retry_seconds = _FIRST_RETRY_SECONDS
        # No await since the last look at the holders: no hold() can be lost here.
        del self._groups[group.name]
        self._settle(group)

    def _settle(self, group: _Group) -> None:
        leavers, group.leavers = group.leavers, set()
        self._wake(leavers)

    def _wake(self, pods: Iterable[PodUID]) -> None:
        for pod in tuple(pods):
            self._wake_pod(pod)

    async def _publish(self, group: _Group) -> None:
        wanted = _merged(group.holders.values())
        if wanted is None:
            return
        present = await self._cloud.get_service_group(group.name)
        if present is None:
            await self._create(group, wanted)
        else:
            await self._update(present, wanted)
        if not group.ready or group.trouble:
            group.ready, group.trouble = True, None
            self._wake(group.holders)

    async def _create(self, group: _Group, wanted: _Publication) -> None:
        limits = wanted.limits
        request = ServiceGroupRequest(
            name=group.name,
            services=wanted.services,
            domains=wanted.domains or None,
            soft_limit=limits.soft if limits != DEFAULT_LIMITS else None,
            hard_limit=limits.hard if limits != DEFAULT_LIMITS else None,
        )
        try:
            await self._cloud.create_service_group(request)
        except NameTaken:
            # The same answer says that another group has one of the domains.
            if await self._cloud.get_service_group(group.name) is None:
                raise
            group.bell.ring()  # made by another node meanwhile: look again
        else:
            log.info("service group created", service_group=group.name)

    async def _update(self, present: ServiceGroup, wanted: _Publication) -> None:
        other_services = _as_set(wanted.services) != _as_set(present.services)
        other_domains = bool(wanted.domains) and not _has_domains(present, wanted.domains)
        limits = _changed_limits(present, wanted.limits)
        if other_services or other_domains or limits:
            await self._cloud.update_service_group(
                present.uuid,
                services=wanted.services if other_services else None,
                domains=wanted.domains if other_domains else None,
                limits=limits,
            )
            log.info("service group updated", service_group=present.name)

    async def _remove(self, group: _Group) -> None:
        give_up_at: float | None = None
        while (present := await self._cloud.get_service_group(group.name)) is not None:
            if group.holders:
                return
            if not present.instances:
                group.ready = False
                await self._cloud.delete_service_group(present.uuid)
                log.info("service group deleted", service_group=group.name)
                await self._remove_certificates(present)
                return
            # Counted from here: a platform that is slow to answer says nothing about members.
            give_up_at = give_up_at or trio.current_time() + _LEAVING_SECONDS
            if trio.current_time() >= give_up_at:
                log.info("service group kept, others use it", service_group=group.name)
                return
            await trio.sleep(_FIRST_RETRY_SECONDS)

    async def _remove_certificates(self, gone: ServiceGroup) -> None:
        """Those that the platform had requested for a group's own domains, unless others use them.

        One that is older than the group was uploaded, or requested for another.
        """
        for domain in gone.domains:
            if domain.certificate is None:
                continue
            try:
                certificate = await self._cloud.read_certificate(domain.certificate.uuid)
                if (
                    certificate is None
                    or certificate.service_groups
                    or _is_older(certificate, gone)
                ):
                    continue
                await self._cloud.delete_certificate(certificate.uuid)
            except CloudError as error:
                log.warning("certificate left behind", domain=domain.fqdn, error=str(error))
            else:
                log.info("certificate deleted", domain=domain.fqdn)


@attrs.frozen
class _Publication:
    """What a group is to be."""

    services: tuple[Service, ...]
    domains: tuple[DomainRequest, ...]
    """None: those that it has."""
    limits: ConnectionLimits


def _merged(contents: Iterable[ContainerGroup | None]) -> _Publication | None:
    """Union of what the holders need, by port and domain; None when none needs anything."""
    needed = [content for content in contents if content is not None]
    if not needed:
        return None
    services: dict[int, Service] = {}
    domains: dict[str, DomainRequest] = {}
    for content in needed:
        for service in content.services:
            services.setdefault(service.port, service)
        for domain in content.domains:
            domains.setdefault(domain.name, domain)
    limited = (one.limits for one in needed if one.limits != DEFAULT_LIMITS)
    return _Publication(
        services=tuple(services[port] for port in sorted(services)),
        domains=tuple(domains.values()),
        limits=next(limited, DEFAULT_LIMITS),
    )


def _is_older(certificate: Certificate, group: ServiceGroup) -> bool:
    """Also where the platform does not tell their ages."""
    if certificate.created_at is None or group.created_at is None:
        return True
    return certificate.created_at < group.created_at


def _as_set(services: Iterable[Service]) -> frozenset[tuple[int, int | None, frozenset[str]]]:
    return frozenset((one.port, one.destination_port, frozenset(one.handlers)) for one in services)


def _changed_limits(present: ServiceGroup, wanted: ConnectionLimits) -> dict[str, int]:
    """The limits to set, in an order in which the soft one is never above the hard one."""
    changed = {}
    if present.hard_limit not in (None, wanted.hard):
        changed["hard_limit"] = wanted.hard
    if present.soft_limit not in (None, wanted.soft):
        changed["soft_limit"] = wanted.soft
    if present.soft_limit is not None and wanted.hard < present.soft_limit:
        return dict(reversed(changed.items()))
    return changed


def _has_domains(present: ServiceGroup, wanted: Iterable[DomainRequest]) -> bool:
    """Whether the group answers to the wanted names and no others.

    A name without a trailing dot was completed by the platform with the metro's own domain.
    """
    names = [domain.fqdn.rstrip(".") for domain in present.domains]
    wanted = list(wanted)
    return len(names) == len(wanted) and all(
        any(
            name == domain.name.rstrip(".")
            if domain.name.endswith(".")
            else name.startswith(f"{domain.name}.")
            for name in names
        )
        for domain in wanted
    )

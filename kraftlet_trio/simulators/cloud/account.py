"""The simulated account: its resources, and the rules that hold between them.

Everything here is done at once, without waiting: between two checkpoints of Trio nobody else
runs, so each change is atomic.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network

import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.objects import DELETED, QuotaLimits, QuotaUse
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.simulators.cloud.actions import new_uuid
from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError, invalid, quota_exceeded
from kraftlet_trio.simulators.cloud.records import (
    Attachment,
    Certificate,
    Collection,
    Instance,
    Pin,
    ServiceGroup,
    Volume,
)
from kraftlet_trio.simulators.cloud.settings import CloudSettings

_ALPHANUMERICS = string.ascii_lowercase + string.digits
_WORDS = ("amber", "calm", "frosty", "lucky", "quiet", "silent", "small", "brook", "river", "wind")


def random_suffix(characters: int) -> str:
    return "".join(random.choices(_ALPHANUMERICS, k=characters))


def random_group_name() -> str:
    return f"{'-'.join(random.sample(_WORDS, 2))}-{random_suffix(8)}"


class Account:
    """All resources of one account in one metro."""

    def __init__(
        self,
        *,
        metro: str,
        hard: QuotaUse,
        limits: QuotaLimits,
        network: IPv4Network,
        settings: CloudSettings,
    ) -> None:
        self.uuid = new_uuid()
        self.zone = f"{metro}.unikraft.app"
        """Public names lie below it."""
        self.hard = hard
        """May be changed at any time; what exists stays."""
        self.limits = limits
        self.settings = settings
        self.health = {"images": "healthy", "systemd": "healthy"}
        """The node's checks, as its health endpoint shows them. May be changed at any time."""
        self.changed = Doorbell()
        """Rung whenever one of the resources may have changed."""
        self.instances: Collection[Instance] = Collection("instance", self.changed)
        self.groups: Collection[ServiceGroup] = Collection("service group", self.changed)
        self.volumes: Collection[Volume] = Collection("volume", self.changed)
        self.templates: Collection[Instance] = Collection("instance template", self.changed)
        self.checkpoints: Collection[Instance] = Collection("checkpoint", self.changed)
        self.volume_templates: Collection[Volume] = Collection("volume template", self.changed)
        self.certificates: Collection[Certificate] = Collection("certificate", self.changed)
        self.pins: Collection[Pin] = Collection("image", self.changed)
        self.retained: list[Instance] = []
        """Deleted instances that can still be read."""
        self.perishables: set[str] = set()
        """UUIDs of what has, or had, an autokill."""
        self._network = network
        self._addresses_given = 0
        self._addresses: set[str] = set()

    def used(self) -> QuotaUse:
        return QuotaUse(**{name: count(self) for name, count in _COUNTS.items()})

    def check_quota(self, more: QuotaUse) -> None:
        """Raises ``ItemError`` if the account may not have *more* than it has."""
        for name, count in _COUNTS.items():
            asked = getattr(more, name)
            # Counting is what costs with thousands of instances: only what was asked for.
            if asked > 0 and count(self) + asked > getattr(self.hard, name):
                raise quota_exceeded()

    def check_can_start(self, instance: Instance) -> None:
        """Raises ``ItemError`` if the live quota or a volume's other user forbids it."""
        self.check_quota(QuotaUse(live_vcpus=instance.vcpus, live_memory_mb=instance.memory_mb))
        for attachment in instance.attachments:
            if not attachment.attaching:
                self._check_can_take_hold(attachment)

    def _check_can_take_hold(self, attachment: Attachment) -> None:
        """Raises ``ItemError``, see :meth:`check_can_mount`."""
        self.check_can_mount(
            attachment.volume, readonly=attachment.readonly, by=attachment.instance
        )

    def check_can_attach(self, volume: Volume, *, readonly: bool) -> None:
        """Raises ``ItemError`` if *volume* cannot be attached that way to anything."""
        if volume.access_mode == "rox" and not readonly:
            raise invalid(f"Volume '{volume.name}' has access mode 'rox': mount it read-only")

    def check_can_mount(self, volume: Volume, *, readonly: bool, by: Instance | None) -> None:
        """Raises ``ItemError`` if *volume* is not ready, or another instance excludes this use."""
        if trio.current_time() < volume.formatted_at:
            raise ItemError(ErrorCode.FAILED, f"Volume '{volume.name}' is initializing: EBUSY")
        others = [each for each in volume.mounted_by if each.instance is not by]
        if not others or may_be_shared(volume, readonly=readonly, others=others):
            return
        raise ItemError(
            ErrorCode.FAILED,
            f"Volume '{volume.name}' is in use by instance '{others[0].instance.name}': EBUSY",
        )

    def take_address(self) -> str:
        while True:
            self._addresses_given = self._addresses_given % (self._network.num_addresses - 2) + 1
            address = str(self._network[self._addresses_given])
            if address not in self._addresses:
                self._addresses.add(address)
                return address

    def reclaim_address(self, address: str) -> str:
        """*address* for who had it before; another one if it is not of this network."""
        if IPv4Address(address) not in self._network:
            return self.take_address()
        self._addresses.add(address)
        return address

    def attach(
        self,
        volume: Volume,
        instance: Instance,
        *,
        at: str,
        readonly: bool,
        from_the_beginning: bool = False,
    ) -> None:
        """To an instance that runs, it takes effect when that rests."""
        attachment = Attachment(
            volume=volume,
            instance=instance,
            at=at,
            readonly=readonly,
            attaching=instance.holds_mounts and not from_the_beginning,
        )
        volume.attachments[instance.uuid] = attachment
        instance.attachments.append(attachment)

    def detach(self, attachment: Attachment) -> None:
        """A volume that came with its instance becomes one of its own."""
        del attachment.volume.attachments[attachment.instance.uuid]
        attachment.instance.attachments.remove(attachment)
        attachment.volume.persistent = True

    def detach_once_stopped(self, attachment: Attachment) -> None:
        if attachment.instance.holds_mounts and not attachment.attaching:
            attachment.detaching = True
        else:
            self.detach(attachment)

    def settle_attachments(self, instance: Instance) -> None:
        """The instance came to rest: what was asked for while it ran happens now.

        In standby an attachment has to wait on while another instance excludes it.
        """
        for attachment in list(instance.attachments):
            if attachment.attaching and instance.holds_mounts:
                with suppress(ItemError):
                    self._check_can_take_hold(attachment)
                    attachment.attaching = False
            else:
                attachment.attaching = False
            if attachment.detaching and not instance.holds_mounts:
                self.detach(attachment)

    def check_not_busy(self, resource: Volume | ServiceGroup) -> None:
        """Raises ``ItemError`` while an instance that used *resource* is being cleaned up."""
        if trio.current_time() < resource.busy_until:
            raise ItemError(ErrorCode.FAILED, f"Failed to delete '{resource.name}': EBUSY")

    def _leave_group(self, instance: Instance) -> None:
        """A group that came with an instance goes with its last one."""
        group, instance.service_group = instance.service_group, None
        if group is None:
            return
        del group.instances[instance.uuid]
        now = trio.current_time()
        group.busy_until = now + self.settings.busy_after_delete_seconds
        if not group.instances:
            group.empty_since = now
            if not group.persistent:
                self.groups.remove(group)

    def remove_instance(self, instance: Instance) -> None:
        """With it go inline volumes and an inline group, unless other instances use them."""
        busy_until = trio.current_time() + self.settings.busy_after_delete_seconds
        for attachment in list(instance.attachments):
            volume = attachment.volume
            inline = not volume.persistent and len(volume.attachments) == 1
            self.detach(attachment)
            attachment.volume.busy_until = busy_until
            if inline:
                self.volumes.remove(attachment.volume)
        self._leave_group(instance)
        self._addresses.discard(instance.private_ip)
        self.instances.remove(instance)
        instance.deleted = True
        instance.notify()

    def retain(self, instance: Instance) -> None:
        """Keep the deleted *instance* to be read, where the node does so."""
        if self.settings.retention_seconds is not None:
            instance.state = DELETED
            retention = timedelta(seconds=self.settings.retention_seconds)
            instance.retained_until = utc_now() + retention
            self.retained.append(instance)

    def make_template(self, instance: Instance) -> None:
        """Convert *instance*, which has come to rest; its volumes become templates with it."""
        self._leave_group(instance)
        self._addresses.discard(instance.private_ip)
        self.instances.remove(instance)
        for attachment in instance.attachments:
            self.make_volume_template(attachment.volume)
        instance.state = "template"
        instance.idle_since = trio.current_time()
        self.templates.add(instance)
        instance.notify()

    def forget_retained(self) -> None:
        """Deleted instances whose retention is over can no longer be read."""
        now = utc_now()
        self.retained = [
            each for each in self.retained if each.retained_until and now < each.retained_until
        ]

    def make_volume_template(self, volume: Volume) -> None:
        """From now on it can only be copied."""
        self.volumes.remove(volume)
        volume.is_template, volume.persistent = True, True
        self.volume_templates.add(volume)

    def check_domains_free(self, domains: Iterable[str], *, by: ServiceGroup | None) -> None:
        """Raises ``ItemError`` if another group has one of *domains*."""
        taken = {domain for group in self.groups if group is not by for domain in group.domains}
        for domain in domains:
            if domain in taken:
                raise ItemError(ErrorCode.ALREADY_EXISTS, f"Domain '{domain}' already exists")

    def formatted_at(self) -> float:
        """When a volume created now is formatted, on Trio's clock."""
        return trio.current_time() + self.settings.format_seconds


def may_be_shared(volume: Volume, *, readonly: bool, others: Iterable[Attachment] = ()) -> bool:
    """Whether several instances may mount it at a time (platform reference, volumes)."""
    if volume.access_mode == "rox":
        return readonly and all(each.readonly for each in others)
    return volume.access_mode == "rwx"


_COUNTS: dict[str, Callable[[Account], int]] = {
    "instances": lambda account: len(account.instances),
    "live_vcpus": lambda account: sum(each.vcpus for each in account.instances if each.is_live),
    "live_memory_mb": lambda account: sum(
        each.memory_mb for each in account.instances if each.is_live
    ),
    "service_groups": lambda account: len(account.groups),
    "services": lambda account: sum(len(each.services) for each in account.groups),
    "volumes": lambda account: len(account.volumes),
    "total_volume_mb": lambda account: sum(each.size_mb for each in account.volumes),
}
"""How much there is of what quotas count."""

"""The account as a JSON document, for a simulator that outlives its process.

A document holds every record with all its fields; those that refer to other records hold their
UUIDs. Logs are kept apart. Times on Trio's clock, which begins anywhere in each process, are
moved when they are read: the time without a simulator has passed for them, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

import attrs
import orjson
import trio
from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.logs import Log
from kraftlet_trio.simulators.cloud.records import (
    Attachment,
    Certificate,
    Collection,
    Instance,
    Pin,
    ServiceGroup,
    Volume,
)
from kraftlet_trio.simulators.cloud.traffic import Traffic

T = TypeVar("T")

VERSION = 1

ON_TRIOS_CLOCK: dict[type, tuple[str, ...]] = {
    Volume: ("formatted_at", "busy_until"),
    Certificate: ("issued_at",),
    ServiceGroup: ("empty_since", "busy_until"),
    Instance: ("idle_since", "stop_known_at", "woken_at", "booted_at"),
}
"""Fields that hold a time of this process."""


class StateError(Exception):
    """A saved state cannot be used. The text says which and why."""


@attrs.frozen(kw_only=True)
class _Saved:
    """A document, its records not yet connected."""

    version: int
    uuid: str
    saved_at: datetime
    clock: float
    """Trio's, at that time."""
    volumes: tuple[Volume, ...]
    volume_templates: tuple[Volume, ...]
    certificates: tuple[Certificate, ...]
    pins: tuple[Pin, ...]
    groups: tuple[ServiceGroup, ...]
    instances: tuple[Instance, ...]
    templates: tuple[Instance, ...]
    checkpoints: tuple[Instance, ...]
    retained: tuple[Instance, ...]
    perishables: tuple[str, ...]
    attachments: tuple[_SavedAttachment, ...]
    memberships: dict[str, tuple[str, ...]]
    """Instances in each group, in the order they joined."""
    group_certificates: dict[str, dict[str, str]]
    """By group and domain."""


@attrs.frozen(kw_only=True)
class _SavedAttachment:
    volume: str
    instance: str
    at: str
    readonly: bool
    attaching: bool
    detaching: bool


def encode_account(account: Account) -> bytes:
    """All of *account* but its logs, as it is now."""
    volumes = [*account.volumes, *account.volume_templates]
    groups = list(account.groups)
    saved = _Saved(
        version=VERSION,
        uuid=account.uuid,
        saved_at=utc_now(),
        clock=trio.current_time(),
        volumes=tuple(account.volumes),
        volume_templates=tuple(account.volume_templates),
        certificates=tuple(account.certificates),
        pins=tuple(account.pins),
        groups=tuple(groups),
        instances=tuple(account.instances),
        templates=tuple(account.templates),
        checkpoints=tuple(account.checkpoints),
        retained=tuple(account.retained),
        perishables=tuple(sorted(account.perishables)),
        attachments=tuple(_saved_attachment(one) for one in _attachments(volumes)),
        memberships={group.uuid: tuple(group.instances) for group in groups},
        group_certificates={
            group.uuid: {domain: one.uuid for domain, one in group.certificates.items()}
            for group in groups
        },
    )
    return orjson.dumps(_CONVERTER.unstructure(saved))


def _attachments(volumes: Iterable[Volume]) -> Iterable[Attachment]:
    """Of each instance in the order they were made."""
    by_instance = {
        one.instance.uuid: one.instance for v in volumes for one in v.attachments.values()
    }
    for instance in by_instance.values():
        yield from instance.attachments


def _saved_attachment(attachment: Attachment) -> _SavedAttachment:
    return _SavedAttachment(
        volume=attachment.volume.uuid,
        instance=attachment.instance.uuid,
        at=attachment.at,
        readonly=attachment.readonly,
        attaching=attachment.attaching,
        detaching=attachment.detaching,
    )


@attrs.frozen
class SavedAccount:
    """What :func:`encode_account` wrote. It can be restored once: the records are handed over."""

    _saved: _Saved

    @classmethod
    def decode(cls, document: bytes) -> SavedAccount:
        """Raises :class:`StateError`."""
        try:
            read = orjson.loads(document)
        except orjson.JSONDecodeError as error:
            raise StateError(f"it is damaged: {error}") from error
        version = read.get("version") if isinstance(read, dict) else None
        if version != VERSION:
            raise StateError(f"it has version {version}, only {VERSION} can be read")
        try:
            saved = cls(_CONVERTER.structure(read, _Saved))
        except BaseValidationError as error:
            raise StateError(f"it is damaged: {'; '.join(transform_error(error)[:3])}") from error
        try:
            saved._connect()
        except KeyError as error:
            raise StateError(f"it is damaged: there is no resource {error}") from error
        return saved

    @property
    def uuid(self) -> str:
        """The account's."""
        return self._saved.uuid

    @property
    def volume_uuids(self) -> set[str]:
        """Of all whose content is to be kept."""
        return {one.uuid for one in (*self._saved.volumes, *self._saved.volume_templates)}

    @property
    def instances(self) -> list[Instance]:
        """In every collection."""
        saved = self._saved
        return [*saved.instances, *saved.templates, *saved.checkpoints, *saved.retained]

    def restore(self, account: Account) -> None:
        """Put the records into *account*, which has none, with live instances cut short."""
        saved = self._saved
        seconds_away = max(0.0, (utc_now() - saved.saved_at).total_seconds())
        moved_by = trio.current_time() - saved.clock - seconds_away
        for instance in self.instances:
            if instance.booted_at is not None:
                instance.uptime_seconds += saved.clock - instance.booted_at
                instance.booted_at = None
            instance.private_ip = account.reclaim_address(instance.private_ip)
        _fill(account.volumes, saved.volumes, moved_by)
        _fill(account.volume_templates, saved.volume_templates, moved_by)
        _fill(account.certificates, saved.certificates, moved_by)
        _fill(account.pins, saved.pins, moved_by)
        _fill(account.groups, saved.groups, moved_by)
        _fill(account.instances, saved.instances, moved_by)
        _fill(account.templates, saved.templates, moved_by)
        _fill(account.checkpoints, saved.checkpoints, moved_by)
        for instance in saved.retained:
            _move_clock(instance, moved_by)
        account.retained.extend(saved.retained)
        account.perishables.update(saved.perishables)

    def _connect(self) -> None:
        saved = self._saved
        volumes = {one.uuid: one for one in (*saved.volumes, *saved.volume_templates)}
        instances = {one.uuid: one for one in self.instances}
        certificates = {one.uuid: one for one in saved.certificates}
        for one in saved.attachments:
            volume, instance = volumes[one.volume], instances[one.instance]
            attachment = Attachment(
                volume=volume,
                instance=instance,
                at=one.at,
                readonly=one.readonly,
                attaching=one.attaching,
                detaching=one.detaching,
            )
            volume.attachments[instance.uuid] = attachment
            instance.attachments.append(attachment)
        for group in saved.groups:
            for uuid in saved.memberships[group.uuid]:
                group.instances[uuid] = instances[uuid]
                instances[uuid].service_group = group
            for domain, uuid in saved.group_certificates[group.uuid].items():
                group.certificates[domain] = certificates[uuid]


R = TypeVar("R", Volume, Certificate, Pin, ServiceGroup, Instance)


def _fill(collection: Collection[R], records: Iterable[R], moved_by: float) -> None:
    for record in records:
        _move_clock(record, moved_by)
        collection.add(record)


def _move_clock(record: object, moved_by: float) -> None:
    for name in ON_TRIOS_CLOCK.get(type(record), ()):
        moment = getattr(record, name)
        if moment is not None:
            setattr(record, name, moment + moved_by)


def _unstructure_traffic(traffic: Traffic) -> dict[str, Any]:
    """The counters that outlive a run."""
    return {
        "ntotal": traffic.ntotal,
        "wakeups": list(traffic.wakeups.items()),
        "wakeup_seconds": traffic.wakeup_seconds,
    }


def _structure_traffic(saved: dict[str, Any], _kind: object) -> Traffic:
    return Traffic(
        ntotal=saved["ntotal"],
        wakeups=Counter(dict(saved["wakeups"])),
        wakeup_seconds=saved["wakeup_seconds"],
    )


def _leave_out(kind: type, *names: str, log: bool = False) -> None:
    """Save records of *kind* without the fields *names*; a log is empty when it is read."""
    omitted: dict[str, Any] = {name: override(omit=True) for name in names}
    logged = {
        "log": override(unstruct_hook=lambda _log: None, struct_hook=lambda _none, _kind: Log(0))
    }
    overrides = omitted | (logged if log else {})
    _CONVERTER.register_unstructure_hook(
        kind, make_dict_unstructure_fn(kind, _CONVERTER, **overrides)
    )
    _CONVERTER.register_structure_hook(kind, make_dict_structure_fn(kind, _CONVERTER, **overrides))


_CONVERTER = Converter(forbid_extra_keys=True)
_CONVERTER.register_unstructure_hook(datetime, datetime.isoformat)
_CONVERTER.register_structure_hook(datetime, lambda text, _kind: datetime.fromisoformat(text))
_CONVERTER.register_unstructure_hook(Traffic, _unstructure_traffic)
_CONVERTER.register_structure_hook(Traffic, _structure_traffic)
_leave_out(Volume, "attachments")
_leave_out(ServiceGroup, "instances", "certificates")
_leave_out(Instance, "service_group", "attachments", "changed", log=True)

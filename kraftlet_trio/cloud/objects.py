"""Unikraft Cloud's resources as the v1 platform API spells them.

Answers are read leniently: unknown fields are dropped, absent ones take the default here.
Requests are written strictly: only what is set is sent, so that absent and null stay apart.
Memory and volume sizes are whole MiB, vCPUs whole numbers, times RFC 3339 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

# Instance states (platform reference, instance states).
STOPPED = "stopped"
STARTING = "starting"
RUNNING = "running"
DRAINING = "draining"
STOPPING = "stopping"
STANDBY = "standby"
DELETED = "deleted"
"""Kept for inspection only, where the platform retains deleted instances. It never comes back."""

# Volume states that say it cannot be mounted (yet).
VOLUMES_IN_THE_MAKING = frozenset({"uninitialized", "initializing", "pending"})
VOLUME_ERROR = "error"

# Bits of an instance's stop_reason.
STOP_KERNEL = 1
STOP_APPLICATION = 2
STOP_PLATFORM = 4
STOP_USER = 8
STOP_FORCED = 16
STOP_SCALE_TO_ZERO = 32


@attrs.frozen(kw_only=True)
class Reference:
    """A resource named from within another one."""

    uuid: str = ""
    name: str = ""


@attrs.frozen(kw_only=True)
class Domain:
    """A public name of a service group, as read."""

    fqdn: str = ""
    certificate: Reference | None = None
    """None for a name below the metro's domain."""


@attrs.frozen(kw_only=True)
class Certificate:
    uuid: str
    name: str = ""
    created_at: datetime | None = None
    service_groups: tuple[Reference, ...] = ()


@attrs.frozen(kw_only=True)
class Service:
    """One published port of a service group."""

    port: int
    destination_port: int | None = None
    protocol: str | None = None
    handlers: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class InstanceServiceGroup:
    """The service group an instance is attached to, as read with the instance."""

    uuid: str = ""
    name: str = ""
    domains: tuple[Domain, ...] = ()


@attrs.frozen(kw_only=True)
class InstanceVolume:
    """A volume attached to an instance, as read."""

    uuid: str = ""
    name: str = ""
    at: str = ""
    readonly: bool = False


@attrs.frozen(kw_only=True)
class ScaleToZero:
    """When an idle instance is put to standby. ``cooldown_time_ms`` is milliseconds."""

    policy: str = "off"
    stateful: bool | None = None
    cooldown_time_ms: int | None = None
    notify_time_ms: int | None = None


@attrs.frozen(kw_only=True)
class InstanceUpdate:
    """A change of one property that an instance has not taken over yet, as read."""

    prop: str = ""
    status: str = ""
    """``pending`` until it stops, ``failed`` with ``error`` where it could not be applied."""
    error: str = ""


@attrs.frozen(kw_only=True)
class InstancePlugin:
    """A plugin attached to an instance, as read."""

    name: str = ""


@attrs.frozen(kw_only=True)
class Instance:
    """An instance as read with details."""

    uuid: str
    name: str = ""
    state: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    start_count: int = 0
    restart_count: int = 0
    stop_reason: int | None = None
    stop_code: int | None = None
    exit_code: int | None = None
    image: str = ""
    """With its digest, once the platform has resolved it."""
    memory_mb: int = 0
    vcpus: int = 0
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    private_ip: str = ""
    private_fqdn: str = ""
    service_group: InstanceServiceGroup | None = None
    volumes: tuple[InstanceVolume, ...] = ()
    tags: tuple[str, ...] = ()
    restart_policy: str = ""
    scale_to_zero: ScaleToZero | None = None
    delete_lock: bool = False
    net_time_us: int | None = None
    """Microseconds from its start to its first listening on a port that others reach."""
    plugins: tuple[InstancePlugin, ...] = ()
    updates: tuple[InstanceUpdate, ...] = ()


@attrs.frozen(kw_only=True)
class InstanceMetrics:
    """What an instance uses. What the platform does not tell is None."""

    uuid: str
    start_count: int = 0
    rss_bytes: int | None = None
    """Resident memory of the virtual machine; 0 while none runs."""
    cpu_time_ms: int | None = None
    """Milliseconds, of all CPUs together. This and what follows count from its last start."""
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    tx_packets: int = 0


@attrs.frozen(kw_only=True)
class ServiceGroup:
    """A service group as read with details."""

    uuid: str
    name: str = ""
    created_at: datetime | None = None
    persistent: bool = True
    services: tuple[Service, ...] = ()
    domains: tuple[Domain, ...] = ()
    instances: tuple[Reference, ...] = ()
    soft_limit: int | None = None
    hard_limit: int | None = None


@attrs.frozen(kw_only=True)
class Volume:
    """A volume as read with details."""

    uuid: str
    name: str = ""
    state: str = ""
    size_mb: int = 0
    free_mb: int | None = None
    """None where the platform does not tell."""
    persistent: bool = True
    access_mode: str = ""
    tags: tuple[str, ...] = ()
    attached_to: tuple[Reference, ...] = ()
    mounted_by: tuple[Reference, ...] = ()
    delete_lock: bool = False


@attrs.frozen(kw_only=True)
class QuotaUse:
    """One side of the quotas: what is used, or what is allowed. Memory and volumes in MiB."""

    instances: int = 0
    live_vcpus: int = 0
    live_memory_mb: int = 0
    service_groups: int = 0
    services: int = 0
    volumes: int = 0
    total_volume_mb: int = 0


@attrs.frozen(kw_only=True)
class QuotaLimits:
    """Smallest and largest size of one resource."""

    min_memory_mb: int = 0
    max_memory_mb: int = 0
    min_vcpus: int = 0
    max_vcpus: int = 0
    min_volume_mb: int = 0
    max_volume_mb: int = 0


@attrs.frozen(kw_only=True)
class Quotas:
    uuid: str = ""
    used: QuotaUse = QuotaUse()
    hard: QuotaUse = QuotaUse()
    limits: QuotaLimits = QuotaLimits()


@attrs.frozen(kw_only=True)
class Health:
    """Answer of the health endpoint: each check is ``unknown``, ``healthy`` or ``degraded``."""

    checks: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Image:
    """An image that the node side knows."""

    url: str = ""
    tags: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    size_in_bytes: int = 0


@attrs.frozen(kw_only=True)
class ImageRequest:
    """The object form of an image, needed when there is a pull policy or a credential to convey."""

    url: str
    pull_policy: str | None = None
    credentials: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class DomainRequest:
    """A domain to publish: an FQDN with a trailing dot, else a name below the metro's domain."""

    name: str


@attrs.frozen(kw_only=True)
class ServiceGroupRequest:
    """A group to create, to create inline with an instance, or (name or uuid alone) to join."""

    name: str | None = None
    uuid: str | None = None
    services: tuple[Service, ...] | None = None
    domains: tuple[DomainRequest, ...] | None = None
    soft_limit: int | None = None
    hard_limit: int | None = None


@attrs.frozen(kw_only=True)
class RomFile:
    """A file of an inline ROM. ``data`` is text, or (``encoding`` ``base64``) bytes."""

    path: str
    data: str = attrs.field(repr=False)
    """May be a Secret's."""
    encoding: str | None = None


@attrs.frozen(kw_only=True)
class RomRequest:
    """A read-only directory mounted at ``at``: of an image, or of files."""

    name: str
    at: str
    image: str | ImageRequest | None = None
    files: tuple[RomFile, ...] | None = None


@attrs.frozen(kw_only=True)
class PluginRequest:
    """A plugin to attach; ``config`` is any JSON."""

    name: str
    image: str
    config: Any = None


@attrs.frozen(kw_only=True)
class InstanceVolumeRequest:
    """An existing volume, by name or by uuid, to attach and mount."""

    name: str | None = None
    uuid: str | None = None
    at: str
    readonly: bool = False


@attrs.frozen(kw_only=True)
class InstanceRequest:
    """An instance to create, from an image or from a template."""

    name: str
    image: str | ImageRequest | None = None
    template: Mapping[str, Any] | None = None
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] | None = None
    memory_mb: int | None = None
    vcpus: int | None = None
    autostart: bool = False
    restart_policy: str | None = None
    hostname: str | None = None
    service_group: ServiceGroupRequest | None = None
    scale_to_zero: ScaleToZero | None = None
    volumes: tuple[InstanceVolumeRequest, ...] | None = None
    roms: tuple[RomRequest, ...] | None = None
    plugins: tuple[PluginRequest, ...] | None = None
    nameserver: str | None = None
    tags: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class InstancePatch:
    """New values of an instance's properties; None leaves one as it is.

    One that runs takes them over when it next stops (``Instance.updates``).
    """

    image: str | ImageRequest | None = None
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] | None = None
    memory_mb: int | None = None
    vcpus: int | None = None
    scale_to_zero: ScaleToZero | None = None
    roms: tuple[RomRequest, ...] | None = None
    plugins: tuple[PluginRequest, ...] | None = None
    tags: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class VolumeRequest:
    """A volume to create: one of a size, or (``host_path``) a directory of the platform's host."""

    name: str
    size_mb: int | None = None
    host_path: str | None = None
    filesystem: str | None = None
    access_mode: str | None = None
    quota_policy: str | None = None
    """``static`` counts the whole size at once, ``dynamic`` what is written."""
    tags: tuple[str, ...] | None = None

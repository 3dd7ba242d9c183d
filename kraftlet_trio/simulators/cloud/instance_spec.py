"""What a create request for instances asks for, read strictly (platform reference, instances)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any

import attrs

from kraftlet_trio.cloud.objects import QuotaLimits, ScaleToZero
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier, read_identifier
from kraftlet_trio.simulators.cloud.instance_options import (
    check_permissions,
    read_address,
    read_autokill,
    read_dependencies,
    read_schedules,
)
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.origins import Origin, read_origin
from kraftlet_trio.simulators.cloud.records import Ancestor, Autokill
from kraftlet_trio.simulators.cloud.service_spec import GroupSpec, read_inline_group
from kraftlet_trio.simulators.cloud.validation import (
    valid_annotations,
    valid_arguments,
    valid_environment,
    valid_host_label,
    valid_image,
    valid_mount_path,
    valid_name,
    valid_plugin_name,
    valid_tags,
)
from kraftlet_trio.simulators.cloud.volume_spec import VolumeSpec, read_new_volume

DEFAULT_MEMORY_MB = 128
DEFAULT_VCPUS = 1

_PULL_POLICIES = ("always", "if_not_present", "never")
_RESTART_POLICIES = ("never", "always", "on-failure")
_SCALE_TO_ZERO_POLICIES = ("off", "on", "idle")
_FEATURES = ("delete-on-stop", "nested-virt")
_DEFAULT_COOLDOWN_MS = 1000
_MOST_ROMS = 8
_MOST_PLUGINS = 8
_LONGEST_PLUGIN_TOKEN = 256
_MOST_REPLICAS = 255
_MOST_ROM_FILES = 16
_MOST_ROM_BYTES = 1_000_000


@attrs.frozen(kw_only=True)
class VolumeMount:
    """A volume to mount: one that exists, or one to create with the instance."""

    existing: Identifier | None
    new: VolumeSpec | None
    at: str
    readonly: bool
    copy_of: str | None = None
    """UUID of the volume whose content a new one begins with."""


@attrs.frozen(kw_only=True)
class InstanceSpec:
    name: str | None
    image: str
    image_credentials: str = attrs.field(repr=False)
    args: tuple[str, ...] | None
    env: dict[str, str]
    memory_mb: int
    vcpus: int
    autostart: bool
    timeout_s: int
    replicas: int
    restart_policy: str
    scale_to_zero: ScaleToZero
    join_group: Identifier | None
    new_group: GroupSpec | None
    volumes: tuple[VolumeMount, ...]
    roms: tuple[dict[str, Any], ...]
    plugins: tuple[dict[str, Any], ...]
    tags: tuple[str, ...]
    annotations: dict[str, str]
    features: tuple[str, ...]
    hostname: str
    schedules: tuple[dict[str, Any], ...]
    autokill: Autokill
    dependencies: tuple[Identifier, ...]
    gateway: str
    nameserver: str
    origin: Origin | None = None
    """What takes the place of the image, and says the rest."""
    lineage: tuple[Ancestor, ...] = ()
    preparing: InstanceSpec | None = None
    """The instance that becomes the template, if there is none yet."""


def read_instance(members: Members, *, limits: QuotaLimits, zone: str) -> InstanceSpec:
    origin = read_origin(members)
    check_permissions(members)
    name = members.text("name")
    features = _read_features(members)
    join_group, new_group = _read_group(members, zone)
    plugins = read_plugins(members.children("plugins") or [])
    scale_to_zero = members.child("scale_to_zero")
    image = members.raw("image") if origin is None else None
    spec = InstanceSpec(
        name=None if name is None else valid_name(name),
        image=read_image(image) if origin is None else "",
        image_credentials=read_credentials(image),
        args=None if (args := members.texts("args")) is None else valid_arguments(args),
        env=valid_environment(members.text_map("env") or {}),
        memory_mb=read_memory(members, "memory_mb", limits) or DEFAULT_MEMORY_MB,
        vcpus=read_vcpus(members, "vcpus", limits) or DEFAULT_VCPUS,
        autostart=members.flag("autostart") or False,
        timeout_s=read_timeout(members),
        replicas=members.integer("replicas", 0, _MOST_REPLICAS) or 0,
        restart_policy=members.choice("restart_policy", _RESTART_POLICIES) or "never",
        scale_to_zero=ScaleToZero() if scale_to_zero is None else read_scale_to_zero(scale_to_zero),
        join_group=join_group,
        new_group=new_group,
        volumes=_read_volumes(members, limits),
        roms=read_roms(members.children("roms") or []),
        plugins=plugins,
        tags=valid_tags(members.texts("tags") or ()),
        annotations=valid_annotations(members.text_map("annotations") or {}),
        features=features,
        hostname=valid_host_label(host) if (host := members.text("hostname")) else "",
        schedules=read_schedules(members.children("schedules") or []),
        autokill=Autokill()
        if (autokill := members.child("autokill")) is None
        else read_autokill(autokill),
        dependencies=read_dependencies(members.children("dependencies") or []),
        gateway=read_address(members, "gateway"),
        nameserver=read_address(members, "nameserver"),
        origin=origin,
    )
    members.done()
    _check_together(spec)
    if origin is None or origin.preparation is None:
        return spec
    first = read_instance(origin.preparation.create_args, limits=limits, zone=zone)
    if first.origin is not None:
        raise invalid("A template is prepared from an image")
    first = attrs.evolve(first, name=valid_name(origin.source.name), replicas=0)
    return attrs.evolve(spec, preparing=first)


def _check_together(spec: InstanceSpec) -> None:
    if spec.timeout_s and not spec.autostart:
        raise invalid("'timeout_s' needs 'autostart'")
    scales = spec.scale_to_zero.policy != "off"
    grouped = spec.join_group is not None or spec.new_group is not None
    if scales and not (grouped or spec.plugins):
        raise invalid("'scale_to_zero' needs 'service_group'")
    if "delete-on-stop" in spec.features and (scales or spec.restart_policy != "never"):
        raise invalid("Feature 'delete-on-stop' allows neither restarts nor scale to zero")


def read_image(value: object) -> str:
    """The URL of an image given as a string or as an object."""
    if value is None:
        raise BadRequest("Missing member 'image'")
    if isinstance(value, str):
        return valid_image(value)
    members = Members(value, "'image'")
    url = members.required_text("url")
    credentials = members.text("credentials")
    if credentials is not None and not url.startswith("oci://"):
        raise invalid("'credentials' are for OCI URLs only")
    members.text_map("headers")
    members.choice("pull_policy", _PULL_POLICIES)
    members.done()
    return valid_image(url)


def read_credentials(image: object) -> str:
    """What is shown to the registry of an image that ``read_image`` found well-formed."""
    return Members(image, "'image'").text("credentials") or "" if isinstance(image, dict) else ""


def read_memory(members: Members, name: str, limits: QuotaLimits) -> int | None:
    return members.integer(name, limits.min_memory_mb, limits.max_memory_mb)


def read_vcpus(members: Members, name: str, limits: QuotaLimits) -> int | None:
    return members.integer(name, limits.min_vcpus, limits.max_vcpus)


def read_timeout(members: Members, *, deprecated: str = "wait_timeout_ms") -> int:
    """Seconds to wait for the outcome: 0 none, -1 as long as possible."""
    deprecated_ms = members.integer(deprecated, -1)
    seconds = members.integer("timeout_s", -1)
    if seconds is not None:
        return seconds
    if deprecated_ms is None or deprecated_ms < 0:
        return deprecated_ms or 0
    return -(-deprecated_ms // 1000)


def read_scale_to_zero(members: Members) -> ScaleToZero:
    policy = members.choice("policy", _SCALE_TO_ZERO_POLICIES) or "off"
    stateful = members.flag("stateful") or False
    cooldown_ms = members.integer("cooldown_time_ms", 0)
    notify_ms = members.integer("notify_time_ms", 0) or 0
    members.done()
    cooldown_ms = _DEFAULT_COOLDOWN_MS if cooldown_ms is None else cooldown_ms
    if notify_ms and notify_ms >= cooldown_ms:
        raise invalid("'notify_time_ms' must be below 'cooldown_time_ms'")
    return ScaleToZero(
        policy=policy, stateful=stateful, cooldown_time_ms=cooldown_ms, notify_time_ms=notify_ms
    )


def read_roms(items: list[Members]) -> tuple[dict[str, Any], ...]:
    if len(items) > _MOST_ROMS:
        raise invalid(f"Too many ROMs: at most {_MOST_ROMS}")
    roms = tuple(read_rom(item) for item in items)
    if len({rom["name"] for rom in roms}) < len(roms):
        raise invalid("Repeated ROM name")
    return roms


def read_rom(members: Members) -> dict[str, Any]:
    """A ROM as stored: ``name``, ``at`` if mounted, and ``image`` or ``files``."""
    rom: dict[str, Any] = {"name": valid_name(members.required_text("name"))}
    image, files = members.raw("image"), members.children("files")
    if (image is None) == (files is None):
        raise ItemError(ErrorCode.NOT_BOTH, "A ROM has either 'image' or 'files'")
    if files is None:
        rom["image"] = read_image(image)
    else:
        rom["files"] = _read_rom_files(files)
    if (at := members.text("at")) is not None:
        rom["at"] = valid_mount_path(at)
    members.done()
    return rom


def _read_rom_files(items: list[Members]) -> list[dict[str, str]]:
    if len(items) > _MOST_ROM_FILES:
        raise invalid(f"Too many files in a ROM: at most {_MOST_ROM_FILES}")
    files, size = [], 0
    for item in items:
        path = item.required_text("path")
        valid_mount_path("/" + path.removeprefix("/"))
        encoding = item.choice("encoding", ("text", "base64")) or "text"
        data = item.required_text("data")
        item.done()
        size += len(rom_file_content(encoding, data))
        files.append({"path": path, "encoding": encoding, "data": data})
    if size > _MOST_ROM_BYTES:
        raise invalid("The files of a ROM are larger than 1 MB")
    return files


def rom_file_content(encoding: str, data: str) -> bytes:
    """Raises ``ItemError`` where *data* is not what *encoding* says."""
    try:
        return data.encode() if encoding == "text" else b64decode(data, validate=True)
    except binascii.Error as error:
        raise invalid("A ROM's file is not base64") from error


def read_plugins(items: list[Members]) -> tuple[dict[str, Any], ...]:
    if len(items) > _MOST_PLUGINS:
        raise invalid(f"Too many plugins: at most {_MOST_PLUGINS}")
    plugins = tuple(read_plugin(item) for item in items)
    if len({plugin["name"] for plugin in plugins}) < len(plugins):
        raise invalid("Repeated plugin name")
    return plugins


def read_plugin(members: Members) -> dict[str, Any]:
    plugin: dict[str, Any] = {"name": valid_plugin_name(members.required_text("name"))}
    image, rom = members.raw("image"), members.raw("rom")
    if image is not None and rom is not None:
        raise ItemError(ErrorCode.NOT_BOTH, "A plugin has either 'image' or 'rom'")
    plugin["image"] = read_image(rom if image is None else image)
    if "config" in members:
        plugin["config"] = members.raw("config")
    if (authorization := members.child("authorization")) is not None:
        kind = authorization.choice("type", ("userdb", "bearer")) or "userdb"
        token = authorization.text("token")
        authorization.done()
        if kind == "bearer" and not (token and len(token) <= _LONGEST_PLUGIN_TOKEN):
            raise invalid("A plugin's bearer authorization needs a token of at most 256 characters")
        plugin["authorization"] = {"type": kind, "token": token}
    members.done()
    return plugin


def _read_features(members: Members) -> tuple[str, ...]:
    features = members.texts("features") or ()
    for feature in features:
        if feature not in _FEATURES:
            raise invalid(f"Invalid feature '{feature}'")
    if "nested-virt" in features:
        raise ItemError(
            ErrorCode.NOT_ALLOWED, "Nested virtualization is not enabled for your account"
        )
    return features


def _read_group(members: Members, zone: str) -> tuple[Identifier | None, GroupSpec | None]:
    group = members.child("service_group")
    if group is None:
        return None, None
    if "services" in group:
        return None, read_inline_group(group, zone)
    identifier = read_identifier(group)
    group.done()
    return identifier, None


def _read_volumes(members: Members, limits: QuotaLimits) -> tuple[VolumeMount, ...]:
    mounts = tuple(_read_mount(item, limits) for item in members.children("volumes") or [])
    paths = [mount.at.rstrip("/") for mount in mounts]
    if len(set(paths)) < len(paths):
        raise invalid("Two volumes are mounted at the same path")
    return mounts


def _read_mount(members: Members, limits: QuotaLimits) -> VolumeMount:
    at = valid_mount_path(members.required_text("at"))
    readonly = members.flag("readonly") or False
    if members.keys() & {"size_mb", "host_path", "template"}:
        return VolumeMount(
            existing=None, new=read_new_volume(members, limits), at=at, readonly=readonly
        )
    identifier = read_identifier(members)
    members.done()
    return VolumeMount(existing=identifier, new=None, at=at, readonly=readonly)

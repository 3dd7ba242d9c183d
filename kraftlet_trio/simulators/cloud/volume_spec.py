"""What a request says about volumes."""

from __future__ import annotations

import attrs

from kraftlet_trio.cloud.objects import QuotaLimits
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.validation import valid_name, valid_tags

QUOTA_POLICIES = ("static", "dynamic")
_FILESYSTEMS = ("ext4", "virtiofs")
_ACCESS_MODES = ("rwo", "rox", "rwx")


@attrs.frozen(kw_only=True)
class VolumeSpec:
    name: str | None
    size_mb: int
    quota_policy: str
    filesystem: str
    access_mode: str
    tags: tuple[str, ...]


def read_new_volume(members: Members, limits: QuotaLimits) -> VolumeSpec:
    if "template" in members:
        raise ItemError(ErrorCode.NOT_SUPPORTED, "Volume templates are not simulated")
    name = members.text("name")
    size_mb = members.integer("size_mb", limits.min_volume_mb, limits.max_volume_mb)
    if size_mb is None:
        raise BadRequest("Missing member 'size_mb'")
    spec = VolumeSpec(
        name=None if name is None else valid_name(name),
        size_mb=size_mb,
        quota_policy=members.choice("quota_policy", QUOTA_POLICIES) or "static",
        filesystem=members.choice("filesystem", _FILESYSTEMS) or "ext4",
        access_mode=members.choice("access_mode", _ACCESS_MODES) or "rwo",
        tags=valid_tags(members.texts("tags") or ()),
    )
    members.done()
    if spec.access_mode == "rwx" and spec.filesystem != "virtiofs":
        raise invalid("Access mode 'rwx' needs filesystem 'virtiofs'")
    return spec

"""What a request says about volumes."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kraftlet_trio.cloud.objects import QuotaLimits
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid
from kraftlet_trio.simulators.cloud.identifiers import Identifier, read_identifier
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.validation import valid_name, valid_tags

QUOTA_POLICIES = ("static", "dynamic")
_FILESYSTEMS = ("ext4", "virtiofs")
ACCESS_MODES = ("rwo", "rox", "rwx")


@attrs.frozen(kw_only=True)
class VolumeSpec:
    name: str | None
    size_mb: int
    """0 for as large as the template."""
    quota_policy: str
    filesystem: str
    access_mode: str
    tags: tuple[str, ...]
    template: Identifier | None = None
    filesystem_args: Mapping[str, str] = attrs.field(factory=dict)


def read_new_volume(members: Members, limits: QuotaLimits) -> VolumeSpec:
    for managed in ("host_path", "uid", "gid"):
        if managed in members:
            raise ItemError(
                ErrorCode.NOT_ALLOWED, "Managed volumes are not enabled for your account"
            )
    template_members, template = members.child("template"), None
    if template_members is not None:
        template = read_identifier(template_members)
        template_members.done()
    name = members.text("name")
    size_mb = members.integer("size_mb", limits.min_volume_mb, limits.max_volume_mb)
    if size_mb is None and template is None:
        raise BadRequest("Missing member 'size_mb'")
    spec = VolumeSpec(
        name=None if name is None else valid_name(name),
        size_mb=size_mb or 0,
        quota_policy=members.choice("quota_policy", QUOTA_POLICIES) or "static",
        filesystem=members.choice("filesystem", _FILESYSTEMS) or "ext4",
        access_mode=members.choice("access_mode", ACCESS_MODES) or "rwo",
        tags=valid_tags(members.texts("tags") or ()),
        template=template,
        filesystem_args=members.text_map("args") or {},
    )
    members.done()
    if spec.access_mode == "rwx" and spec.filesystem != "virtiofs":
        raise invalid("Access mode 'rwx' needs filesystem 'virtiofs'")
    return spec

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
    """0 for as large as the template, and for a managed volume."""
    quota_policy: str
    filesystem: str
    access_mode: str
    tags: tuple[str, ...]
    template: Identifier | None = None
    filesystem_args: Mapping[str, str] = attrs.field(factory=dict)
    host_path: str = ""
    """Of a managed volume: the directory of the machine that it is."""
    uid: int = 0
    gid: int = 0


def read_new_volume(members: Members, limits: QuotaLimits) -> VolumeSpec:
    host_path = _read_host_path(members)
    uid, gid = members.integer("uid", 0) or 0, members.integer("gid", 0) or 0
    if (uid or gid) and not host_path:
        raise invalid("'uid' and 'gid' are for managed volumes")
    template_members, template = members.child("template"), None
    if template_members is not None:
        template = read_identifier(template_members)
        template_members.done()
    name = members.text("name")
    size_mb = members.integer("size_mb", limits.min_volume_mb, limits.max_volume_mb)
    if size_mb is None and template is None and not host_path:
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
        host_path=host_path,
        uid=uid,
        gid=gid,
    )
    members.done()
    if spec.access_mode == "rwx" and spec.filesystem != "virtiofs":
        raise invalid("Access mode 'rwx' needs filesystem 'virtiofs'")
    return spec


def _read_host_path(members: Members) -> str:
    """Empty for a volume of the platform's own."""
    path = members.text("host_path")
    if path is None:
        return ""
    if members.keys() & {"size_mb", "template", "quota_policy"}:
        raise ItemError(
            ErrorCode.NOT_BOTH, "A managed volume has no 'size_mb', 'template' or 'quota_policy'"
        )
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise invalid(f"Invalid host path '{path}'")
    return path

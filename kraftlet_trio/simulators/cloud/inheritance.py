"""What an instance takes over from the template, instance or checkpoint it is made from."""

from __future__ import annotations

import attrs

from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.images import ImageName
from kraftlet_trio.simulators.cloud.instance_spec import InstanceSpec, VolumeMount
from kraftlet_trio.simulators.cloud.records import Attachment, Autokill, Instance
from kraftlet_trio.simulators.cloud.volume_spec import VolumeSpec
from kraftlet_trio.simulators.cloud.volumes import from_template


def inherited(spec: InstanceSpec, source: Instance) -> InstanceSpec:
    """*spec* with all that its source says, or says where the spec does not."""
    mounted = {mount.at.rstrip("/") for mount in spec.volumes}
    copies = [
        copied_volume(each) for each in source.attachments if each.at.rstrip("/") not in mounted
    ]
    return attrs.evolve(
        spec,
        image=_url(source.image),
        image_credentials=source.image.credentials,
        args=source.args,
        env=dict(source.env),
        memory_mb=source.memory_mb,
        vcpus=source.vcpus,
        volumes=(*spec.volumes, *copies),
        roms=spec.roms or source.roms,
        plugins=spec.plugins or source.plugins,
        annotations={**source.annotations, **spec.annotations},
        schedules=spec.schedules or source.schedules,
        autokill=_autokill(spec, source),
        lineage=source.lineage,
    )


def with_templates_of_volumes(account: Account, spec: InstanceSpec) -> InstanceSpec:
    """New volumes of *spec* as their templates complete them. Raises ``ItemError``."""
    mounts = []
    for mount in spec.volumes:
        if mount.new is not None and mount.new.template is not None:
            template = account.volume_templates.find(mount.new.template)
            new = from_template(account, mount.new)
            mount = attrs.evolve(mount, new=new, copy_of=template.uuid)
        mounts.append(mount)
    return attrs.evolve(spec, volumes=tuple(mounts))


def copied_volume(attachment: Attachment) -> VolumeMount:
    """A new volume at the same place with the same content."""
    volume = attachment.volume
    return VolumeMount(
        existing=None,
        new=VolumeSpec(
            name=None,
            size_mb=volume.size_mb,
            quota_policy=volume.quota_policy,
            filesystem=volume.filesystem,
            access_mode=volume.access_mode,
            tags=(),
        ),
        at=attachment.at,
        readonly=attachment.readonly,
        copy_of=volume.uuid,
    )


def _autokill(spec: InstanceSpec, source: Instance) -> Autokill:
    """A template's or checkpoint's own is not for those made from it."""
    if spec.autokill != Autokill() or source.idle_since is not None:
        return spec.autokill
    return source.autokill


def _url(image: ImageName) -> str:
    digest = f"@{image.digest}" if image.digest else ""
    return f"{image.repository}:{image.tag}{digest}"

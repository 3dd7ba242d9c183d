"""The volumes of a Pod that are not files: those of its own, and those of its claims.

A volume of the Pod's own (``emptyDir``, ``hostPath``) is one cloud volume for all its containers,
as it is one directory for a kubelet, and goes with the Pod. Containers that run one after another
can share any volume. Those that run side by side are separate instances, and need one that several
instances may write to: on virtiofs, with the access mode ``rwx``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from kraftlet_trio.cloud.objects import InstanceVolumeRequest, VolumeRequest
from kraftlet_trio.kubernetes.pod import Container, Pod, VolumeMount
from kraftlet_trio.kubernetes.pod_volumes import (
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    Volume,
)
from kraftlet_trio.mapping.bound_claims import ClaimVolume, claim_name
from kraftlet_trio.mapping.names import Naming, NodeIdentity, pod_volume_tags
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning, shown
from kraftlet_trio.mapping.quantities import QuantityError, quantity, volume_mib

FILE_SOURCES = frozenset({"configMap", "secret", "downwardAPI", "projected", "image"})
"""Kinds of volumes that are read-only files, and no volumes of the platform."""

DEFAULT_EMPTY_DIR_MIB = 100
"""Size of an ``emptyDir`` without ``sizeLimit``, which has no bound on an ordinary node."""

_DIRECTORY_TYPES = ("", "Directory", "DirectoryOrCreate")
"""What a ``hostPath`` may be here: the platform passes directories on, and nothing else."""


@attrs.frozen
class PodVolume:
    """A cloud volume that belongs to one Pod alone."""

    volume: str
    """Name in the Pod."""
    request: VolumeRequest


def pod_volumes(
    pod: Pod, *, owner: NodeIdentity, naming: Naming, min_volume_mb: int, host_paths: bool
) -> tuple[PodVolume, ...]:
    """The cloud volumes of *pod*'s own, for those of its volumes that a container mounts.

    A volume that cannot be is left out: :func:`mounts` says of it what is wrong. *min_volume_mb*
    is the size of the account's smallest volume in MiB, *host_paths* whether ``hostPath`` is to be
    had.
    """
    metadata, found = pod.metadata, []
    for volume in pod.spec.volumes:
        users = _users(pod, volume.name)
        if not users or _problem(volume, host_paths=host_paths) is not None:
            continue
        shared = any(_overlap(pod, one, other) for one in users for other in users)
        request = VolumeRequest(
            name=naming.pod_volume(metadata.name, metadata.uid, volume.name),
            filesystem="virtiofs" if shared else None,
            access_mode="rwx" if shared else "rwo",
            tags=pod_volume_tags(
                owner, metadata.namespace, metadata.name, metadata.uid, volume.name
            ),
        )
        if volume.empty_dir is not None:
            size_mb = max(_empty_dir_mib(volume.empty_dir), min_volume_mb)
            found.append(PodVolume(volume.name, attrs.evolve(request, size_mb=size_mb)))
        elif volume.host_path is not None:
            path = volume.host_path.path
            found.append(PodVolume(volume.name, attrs.evolve(request, host_path=path)))
    return tuple(found)


def mounts(
    pod: Pod,
    container: Container,
    *,
    claim_volumes: Mapping[str, ClaimVolume],
    pod_volumes: Sequence[PodVolume],
) -> tuple[InstanceVolumeRequest, ...]:
    """What *container*'s instance mounts, but files.

    *claim_volumes* are the cloud volumes of claims that have one, by the claim's name.

    Raises:
        ConfigurationProblem: a mount asks for what cannot be.
    """
    if container.volume_devices:
        raise ConfigurationProblem(
            "FailedMapVolume",
            f"container {container.name} asks for a block device, which is not to be had on "
            'Unikraft Cloud; mount a volume of mode "Filesystem"',
        )
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    own = {each.volume: each.request.name for each in pod_volumes}
    requests: list[InstanceVolumeRequest] = []
    for mount in container.volume_mounts:
        volume = volumes.get(mount.name)
        if volume is None:
            raise _mount_problem(mount, "the Pod has no volume of that name; add it, or correct it")
        if volume.source in FILE_SOURCES:
            continue
        path = mount_path(mount)
        request = _request(pod, volume, mount, path, claim_volumes, own)
        for other in requests:
            if (other.name, other.uuid) == (request.name, request.uuid):
                raise _mount_problem(
                    mount, "an instance mounts a volume once; remove all but one of its mounts"
                )
            if other.at == path:
                raise _mount_problem(
                    mount, f"another volume is mounted at {shown(path)}; mount it elsewhere"
                )
        requests.append(request)
    return tuple(requests)


def mount_path(mount: VolumeMount) -> str:
    """Where *mount* is mounted, in the platform's canonical form.

    Raises:
        ConfigurationProblem: the platform cannot mount anything there.
    """
    path = mount.mount_path
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or not parts or ".." in parts or ":" in path:
        raise _mount_problem(
            mount,
            f'path {shown(path)} cannot be mounted at; write an absolute one, without ".." or ":"',
        )
    return "/" + "/".join(parts)


def volume_warnings(pod: Pod) -> tuple[ConfigurationWarning, ...]:
    """What of *pod*'s volumes is other than on an ordinary node."""
    return tuple(
        ConfigurationWarning(
            "MemoryVolumeOnDisk",
            f'emptyDir {shown(volume.name)} of medium "Memory" is kept on a volume of '
            f"{_empty_dir_mib(volume.empty_dir)} MiB; its content does not count as memory, and "
            "is lost only with the Pod",
        )
        for volume in pod.spec.volumes
        if volume.empty_dir is not None
        and volume.empty_dir.medium == "Memory"
        and _empty_dir_problem(volume.empty_dir) is None
        and _users(pod, volume.name)
    )


def _request(
    pod: Pod,
    volume: Volume,
    mount: VolumeMount,
    path: str,
    claim_volumes: Mapping[str, ClaimVolume],
    own: Mapping[str, str],
) -> InstanceVolumeRequest:
    if mount.sub_path or mount.sub_path_expr:
        raise _mount_problem(
            mount,
            f"subPath {shown(mount.sub_path or mount.sub_path_expr)} cannot be mounted alone; "
            "mount the whole volume",
        )
    if volume.name in own:
        return InstanceVolumeRequest(name=own[volume.name], at=path, readonly=mount.read_only)
    claim = claim_name(pod, volume)
    if claim is None:
        why = _problem(volume, host_paths=False)
        raise _mount_problem(mount, why or "the platform has no such volume (yet)")
    found = claim_volumes.get(claim)
    if found is None:
        raise _mount_problem(
            mount,
            f"claim {shown(claim)} has no cloud volume (yet); create it, and see that "
            "its storage class is one that this node provides",
        )
    source = volume.persistent_volume_claim
    read_only = mount.read_only or found.read_only or (source is not None and source.read_only)
    return InstanceVolumeRequest(uuid=found.uuid, at=path, readonly=read_only)


def _problem(volume: Volume, *, host_paths: bool) -> str | None:
    """Why *volume* cannot be one of the Pod's own."""
    if volume.empty_dir is not None:
        return _empty_dir_problem(volume.empty_dir)
    if volume.host_path is not None:
        return _host_path_problem(volume.host_path) or (None if host_paths else _NO_HOST_PATHS)
    return (
        f"a volume of kind {shown(volume.source)} cannot be mounted here; "
        "use a persistentVolumeClaim"
    )


_NO_HOST_PATHS = (
    "hostPath volumes are switched off on this node, for they show a Pod the platform's machine; "
    "use a persistentVolumeClaim or an emptyDir, or let the node's administrator switch them on "
    "with --enable-host-path-volumes"
)


def _empty_dir_problem(source: EmptyDirVolumeSource) -> str | None:
    if source.medium not in ("", "Memory"):
        return (
            f"emptyDir of medium {shown(source.medium)} is not to be had on Unikraft Cloud; "
            "leave the medium out"
        )
    try:
        _empty_dir_mib(source)
    except QuantityError as error:
        return f"sizeLimit: {error}"
    return None


def _empty_dir_mib(source: EmptyDirVolumeSource) -> int:
    """Raises ``QuantityError``."""
    # A limit of zero is none, as for a kubelet.
    unlimited = not source.size_limit or quantity(source.size_limit) == 0
    return DEFAULT_EMPTY_DIR_MIB if unlimited else volume_mib(source.size_limit)


def _host_path_problem(source: HostPathVolumeSource) -> str | None:
    if source.type not in _DIRECTORY_TYPES:
        return (
            f"hostPath of type {shown(source.type)} cannot be mounted into an instance; "
            'mount a "Directory"'
        )
    parts = source.path.split("/")
    if not source.path.startswith("/") or ".." in parts:
        return f'hostPath {shown(source.path)} is no place; write an absolute path, without ".."'
    return None


def _users(pod: Pod, volume: str) -> list[Container]:
    return [
        container
        for container in (*pod.spec.init_containers, *pod.spec.containers)
        if any(mount.name == volume for mount in container.volume_mounts)
    ]


def _overlap(pod: Pod, earlier: Container, later: Container) -> bool:
    """Whether two containers run side by side; *earlier* begins before, or they begin together.

    An init container has ended before the next one begins, unless it is one that goes on running.
    """
    order = [*pod.spec.init_containers, *pod.spec.containers]
    if order.index(earlier) >= order.index(later):
        return False
    return earlier not in pod.spec.init_containers or earlier.restart_policy == "Always"


def _mount_problem(mount: VolumeMount, why: str) -> ConfigurationProblem:
    return ConfigurationProblem("FailedMount", f"volume mount {shown(mount.name)}: {why}")

"""A container's file-shaped mounts as read-only ROMs: one a mount, at its path.

The platform mounts a ROM on a directory, holds 16 files and 1 MB in one, and 8 of them in an
instance. What does not fit is refused: parting it would change where files are.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping

import attrs

from kraftlet_trio.cloud.objects import ImageRequest, RomFile, RomRequest
from kraftlet_trio.kubernetes.pod import Container, Pod, VolumeMount
from kraftlet_trio.kubernetes.pod_volumes import ImageVolumeSource, Volume
from kraftlet_trio.mapping.environment import References, sub_path_of
from kraftlet_trio.mapping.file_contents import (
    FileSources,
    projections,
    tells_pod_address,
    volume_files,
)
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning, shown
from kraftlet_trio.mapping.tokens import TokenWanted
from kraftlet_trio.mapping.volumes import FILE_SOURCES, mount_path

MOST_ROMS = 8
"""Of an instance."""
MOST_FILES = 16
MOST_BYTES = 1_000_000
"""Of a ROM made of files."""

_PULL_POLICIES = {"Always": "always", "IfNotPresent": "if_not_present", "Never": "never"}


@attrs.frozen
class Files:
    roms: tuple[RomRequest, ...] = attrs.field(repr=False)
    warnings: tuple[ConfigurationWarning, ...] = ()


def file_references(pod: Pod, container: Container) -> References:
    """The ConfigMaps and Secrets to have at hand for ``roms``, optional ones included."""
    config_maps, secrets = set(), set()
    for volume, _ in _mounted(pod, container):
        for one in projections(volume):
            if one.config_map is not None:
                config_maps.add(one.config_map.name)
            if one.secret is not None:
                secrets.add(one.secret.name)
    return References(config_maps=frozenset(config_maps), secrets=frozenset(secrets))


def tokens_wanted(pod: Pod, container: Container) -> frozenset[TokenWanted]:
    """The ServiceAccount tokens to have at hand for ``roms``."""
    return frozenset(
        TokenWanted(
            one.service_account_token.audience, one.service_account_token.expiration_seconds
        )
        for volume, _ in _mounted(pod, container)
        for one in projections(volume)
        if one.service_account_token is not None
    )


def files_need_pod_ip(pod: Pod, container: Container) -> bool:
    """Whether a file tells the Pod's address, which is known once there is an instance."""
    return any(tells_pod_address(volume) for volume, _ in _mounted(pod, container))


def roms(
    pod: Pod, container: Container, sources: FileSources, variables: Mapping[str, str]
) -> Files:
    """The ROMs of *container*'s instance, in the order of its mounts.

    *variables* are its environment, for ``subPathExpr``.

    Raises:
        ConfigurationProblem: something required is missing, or does not fit into ROMs.
    """
    made: dict[str, RomRequest] = {}
    warnings: list[ConfigurationWarning] = []
    for volume, mount in _mounted(pod, container):
        if volume.image is not None:
            _add(made, mount, _image_rom(volume, volume.image, mount))
            continue
        content = volume_files(volume, container, sources)
        warnings += content.warnings
        path, files = _cut(mount, content.files, sub_path_of(mount, variables))
        if path != mount_path(mount):
            warnings.append(_hides(mount, path))
            if (other := made.get(path)) is not None and other.files is not None:
                # Single files in one directory are one ROM.
                merged = {**{one.path: one for one in other.files}, **_rom_files(files)}
                made[path] = _checked(mount, attrs.evolve(other, files=tuple(merged.values())))
                continue
        if files:
            rom = RomRequest(name=volume.name, at=path, files=tuple(_rom_files(files).values()))
            _add(made, mount, _checked(mount, rom))
    if len(made) > MOST_ROMS:
        raise ConfigurationProblem(
            "FailedMount",
            f"container {container.name} mounts {len(made)} volumes of files, and an instance "
            f"takes {MOST_ROMS}; join some of them in a projected volume",
        )
    return Files(tuple(_with_own_names(made.values())), tuple(dict.fromkeys(warnings)))


def _mounted(pod: Pod, container: Container) -> Iterator[tuple[Volume, VolumeMount]]:
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    for mount in container.volume_mounts:
        volume = volumes.get(mount.name)
        if volume is not None and volume.source in FILE_SOURCES:
            yield volume, mount


def _image_rom(volume: Volume, source: ImageVolumeSource, mount: VolumeMount) -> RomRequest:
    if mount.sub_path or mount.sub_path_expr:
        raise _problem(mount, "a part of an image cannot be mounted alone; mount the whole")
    image: str | ImageRequest = source.reference
    if policy := _PULL_POLICIES.get(source.pull_policy):
        image = ImageRequest(url=source.reference, pull_policy=policy)
    return RomRequest(name=volume.name, at=mount_path(mount), image=image)


def _cut(
    mount: VolumeMount, files: Mapping[str, bytes], sub_path: str
) -> tuple[str, dict[str, bytes]]:
    """What of *files* is mounted, and where: a directory of them, or a single one."""
    path = mount_path(mount)
    if not sub_path:
        return path, dict(files)
    sub_path = sub_path.strip("/")
    below = {
        name.removeprefix(f"{sub_path}/"): content
        for name, content in files.items()
        if name.startswith(f"{sub_path}/")
    }
    if below:
        return path, below
    if sub_path not in files:
        raise _problem(mount, f"has nothing at subPath {shown(sub_path)}; correct it")
    directory, _, name = path.rpartition("/")
    if directory.count("/") < 2:
        raise _problem(
            mount,
            f"a file cannot be mounted alone at {shown(path)}: only directories can be mounted, "
            f"and all else in {shown(directory or '/')} would be hidden; mount it in a directory "
            "of its own",
        )
    return directory, {name: files[sub_path]}


def _hides(mount: VolumeMount, directory: str) -> ConfigurationWarning:
    return ConfigurationWarning(
        "SubPathHidesDirectory",
        f"volume mount {shown(mount.name)}: the platform mounts directories only, so that the file "
        f"{shown(mount.mount_path)} hides all that the image has in {shown(directory)}; mount it "
        "in a directory of its own",
    )


def _rom_files(files: Mapping[str, bytes]) -> dict[str, RomFile]:
    return {path: _rom_file(path, content) for path, content in sorted(files.items())}


def _rom_file(path: str, content: bytes) -> RomFile:
    """Text as it is, anything else in base64."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return RomFile(path=path, data=text)
    return RomFile(path=path, data=base64.b64encode(content).decode(), encoding="base64")


def _checked(mount: VolumeMount, rom: RomRequest) -> RomRequest:
    files = rom.files or ()
    if len(files) > MOST_FILES:
        raise _problem(
            mount,
            f"holds {len(files)} files, and a read-only mount takes {MOST_FILES}; choose those "
            "that are needed with items, or mount a claim",
        )
    size = sum(
        len(one.data.encode()) if one.encoding is None else len(one.data) * 3 // 4 for one in files
    )
    if size > MOST_BYTES:
        raise _problem(
            mount,
            f"holds {size} bytes, and a read-only mount takes {MOST_BYTES}; choose those files "
            "that are needed with items, or mount a claim",
        )
    return rom


def _add(made: dict[str, RomRequest], mount: VolumeMount, rom: RomRequest) -> None:
    if rom.at in made:
        raise _problem(
            mount, f"something is mounted at {shown(rom.at)} already; choose another path"
        )
    made[rom.at] = rom


def _with_own_names(made: Iterable[RomRequest]) -> Iterator[RomRequest]:
    """A volume that is mounted several times is as many ROMs."""
    taken: set[str] = set()
    for rom in made:
        name, number = rom.name, 1
        while name in taken:
            number += 1
            name = f"{rom.name}-{number}"
        taken.add(name)
        yield attrs.evolve(rom, name=name)


def _problem(mount: VolumeMount, why: str) -> ConfigurationProblem:
    return ConfigurationProblem("FailedMount", f"volume mount {shown(mount.name)}: {why}")

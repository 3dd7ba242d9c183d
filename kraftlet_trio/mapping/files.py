"""A container's file-shaped mounts as read-only ROMs: one a mount, at its path.

The platform mounts a ROM on a directory, holds 16 files and 1 MB in one, and 8 of them in an
instance. What does not fit is refused: parting it would change where files are. Mounts inside other
mounts of files are one ROM with them: nothing can be mounted in what is read-only.
"""

from __future__ import annotations

import base64
import json
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
from kraftlet_trio.mapping.names import DNS_LABEL_CHARACTERS
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning, shown
from kraftlet_trio.mapping.tokens import TokenWanted
from kraftlet_trio.mapping.volumes import FILE_SOURCES, mount_path

MOST_ROMS = 8
"""Of an instance."""
MOST_FILES = 16
MOST_BYTES = 1_000_000
"""Of a ROM made of files."""
MOST_BYTES_IN_ALL = 7_000_000
"""Of all files of an instance as JSON: a request takes 8 MB, and its environment has a share."""

_CROWDED_DIRECTORIES = frozenset(
    {
        *("/etc/init.d", "/etc/pki", "/etc/ssl", "/etc/ssl/certs"),
        *("/usr/bin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local", "/usr/sbin"),
        *("/usr/local/bin", "/usr/local/lib", "/usr/local/sbin", "/usr/share"),
        *("/var/lib", "/var/run"),
    }
)
"""Whatever runs needs more of them than a single file."""

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
    # What is mounted as a whole comes first, so that single files can join it.
    for volume, mount in sorted(_mounted(pod, container), key=lambda one: _is_part(one[1])):
        if volume.image is not None:
            _add(made, mount, _image_rom(volume, volume.image, mount))
            continue
        content = volume_files(volume, container, sources)
        warnings += content.warnings
        sub_path = _clean(sub_path_of(mount, variables))
        if sub_path and content.lacks(sub_path):
            continue  # what it would show is optional
        path, files = _cut(mount, content.files, sub_path)
        joined = made.get(path)
        if path != mount_path(mount) and joined is None:
            warnings.append(_hides(mount, path))
        if path != mount_path(mount) and joined is not None and joined.files is not None:
            made[path] = _with_files(joined, _rom_files(files))
        elif files:
            rom = RomRequest(name=volume.name, at=path, files=tuple(_rom_files(files).values()))
            _add(made, mount, rom)
        elif not content.incomplete:
            warnings.append(_is_empty(mount))
    every = tuple(_with_own_names(_joined(made).values()))
    _check_volumes(pod, container, every)
    _check_limits(container, every)
    return Files(every, tuple(dict.fromkeys(warnings)))


def _mounted(pod: Pod, container: Container) -> Iterator[tuple[Volume, VolumeMount]]:
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    for mount in container.volume_mounts:
        volume = volumes.get(mount.name)
        if volume is not None and volume.source in FILE_SOURCES:
            yield volume, mount


def _is_part(mount: VolumeMount) -> bool:
    return bool(mount.sub_path or mount.sub_path_expr)


def _clean(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _image_rom(volume: Volume, source: ImageVolumeSource, mount: VolumeMount) -> RomRequest:
    if _is_part(mount):
        raise _problem(mount.name, "a part of an image cannot be mounted alone; mount the whole")
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
    below = {
        name.removeprefix(f"{sub_path}/"): content
        for name, content in files.items()
        if name.startswith(f"{sub_path}/")
    }
    if below:
        return path, below
    if sub_path not in files:
        raise _problem(mount.name, f"has nothing at subPath {shown(sub_path)}; correct it")
    directory, _, name = path.rpartition("/")
    if directory.count("/") < 2 or directory in _CROWDED_DIRECTORIES:
        raise _problem(
            mount.name,
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


def _is_empty(mount: VolumeMount) -> ConfigurationWarning:
    return ConfigurationWarning(
        "EmptyVolume",
        f"volume mount {shown(mount.name)} has no files, and the platform mounts no empty ones: "
        f"there may be no directory {shown(mount.mount_path)}",
    )


def _with_files(rom: RomRequest, files: Mapping[str, RomFile]) -> RomRequest:
    """*rom* with *files* in the place of what it has there."""
    kept = {
        one.path: one
        for one in rom.files or ()
        if not any(one.path == path or one.path.startswith(f"{path}/") for path in files)
    }
    for path in files:
        if above := next((one for one in kept if path.startswith(f"{one}/")), None):
            raise _problem(
                rom.name,
                f"its file {shown(above)} is where {shown(f'{rom.at}/{path}')} needs a directory; "
                "mount that elsewhere",
            )
    return attrs.evolve(rom, files=tuple({**kept, **files}.values()))


def _joined(made: Mapping[str, RomRequest]) -> dict[str, RomRequest]:
    """Each ROM inside another one as a part of that."""
    joined: dict[str, RomRequest] = {}
    for path, rom in sorted(made.items(), key=lambda one: one[0].count("/")):
        outer = next((one for one in joined if path.startswith(f"{one}/")), None)
        if outer is None:
            joined[path] = rom
            continue
        if rom.files is None or joined[outer].files is None:
            raise _problem(
                rom.name,
                f"nothing can be mounted at {shown(path)}, for {shown(outer)} is read-only; mount "
                "one of them elsewhere",
            )
        inside = path.removeprefix(f"{outer}/")
        visible = tuple(
            one
            for one in joined[outer].files or ()
            if one.path != inside and not one.path.startswith(f"{inside}/")
        )
        moved = [attrs.evolve(one, path=f"{inside}/{one.path}") for one in rom.files]
        joined[outer] = _with_files(
            attrs.evolve(joined[outer], files=visible), {one.path: one for one in moved}
        )
    return {path: joined[path] for path in made if path in joined}


def _check_volumes(pod: Pod, container: Container, every: Iterable[RomRequest]) -> None:
    """Raises where a volume of another kind would have to be mounted on files, or among them."""
    of_files = {volume.name for volume in pod.spec.volumes if volume.source in FILE_SOURCES}
    paths = [rom.at for rom in every]
    for mount in container.volume_mounts:
        if mount.name in of_files:
            continue
        path = mount_path(mount)
        if outer := next((at for at in paths if path == at or path.startswith(f"{at}/")), None):
            raise _problem(
                mount.name,
                f"it cannot be mounted at {shown(path)}, for {shown(outer)} is read-only; mount it "
                "elsewhere",
            )


def _check_limits(container: Container, every: tuple[RomRequest, ...]) -> None:
    if len(every) > MOST_ROMS:
        raise ConfigurationProblem(
            "FailedMount",
            f"container {container.name} mounts {len(every)} volumes of files, and an instance "
            f"takes {MOST_ROMS}; join some of them in a projected volume",
        )
    in_all = 0
    for rom in every:
        files = rom.files or ()
        if len(files) > MOST_FILES:
            raise _problem(
                rom.name,
                f"holds {len(files)} files at {shown(rom.at)}, and a read-only mount takes "
                f"{MOST_FILES}; choose those that are needed with items, or mount a claim",
            )
        size = sum(map(_size, files))
        if size > MOST_BYTES:
            raise _problem(
                rom.name,
                f"holds {size} bytes at {shown(rom.at)}, and a read-only mount takes {MOST_BYTES}; "
                "choose those files that are needed with items, or mount a claim",
            )
        in_all += sum(len(json.dumps(one.data, ensure_ascii=False).encode()) for one in files)
    if in_all > MOST_BYTES_IN_ALL:
        raise ConfigurationProblem(
            "FailedMount",
            f"the files of container {container.name} take {in_all} bytes in a request, and there "
            f"is room for {MOST_BYTES_IN_ALL}; mount fewer of them, or a claim",
        )


def _size(file: RomFile) -> int:
    if file.encoding is None:
        return len(file.data.encode())
    return len(file.data) // 4 * 3 - file.data[-2:].count("=")


def _add(made: dict[str, RomRequest], mount: VolumeMount, rom: RomRequest) -> None:
    if rom.at in made:
        raise _problem(
            mount.name, f"something is mounted at {shown(rom.at)} already; choose another path"
        )
    made[rom.at] = rom


def _with_own_names(made: Iterable[RomRequest]) -> Iterator[RomRequest]:
    """A volume that is mounted several times is as many ROMs."""
    taken: set[str] = set()
    for rom in made:
        name, number = rom.name, 1
        while name in taken:
            number += 1
            suffix = f"-{number}"
            name = rom.name[: DNS_LABEL_CHARACTERS - len(suffix)].rstrip("-") + suffix
        taken.add(name)
        yield attrs.evolve(rom, name=name)


def _problem(volume: str, why: str) -> ConfigurationProblem:
    return ConfigurationProblem("FailedMount", f"volume mount {shown(volume)}: {why}")

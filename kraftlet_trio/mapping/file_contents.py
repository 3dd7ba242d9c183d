"""The files of a Pod's volumes of kind configMap, secret, downwardAPI and projected.

As the kubelet lays them out: a file a key unless ``items`` choose, the later source of a projected
volume wins, what is missing and not optional keeps the container from starting.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping

import attrs

from kraftlet_trio.kubernetes.objects import ConfigMap, Secret
from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.kubernetes.pod_volumes import (
    ConfigMapProjection,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    KeyToPath,
    SecretProjection,
    Volume,
    VolumeProjection,
)
from kraftlet_trio.mapping.downward import POD_ADDRESSES, Fields, field_value, resource_value
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning, shown
from kraftlet_trio.mapping.tokens import TokenWanted

_USUAL_MODES = (None, 0o644)


@attrs.frozen(kw_only=True)
class FileSources:
    """What files are made of."""

    fields: Fields
    config_maps: Mapping[str, ConfigMap | None] = attrs.field(repr=False)
    secrets: Mapping[str, Secret | None] = attrs.field(repr=False)
    """By name; None, or absent, for one that does not exist."""
    tokens: Mapping[TokenWanted, str] = attrs.field(repr=False)


@attrs.frozen
class VolumeFiles:
    """Content by relative path."""

    files: dict[str, bytes] = attrs.field(repr=False)
    warnings: tuple[ConfigurationWarning, ...] = ()
    incomplete: bool = False
    """Something optional is missing."""

    def lacks(self, path: str) -> bool:
        """Whether nothing is at *path*, which may be for that reason."""
        there = any(one == path or one.startswith(f"{path}/") for one in self.files)
        return self.incomplete and not there


def projections(volume: Volume) -> tuple[VolumeProjection, ...]:
    """*volume* as a projected one, whatever kind of files it is."""
    if volume.projected is not None:
        return volume.projected.sources
    if (config_map := volume.config_map) is not None:
        projection = ConfigMapProjection(
            name=config_map.name, items=config_map.items, optional=config_map.optional
        )
        return (VolumeProjection(config_map=projection),)
    if (secret := volume.secret) is not None:
        return (
            VolumeProjection(
                secret=SecretProjection(
                    name=secret.secret_name, items=secret.items, optional=secret.optional
                )
            ),
        )
    if volume.downward_api is not None:
        downward = DownwardAPIProjection(items=volume.downward_api.items)
        return (VolumeProjection(downward_api=downward),)
    return ()


def tells_pod_address(volume: Volume) -> bool:
    """Whether a file of *volume* tells the Pod's address."""
    return any(
        item.field_ref is not None and item.field_ref.field_path in POD_ADDRESSES
        for one in projections(volume)
        if one.downward_api is not None
        for item in one.downward_api.items
    )


def volume_files(volume: Volume, container: Container, sources: FileSources) -> VolumeFiles:
    """The files of *volume* as *container* mounts it.

    Raises:
        ConfigurationProblem: something required is missing, or paths cannot be.
    """
    laying = _Laying(volume, container, sources)
    for one in projections(volume):
        laying.add(one)
    laying.check_modes()
    return VolumeFiles(laying.files, tuple(laying.warnings), laying.incomplete)


@attrs.define
class _Laying:
    volume: Volume
    container: Container
    sources: FileSources
    files: dict[str, bytes] = attrs.field(factory=dict, init=False)
    warnings: list[ConfigurationWarning] = attrs.field(factory=list, init=False)
    incomplete: bool = attrs.field(default=False, init=False)

    def add(self, one: VolumeProjection) -> None:
        if one.config_map is not None:
            found = self.sources.config_maps.get(one.config_map.name)
            data = None if found is None else _config_map_data(found)
            self._add_object("ConfigMap", one.config_map.name, data, one.config_map)
        elif one.secret is not None:
            held = self.sources.secrets.get(one.secret.name)
            data = None if held is None else dict(_decoded(held.data, one.secret.name))
            self._add_object("Secret", one.secret.name, data, one.secret)
        elif one.downward_api is not None:
            for item in one.downward_api.items:
                self._put(item.path, self._field(item).encode())
        elif one.service_account_token is not None:
            token = one.service_account_token
            wanted = TokenWanted(token.audience, token.expiration_seconds)
            self._put(token.path, self.sources.tokens[wanted].encode())
        else:
            raise self._problem(
                "has a source of a kind that cannot be had here; use configMap, secret, "
                "downwardAPI or serviceAccountToken"
            )

    def check_modes(self) -> None:
        modes = [item.mode for item in _items(projections(self.volume))]
        for source in (
            self.volume.config_map,
            self.volume.secret,
            self.volume.downward_api,
            self.volume.projected,
        ):
            if source is not None:
                modes.append(source.default_mode)
        asked = sorted({mode for mode in modes if mode is not None and mode not in _USUAL_MODES})
        if asked:
            listed = ", ".join(f"0{mode:o}" for mode in asked)
            self.warnings.append(
                ConfigurationWarning(
                    "FileModeIgnored",
                    f"volume {shown(self.volume.name)} asks for files of mode {listed}, but the "
                    "platform's read-only files have no modes of their own",
                )
            )

    def _add_object(
        self,
        kind: str,
        name: str,
        data: Mapping[str, bytes] | None,
        source: ConfigMapProjection | SecretProjection,
    ) -> None:
        namespace = self.sources.fields.pod.metadata.namespace
        if data is None:
            if not source.optional:
                raise self._problem(
                    f'{kind.lower()} "{name}" not found; create it in namespace {namespace}, or '
                    "mark the volume optional"
                )
            self._note_missing(f"{kind}NotFound", f'{kind.lower()} "{name}" not found')
            return
        if not source.items:
            for key, content in data.items():
                self._put(key, content)
            return
        for item in source.items:
            if item.key in data:
                self._put(item.path, data[item.key])
            elif not source.optional:
                raise self._problem(
                    f"references non-existent key {shown(item.key)} of {kind} {namespace}/{name}; "
                    "add the key, or mark the volume optional"
                )
            else:
                self._note_missing(
                    f"{kind}KeyNotFound",
                    f"couldn't find key {item.key} in {kind} {namespace}/{name}",
                )

    def _note_missing(self, reason: str, message: str) -> None:
        self.incomplete = True
        where = f"{message} (volume {self.volume.name}); it is optional"
        self.warnings.append(ConfigurationWarning(f"Optional{reason}", where))

    def _field(self, item: DownwardAPIVolumeFile) -> str:
        if item.field_ref is not None:
            return field_value(item.field_ref.field_path, self.sources.fields)
        if item.resource_field_ref is not None:
            return resource_value(item.resource_field_ref, self.container, self.sources.fields)
        raise self._problem(f"says nothing of its file {shown(item.path)}; refer to a field")

    def _put(self, path: str, content: bytes) -> None:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if not parts or path.startswith("/") or ".." in parts or ":" in path or "\0" in path:
            raise self._problem(
                f'has a file at {shown(path)}; write a relative path, without ".." or ":"'
            )
        path = "/".join(parts)
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        if any(one in self.files for one in above) or any(
            other.startswith(path + "/") for other in self.files
        ):
            raise self._problem(f"has both a file and a directory at {shown(path)}; rename one")
        self.files[path] = content

    def _problem(self, why: str) -> ConfigurationProblem:
        return ConfigurationProblem("FailedMount", f"volume {shown(self.volume.name)}: {why}")


def _config_map_data(config_map: ConfigMap) -> dict[str, bytes]:
    return {
        **{key: text.encode() for key, text in config_map.data.items()},
        **dict(_decoded(config_map.binary_data, config_map.metadata.name)),
    }


def _decoded(data: Mapping[str, str], name: str) -> Iterator[tuple[str, bytes]]:
    for key, text in data.items():
        try:
            yield key, base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ConfigurationProblem(
                "FailedMount", f"key {shown(key)} of {shown(name)} is not base64; correct it"
            ) from error


def _items(every: Iterable[VolumeProjection]) -> Iterator[KeyToPath | DownwardAPIVolumeFile]:
    for one in every:
        for source in (one.config_map, one.secret, one.downward_api):
            if source is not None:
                yield from source.items

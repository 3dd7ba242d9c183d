"""A container's environment, resolved before its instance is created, as the kubelet resolves it.

``envFrom`` in order, then ``env``; the later wins. ``$(VAR)`` sees all that came before it, and the
variables that tell of Services, which those of the container's own go before; only a literal value
is expanded. Reasons of events are those of the virtual-kubelet library, messages begin as the
kubelet's do.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import ChainMap
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from kraftlet_trio.kubernetes.objects import ConfigMap, Secret
from kraftlet_trio.kubernetes.pod import (
    Container,
    EnvFromReference,
    EnvVar,
    KeySelector,
    VolumeMount,
)
from kraftlet_trio.mapping.downward import POD_ADDRESSES, Fields, field_value, resource_value
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning, shown

MOST_CHARACTERS = 2**20
"""Of one text after expansion, and of a whole environment. References may double a text again and
again; Linux takes less than this anyway."""

_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[^)]*)\))")


@attrs.frozen
class References:
    """Names of the objects in the Pod's namespace that a container's environment needs."""

    config_maps: frozenset[str]
    secrets: frozenset[str]


@attrs.frozen
class Environment:
    variables: dict[str, str] = attrs.field(repr=False)
    """May hold Secrets' values."""
    warnings: tuple[ConfigurationWarning, ...] = ()


def references(container: Container) -> References:
    """The ConfigMaps and Secrets to have at hand for ``resolve``, optional ones included."""
    config_maps = set()
    secrets = set()
    for source in container.env_from:
        if source.config_map_ref:
            config_maps.add(source.config_map_ref.name)
        if source.secret_ref:
            secrets.add(source.secret_ref.name)
    for variable in container.env:
        if variable.value_from and variable.value_from.config_map_key_ref:
            config_maps.add(variable.value_from.config_map_key_ref.name)
        if variable.value_from and variable.value_from.secret_key_ref:
            secrets.add(variable.value_from.secret_key_ref.name)
    return References(config_maps=frozenset(config_maps), secrets=frozenset(secrets))


def needs_pod_ip(container: Container) -> bool:
    """Whether a variable of *container* tells the Pod's address.

    An instance has one only once it exists: it has to be made stopped, be told, and be started.
    """
    return any(
        variable.value_from is not None
        and variable.value_from.field_ref is not None
        and variable.value_from.field_ref.field_path in POD_ADDRESSES
        for variable in container.env
        if not variable.value
    )


def resolve(
    container: Container,
    fields: Fields,
    *,
    config_maps: Mapping[str, ConfigMap | None],
    secrets: Mapping[str, Secret | None],
    services: Mapping[str, str] = MappingProxyType({}),
) -> Environment:
    """The variables of *container*; objects that do not exist are None, or absent, in the mappings.

    *services* are the variables that tell of Services.

    Raises:
        ConfigurationProblem: a required object, key or field is missing, or is not text.
    """
    namespace = fields.pod.metadata.namespace
    resolution = _Resolution(
        container=container,
        fields=fields,
        config_maps=_Objects("ConfigMap", namespace, config_maps),
        secrets=_Objects("Secret", namespace, secrets),
        services=dict(services),
    )
    for source in container.env_from:
        if source.config_map_ref:
            resolution.add_all(resolution.config_maps, source.config_map_ref, source.prefix)
        if source.secret_ref:
            resolution.add_all(resolution.secrets, source.secret_ref, source.prefix)
    for variable in container.env:
        resolution.add(variable)
    resolution.add_services()
    return Environment(resolution.variables, tuple(resolution.warnings))


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace each ``$(VAR)`` that is known by its value and each ``$$`` by ``$``.

    Source: Kubernetes' third_party/forked/golang/expansion.

    Raises:
        ConfigurationProblem: the result would be longer than ``MOST_CHARACTERS``.
    """
    characters = len(text)

    def replacement(match: re.Match[str]) -> str:
        nonlocal characters
        name = match["name"]
        if name is None:
            return "$"
        value = variables.get(name, match[0])
        characters += len(value) - len(match[0])
        if characters > MOST_CHARACTERS:
            raise _too_large(f"the text {shown(text)} with its $(…) replaced")
        return value

    # No reference ends behind the last parenthesis: searching there, for each "$(" anew, to the
    # very end would take quadratic time.
    end = text.rfind(")") + 1
    return _REFERENCE.sub(replacement, text[:end]) + text[end:].replace("$$", "$")


def sub_path_of(mount: VolumeMount, variables: Mapping[str, str]) -> str:
    """What of its volume *mount* shows; empty for all of it. *variables* are the container's.

    Raises:
        ConfigurationProblem: ``subPathExpr`` refers to a variable that is not there, or empty; or
            the path leads out of the volume.
    """
    path = mount.sub_path
    if mount.sub_path_expr:
        known = {name: value for name, value in variables.items() if value}
        path = expand(mount.sub_path_expr, known)
        names = {match["name"] for match in _REFERENCE.finditer(mount.sub_path_expr)}
        if missing := sorted(name for name in names if name is not None and name not in known):
            raise ConfigurationProblem(
                "FailedMount",
                f"volume mount {shown(mount.name)}: missing value for {shown(', '.join(missing))} "
                f"in subPathExpr {shown(mount.sub_path_expr)}; define the variables, not empty",
            )
    if path.startswith("/") or ".." in path.split("/"):
        raise ConfigurationProblem(
            "FailedMount",
            f"volume mount {shown(mount.name)}: subPath {shown(path)} leads out of the volume; "
            'write a relative path, without ".."',
        )
    return path


class _NotText(Exception):
    pass


@attrs.frozen
class _Objects:
    """The ConfigMaps or the Secrets of a namespace, read alike."""

    kind: str
    namespace: str
    objects: Mapping[str, ConfigMap | None] | Mapping[str, Secret | None]

    def data(self, name: str) -> Mapping[str, str] | None:
        found = self.objects.get(name)
        return None if found is None else found.data

    def text(self, value: str) -> str:
        """Decode a *value* of ``data``. Raises ``_NotText``."""
        if self.kind == "ConfigMap":
            return value
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise _NotText from error
        if "\0" in text:
            raise _NotText
        return text

    def full_name(self, name: str) -> str:
        return f"{self.kind} {self.namespace}/{name}"


@attrs.define
class _Resolution:
    container: Container
    fields: Fields
    config_maps: _Objects
    secrets: _Objects
    services: dict[str, str]
    variables: dict[str, str] = attrs.field(factory=dict, init=False)
    warnings: list[ConfigurationWarning] = attrs.field(factory=list, init=False)
    _characters: int = attrs.field(default=0, init=False)

    def add_all(self, objects: _Objects, reference: EnvFromReference, prefix: str) -> None:
        data = objects.data(reference.name)
        if data is None:
            self._missing_object(objects, reference.name, optional=reference.optional)
            return
        skipped = []
        for key, value in data.items():
            name = prefix + key
            try:
                if not _NAME.fullmatch(name) or name == "." or name.startswith(".."):
                    raise _NotText
                self._set(name, objects.text(value))
            except _NotText:
                skipped.append(name)
        if skipped:
            self.warnings.append(
                ConfigurationWarning(
                    "InvalidEnvironmentVariableNames",
                    f"Keys {shown(', '.join(sorted(skipped)))} from the EnvFrom "
                    f"{objects.full_name(reference.name)} were skipped since they are considered "
                    f"invalid environment variable names, or their values are not text; "
                    f"rename them, or mount them as files",
                )
            )

    def add(self, variable: EnvVar) -> None:
        source = variable.value_from
        value: str | None
        # As in the kubelet, a value that is not empty goes before its source.
        if variable.value or source is None:
            value = expand(variable.value, ChainMap(self.variables, self.services))
        elif source.field_ref:
            value = field_value(source.field_ref.field_path, self.fields)
        elif source.resource_field_ref:
            value = resource_value(source.resource_field_ref, self.container, self.fields)
        elif source.config_map_key_ref:
            value = self._key(self.config_maps, source.config_map_key_ref)
        elif source.secret_key_ref:
            value = self._key(self.secrets, source.secret_key_ref)
        else:
            raise ConfigurationProblem(
                "UnsupportedEnvironmentSource",
                f"environment variable {shown(variable.name)} of container {self.container.name} "
                "comes from a source that is not supported; use a value, a fieldRef, a "
                "resourceFieldRef, a configMapKeyRef or a secretKeyRef",
            )
        if value is not None:
            self._set(variable.name, value)

    def add_services(self) -> None:
        try:
            for name, value in self.services.items():
                if name not in self.variables:
                    self._set(name, value)
        except ConfigurationProblem as problem:
            raise ConfigurationProblem(
                problem.reason,
                f"{problem.message}, or leave out what tells of the namespace's many Services, by "
                "enableServiceLinks: false",
            ) from problem

    def _set(self, name: str, value: str) -> None:
        self._characters += len(name) + len(value)
        if self._characters > MOST_CHARACTERS:
            raise _too_large(f"the environment of container {self.container.name}")
        self.variables[name] = value

    def _key(self, objects: _Objects, selector: KeySelector) -> str | None:
        data = objects.data(selector.name)
        if data is None:
            self._missing_object(objects, selector.name, optional=selector.optional)
            return None
        if selector.key not in data:
            self._missing(
                f"{objects.kind}KeyNotFound",
                f"couldn't find key {selector.key} in {objects.full_name(selector.name)}",
                cure="add the key",
                optional=selector.optional,
            )
            return None
        try:
            return objects.text(data[selector.key])
        except _NotText as error:
            raise ConfigurationProblem(
                f"FailedToReadMandatory{objects.kind}",
                f"key {selector.key} in {objects.full_name(selector.name)} is not text, as an "
                f"environment variable has to be; store UTF-8 without NUL under it",
            ) from error

    def _missing_object(self, objects: _Objects, name: str, *, optional: bool) -> None:
        self._missing(
            f"{objects.kind}NotFound",
            f'{objects.kind.lower()} "{name}" not found',
            cure=f"create it in namespace {objects.namespace}",
            optional=optional,
        )

    def _missing(self, reason: str, message: str, *, cure: str, optional: bool) -> None:
        where = f"{message} (environment of container {self.container.name})"
        if not optional:
            raise ConfigurationProblem(
                f"Mandatory{reason}", f"{where}; {cure}, or mark the reference optional"
            )
        self.warnings.append(ConfigurationWarning(f"Optional{reason}", f"{where}; it is optional"))


def _too_large(what: str) -> ConfigurationProblem:
    return ConfigurationProblem(
        "EnvironmentTooLarge", f"{what} has more than {MOST_CHARACTERS} characters; shorten it"
    )

"""Annotations that shape what a Pod becomes in the cloud.

A value that cannot be understood counts as absent, and is reported as a problem beside the result.
So is a key of ours that is not known, most often a slip of the pen. Where what runs depends on the
value, nothing is to run before somebody has put it right. A blank value is an absent one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

import attrs

from kraftlet_trio.cloud.objects import ScaleToZero
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.mapping.annotation_values import (
    LARGEST_MILLISECONDS,
    POLICIES,
    AnnotationProblem,
    AnnotationReader,
)
from kraftlet_trio.mapping.pod_phase import is_sidecar
from kraftlet_trio.mapping.problems import shown
from kraftlet_trio.mapping.quantities import DEFAULT_MEMORY_MIB, DEFAULT_VCPUS

POD_PREFIX: Final = "cloud.unikraft.v1.instances/"

AUTOSTART: Final = POD_PREFIX + "autostart"
IGNORE: Final = POD_PREFIX + "ignore"
ENABLE_EXEC: Final = POD_PREFIX + "enable-exec"
REFRESH: Final = POD_PREFIX + "refresh"
STRICT: Final = POD_PREFIX + "strict"
TEMPLATE: Final = POD_PREFIX + "template"
PLUGINS: Final = POD_PREFIX + "plugins"
SCALE_TO_ZERO_POLICY: Final = POD_PREFIX + "scale_to_zero.policy"
SCALE_TO_ZERO_STATEFUL: Final = POD_PREFIX + "scale_to_zero.stateful"
SCALE_TO_ZERO_COOLDOWN: Final = POD_PREFIX + "scale_to_zero.cooldown_time_ms"
SCALE_TO_ZERO_NOTIFY: Final = POD_PREFIX + "scale_to_zero.notify_time_ms"

SERVICE_GROUPS: Final = POD_PREFIX + "service-groups"
"""Written by the daemon: names of the service groups that the Pod's instances join, by comma.

Service groups carry no tags and Services may be gone before their Pods, so this is what tells a
later daemon which groups to remove.
"""
FQDNS: Final = POD_PREFIX + "fqdns"
"""Written by the daemon: the names by which its instances are reached, as JSON by container."""

_OF_POD = (AUTOSTART, IGNORE, ENABLE_EXEC, REFRESH, STRICT)
_OF_CONTAINERS = (
    TEMPLATE,
    PLUGINS,
    SCALE_TO_ZERO_POLICY,
    SCALE_TO_ZERO_STATEFUL,
    SCALE_TO_ZERO_COOLDOWN,
    SCALE_TO_ZERO_NOTIFY,
)
"""For all containers, or with ``.<container>`` behind them for one."""

_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,253}[A-Za-z0-9])?")
_OBJECT_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?")
_CONFIG_MAP_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


_SCALE_TO_ZERO = ScaleToZero(policy="on", stateful=False, cooldown_time_ms=1000)


class Refresh(StrEnum):
    """When a container that runs takes over that a ConfigMap, Secret or token has changed."""

    OFF = "off"
    """When it is next restarted, for whatever reason."""
    NEXT_START = "next-start"
    """When its instance next starts, be it from sleep."""
    RESTART = "restart"
    """At once, by a restart."""


@attrs.frozen(kw_only=True)
class PodDefaults:
    """What holds on this node for Pods that say nothing else."""

    memory_mb: int = DEFAULT_MEMORY_MIB
    """MiB."""
    vcpus: int = DEFAULT_VCPUS
    scale_to_zero: ScaleToZero = _SCALE_TO_ZERO
    exec_plugin_image: str = "plugins/sandbox:latest"
    """The plugin that runs commands inside instances."""
    enable_exec: bool = False
    fqdn_annotations: bool = False
    """Whether the names of its instances are noted on each Pod."""


@attrs.frozen
class PluginList:
    """Where a list of plugins is."""

    config_map: str
    key: str | None = None
    """None: the usual one, or the only one."""


@attrs.frozen(kw_only=True)
class ContainerOptions:
    """What the annotations ask for one container."""

    template: str | None = None
    """Name of an instance template to use in place of the container's image."""
    plugins: PluginList | None = None
    scale_to_zero: ScaleToZero = _SCALE_TO_ZERO
    """Asked for; an instance that nothing could wake does without."""


@attrs.frozen(kw_only=True)
class PodOptions:
    """What a Pod's annotations ask for."""

    autostart: bool = True
    ignored: frozenset[str] = frozenset()
    """Containers that get no instance and count as running."""
    enable_exec: bool = False
    """Whether commands can be run in all of its instances."""
    refresh: Refresh = Refresh.OFF
    strict: bool = False
    """Whether a field that cannot be honoured refuses the Pod."""
    of_containers: Mapping[str, ContainerOptions] = attrs.field(factory=dict)
    defaults: PodDefaults = PodDefaults()
    problems: tuple[AnnotationProblem, ...] = ()
    """Without effect; the Pod runs all the same."""
    blocking: tuple[AnnotationProblem, ...] = ()
    """None of its containers can start before these are put right."""

    def of(self, container: str) -> ContainerOptions:
        found = self.of_containers.get(container)
        return found or ContainerOptions(scale_to_zero=self.defaults.scale_to_zero)


def pod_options(pod: Pod, defaults: PodDefaults = PodDefaults()) -> PodOptions:
    """What the annotations of *pod* ask for. Never raises."""
    reader = AnnotationReader(pod.metadata.annotations)
    autostart = reader.boolean(AUTOSTART, default=True)
    enable_exec = reader.boolean(ENABLE_EXEC, default=defaults.enable_exec)
    refresh = reader.choice(REFRESH, tuple(Refresh), default=Refresh.OFF)
    strict = reader.boolean(STRICT, default=False)
    names = {container.name for container in lasting_containers(pod)}
    ignored = _ignored(reader, names)
    of_containers = _of_containers(reader, pod, defaults.scale_to_zero)
    _report_strangers(reader, names)
    return PodOptions(
        autostart=autostart,
        ignored=ignored,
        enable_exec=enable_exec,
        refresh=Refresh(refresh),
        strict=strict,
        of_containers=of_containers,
        defaults=defaults,
        problems=tuple(reader.problems),
        blocking=tuple(reader.blocking),
    )


def lasting_containers(pod: Pod) -> tuple[Container, ...]:
    """Those that run side by side: the sidecars among the init containers, and the regular ones."""
    return (*filter(is_sidecar, pod.spec.init_containers), *pod.spec.containers)


def _ignored(reader: AnnotationReader, names: Collection[str]) -> frozenset[str]:
    wanted = frozenset(reader.items(IGNORE))
    for name in sorted(wanted.difference(names)):
        reader.block(
            IGNORE, f"write names of containers by comma, of these: {_listed(names)}", item=name
        )
    return wanted.intersection(names)


def _of_containers(
    reader: AnnotationReader, pod: Pod, default: ScaleToZero
) -> dict[str, ContainerOptions]:
    common_template = _template(reader, TEMPLATE)
    common_plugins = _plugin_list(reader, PLUGINS)
    common_sleep = _scale_to_zero(reader, "", default)
    regular = {container.name for container in pod.spec.containers}
    options = {}
    for name in sorted({container.name for container in lasting_containers(pod)}):
        suffix = f".{name}"
        template = _template(reader, TEMPLATE + suffix)
        options[name] = ContainerOptions(
            # A template holds what the Pod is for; a sidecar is added to that, often by others.
            template=template or (common_template if name in regular else None),
            plugins=_plugin_list(reader, PLUGINS + suffix) or common_plugins,
            scale_to_zero=_scale_to_zero(reader, suffix, common_sleep),
        )
    return options


def _template(reader: AnnotationReader, key: str) -> str | None:
    text = reader.text(key)
    if text and not _TEMPLATE_NAME.fullmatch(text):
        reader.block(key, "write the name of an instance template, or remove the annotation")
        return None
    return text or None


def _plugin_list(reader: AnnotationReader, key: str) -> PluginList | None:
    text = reader.text(key)
    if not text:
        return None
    config_map, slash, entry = text.partition("/")
    if not _OBJECT_NAME.fullmatch(config_map) or (slash and not _CONFIG_MAP_KEY.fullmatch(entry)):
        reader.block(
            key,
            "write the name of a ConfigMap, or <ConfigMap>/<key>, or remove the annotation",
        )
        return None
    return PluginList(config_map, entry or None)


def _scale_to_zero(reader: AnnotationReader, suffix: str, default: ScaleToZero) -> ScaleToZero:
    cooldown_ms = reader.number(
        SCALE_TO_ZERO_COOLDOWN + suffix,
        "whole milliseconds",
        default=default.cooldown_time_ms or 0,
        most=LARGEST_MILLISECONDS,
    )
    return ScaleToZero(
        policy=reader.choice(SCALE_TO_ZERO_POLICY + suffix, POLICIES, default=default.policy),
        stateful=reader.boolean(SCALE_TO_ZERO_STATEFUL + suffix, default=bool(default.stateful)),
        cooldown_time_ms=cooldown_ms,
        notify_time_ms=_notify_ms(reader, suffix, default.notify_time_ms or 0, cooldown_ms) or None,
    )


def _notify_ms(reader: AnnotationReader, suffix: str, default_ms: int, cooldown_ms: int) -> int:
    """How long before it sleeps an instance is told so: less than *cooldown_ms*, or not at all.

    Source: platform reference, scale to zero.
    """
    key = SCALE_TO_ZERO_NOTIFY + suffix
    default_ms = default_ms if default_ms < cooldown_ms else 0
    notify_ms = reader.number(
        key, "whole milliseconds", default=default_ms, most=LARGEST_MILLISECONDS
    )
    if notify_ms and notify_ms >= cooldown_ms:
        reader.report(
            key, f'"{default_ms}" is used; write less than the cooldown, which is {cooldown_ms}'
        )
        return default_ms
    return notify_ms


def _report_strangers(reader: AnnotationReader, names: Collection[str]) -> None:
    known = {*_OF_POD, *_OF_CONTAINERS}
    read = known | {f"{key}.{name}" for key in _OF_CONTAINERS for name in names}
    for prefix in (f"{TEMPLATE}.", f"{PLUGINS}."):
        for key, name in reader.keys(prefix):
            if key in read or _is_written(key.removeprefix(POD_PREFIX)):
                continue
            read.add(key)
            if reader.text(key):
                reader.block(
                    key,
                    f"{shown(name)} is none of the containers that can have one: {_listed(names)}; "
                    "correct the key, or remove it",
                )
    reader.report_unknown(
        POD_PREFIX, known, lambda name: POD_PREFIX + name in read or _is_written(name)
    )


def is_plugin_address(name: str) -> bool:
    """Whether an annotation, given without its prefix, is one in which the daemon notes a URL.

    Container and plugin names have no dots, so these are never lists of plugins.
    """
    return name.startswith("plugins.") and name.endswith(".url") and name.count(".") > 1


def _is_written(name: str) -> bool:
    """Whether the daemon writes a key, given without its prefix."""
    return is_plugin_address(name) or POD_PREFIX + name in (SERVICE_GROUPS, FQDNS)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"

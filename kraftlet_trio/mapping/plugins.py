"""The plugins of a container's instance: those that a ConfigMap lists, and the one that executes.

Limits are those of the platform's reference of plugins.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs
import orjson

from kraftlet_trio.cloud import sandbox
from kraftlet_trio.cloud.objects import PluginRequest
from kraftlet_trio.kubernetes.objects import ConfigMap
from kraftlet_trio.kubernetes.pod import Container
from kraftlet_trio.mapping.annotations import PluginList, PodOptions
from kraftlet_trio.mapping.problems import ConfigurationProblem, shown

MOST_PLUGINS: Final = 8
USUAL_KEY: Final = "plugins.json"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_FIELDS = ("name", "rom", "image", "config")
_REASON = "InvalidPlugins"


@attrs.frozen
class Plugins:
    """What is attached to one instance."""

    listed: tuple[PluginRequest, ...] = ()
    """Asked for by somebody, who knows how they are reached."""
    added: tuple[PluginRequest, ...] = ()
    """Those that the node needs."""

    @property
    def requests(self) -> tuple[PluginRequest, ...]:
        return (*self.listed, *self.added)


def plugin_references(options: PodOptions, container: Container) -> frozenset[str]:
    """Names of the ConfigMaps that list plugins of *container*."""
    plugins = options.of(container.name).plugins
    return frozenset() if plugins is None else frozenset([plugins.config_map])


def plugins_of(container: Container, options: PodOptions, config_map: ConfigMap | None) -> Plugins:
    """The plugins of the instance that is *container*.

    *config_map* is the one that ``plugin_references`` names, or None where it does not exist.

    Raises:
        ConfigurationProblem: the list is missing or malformed, or the platform would refuse it.
    """
    where = options.of(container.name).plugins
    listed = () if where is None else _listed(where, config_map)
    if not needs_sandbox(container, options) or any(one.name == sandbox.PLUGIN for one in listed):
        return Plugins(listed)
    if len(listed) == MOST_PLUGINS:
        raise ConfigurationProblem(
            _REASON,
            f"container {container.name} has {MOST_PLUGINS} plugins, and needs one more to execute "
            f"commands, but an instance has at most {MOST_PLUGINS}; remove one, or its exec probes "
            "and hooks and the annotation enable-exec",
        )
    image = options.defaults.exec_plugin_image
    return Plugins(listed, (PluginRequest(name=sandbox.PLUGIN, image=image, config={}),))


def needs_sandbox(container: Container, options: PodOptions) -> bool:
    """Whether commands are to be executed in it: by its users, its probes or its hooks."""
    hooks = container.lifecycle
    actions = (
        container.startup_probe,
        container.liveness_probe,
        container.readiness_probe,
        hooks and hooks.post_start,
        hooks and hooks.pre_stop,
    )
    return options.enable_exec or any(action and action.exec for action in actions)


def counts_for_sleep(plugins: Plugins) -> bool:
    """Whether calls to *plugins* can be expected to wake an instance that nothing else wakes.

    A plugin that the node added is called only by whoever looks into the instance.
    """
    return bool(plugins.listed)


def _listed(where: PluginList, config_map: ConfigMap | None) -> tuple[PluginRequest, ...]:
    if config_map is None:
        raise ConfigurationProblem(
            _REASON,
            f"ConfigMap {where.config_map}, which should list plugins, does not exist; create it",
        )
    key = _key(where, config_map)
    place = f"key {shown(key)} of ConfigMap {where.config_map}"
    try:
        items = orjson.loads(config_map.data[key])
    except orjson.JSONDecodeError as error:
        raise ConfigurationProblem(
            _REASON, f"{place} is not JSON: {error}; write an array of plugins"
        ) from error
    if not isinstance(items, list):
        raise ConfigurationProblem(
            _REASON, f'{place} is no array; write [{{"name": …, "image": …}}]'
        )
    if len(items) > MOST_PLUGINS:
        raise ConfigurationProblem(
            _REASON,
            f"{place} lists {len(items)} plugins, but an instance has at most {MOST_PLUGINS}; "
            "remove some",
        )
    plugins: dict[str, PluginRequest] = {}
    for number, item in enumerate(items, start=1):
        try:
            plugin = _plugin(item)
            if plugin.name in plugins:
                raise ValueError(f"an earlier one is named {plugin.name} too; give it another name")
        except ValueError as error:
            raise ConfigurationProblem(_REASON, f"plugin {number} in {place}: {error}") from error
        plugins[plugin.name] = plugin
    return tuple(plugins.values())


def _key(where: PluginList, config_map: ConfigMap) -> str:
    if where.key is not None:
        if where.key in config_map.data:
            return where.key
        raise ConfigurationProblem(
            _REASON,
            f"ConfigMap {where.config_map} has no key {shown(where.key)}; add it, or name another "
            "in the annotation",
        )
    if USUAL_KEY in config_map.data:
        return USUAL_KEY
    if len(config_map.data) == 1:
        [only] = config_map.data
        return only
    raise ConfigurationProblem(
        _REASON,
        f"ConfigMap {where.config_map} has {len(config_map.data)} keys, none of them {USUAL_KEY}; "
        f"name one in the annotation: {where.config_map}/<key>",
    )


def _plugin(item: Any) -> PluginRequest:
    """A plugin as listed. Raises ``ValueError`` with what is wrong and the cure."""
    if not isinstance(item, dict):
        raise ValueError(f'it is no object; write {{"{_FIELDS[0]}": …, "image": …}}')
    if unknown := sorted(item.keys() - set(_FIELDS)):
        raise ValueError(f"{shown(unknown[0])} is no field of it; write {', '.join(_FIELDS)}")
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"its name is {_as_text(name)}; write 1 to 63 letters, digits, dashes and underscores"
        )
    images = [item[field] for field in ("rom", "image") if item.get(field) is not None]
    if len(images) != 1:
        raise ValueError(f'{name} has {len(images)} images; write either "image" or "rom"')
    [image] = images
    if not isinstance(image, str) or not image.strip():
        raise ValueError(f"image of {name} is {_as_text(image)}; write an image reference")
    try:
        orjson.dumps(item.get("config"))
    except orjson.JSONEncodeError as error:
        raise ValueError(f"config of {name} is nested too deeply; flatten it") from error
    return PluginRequest(name=name, image=image.strip(), config=item.get("config"))


def _as_text(value: Any) -> str:
    return shown(value) if isinstance(value, str) else "no text"

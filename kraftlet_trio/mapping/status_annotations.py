"""What the daemon notes on a Pod of its instances, where its status has no room for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
import orjson

from kraftlet_trio.cloud.objects import DRAINING, RUNNING, STANDBY, Instance
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.mapping.annotations import (
    FQDNS,
    POD_PREFIX,
    PodOptions,
    is_plugin_address,
    lasting_containers,
)

_REACHABLE = (RUNNING, STANDBY, DRAINING)
"""A call to a plugin wakes an instance in standby."""
_LONGEST_KEY = 63
"""Of an annotation, behind its prefix (Kubernetes, syntax of annotations)."""


def status_annotations(
    pod: Pod, instances: Mapping[str, Instance], options: PodOptions, platform_url: str
) -> dict[str, str]:
    """What is to be noted on *pod* while it has these *instances* (by container).

    The names by which they are reached, where the node is to note them, and the addresses of their
    plugins, as far as they can be called. *platform_url* is that of the platform's API.
    """
    noted = {one.key: one.url(platform_url) for one in _addresses(pod, instances, options)}
    if options.defaults.fqdn_annotations and (names := _names(pod, instances)):
        noted[FQDNS] = orjson.dumps(names).decode()
    return noted


def annotation_changes(
    pod: Pod, instances: Mapping[str, Instance], options: PodOptions, platform_url: str
) -> dict[str, str | None]:
    """What to write on *pod* so that it says what ``status_annotations`` does; None takes one off.

    A note of an instance that only has stopped stays: it is right again once that runs.
    """
    present = pod.metadata.annotations
    wanted = status_annotations(pod, instances, options, platform_url)
    changes: dict[str, str | None] = {
        key: text for key, text in wanted.items() if present.get(key) != text
    }
    alive = {name: attrs.evolve(one, state=RUNNING) for name, one in instances.items()}
    kept = status_annotations(pod, alive, options, platform_url).keys() | {FQDNS}
    for key in present:
        is_ours = key.startswith(POD_PREFIX) and is_plugin_address(key.removeprefix(POD_PREFIX))
        if is_ours and key not in kept:
            changes[key] = None
    return changes


@attrs.frozen
class _Address:
    """Of a plugin, in an instance."""

    name: str
    """As the annotation calls it."""
    plugin: str
    instance: str

    @property
    def key(self) -> str:
        return f"{POD_PREFIX}{self.name}"

    def url(self, platform_url: str) -> str:
        return f"{platform_url}/v1/instances/{self.instance}/plugins/{self.plugin}"


def _addresses(
    pod: Pod, instances: Mapping[str, Instance], options: PodOptions
) -> Iterator[_Address]:
    names = [one.name for one in lasting_containers(pod) if one.name not in options.ignored]
    for container in names:
        instance = instances.get(container)
        if instance is None or instance.state not in _REACHABLE:
            continue
        owner = f"{container}." if len(names) > 1 else ""
        for plugin in instance.plugins:
            name = f"plugins.{owner}{plugin.name}.url"
            if len(name) <= _LONGEST_KEY:
                yield _Address(name, plugin.name, instance.uuid)


def _names(pod: Pod, instances: Mapping[str, Instance]) -> dict[str, dict[str, str]]:
    """By container: of its instance in the account's private network, and of its group."""
    names = {}
    for container in sorted(one.name for one in lasting_containers(pod)):
        instance = instances.get(container)
        if instance is None:
            continue
        domains = instance.service_group.domains if instance.service_group else ()
        public = domains[0].fqdn.rstrip(".") if domains else ""
        known = {"privateFqdn": instance.private_fqdn, "serviceFqdn": public}
        if any(known.values()):
            names[container] = {key: name for key, name in known.items() if name}
    return names

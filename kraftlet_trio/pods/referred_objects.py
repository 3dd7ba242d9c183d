"""The ConfigMaps and Secrets that a Pod's instances are made of, as objects to be watched."""

from __future__ import annotations

from collections.abc import Iterable

from kraftlet_trio.kubernetes.object_watches import ObjectKey
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.mapping.annotations import PodOptions
from kraftlet_trio.mapping.environment import references
from kraftlet_trio.mapping.plugins import plugin_references


def referred_objects(
    pod: Pod, containers: Iterable[Container], options: PodOptions
) -> frozenset[ObjectKey]:
    namespace = pod.metadata.namespace
    keys = set()
    for container in containers:
        needed = references(container)
        keys |= {ObjectKey("ConfigMap", namespace, name) for name in needed.config_maps}
        plugin_lists = plugin_references(options, container)
        keys |= {ObjectKey("ConfigMap", namespace, name) for name in plugin_lists}
        keys |= {ObjectKey("Secret", namespace, name) for name in needed.secrets}
    return frozenset(keys)

"""The ConfigMaps and Secrets that a Pod's instances are made of, as objects to be watched."""

from __future__ import annotations

from collections.abc import Iterable

from kraftlet_trio.kubernetes.object_watches import ObjectKey
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.mapping.annotations import PodOptions
from kraftlet_trio.mapping.environment import references
from kraftlet_trio.mapping.files import file_references
from kraftlet_trio.mapping.plugins import plugin_references


def referred_objects(
    pod: Pod, containers: Iterable[Container], options: PodOptions
) -> frozenset[ObjectKey]:
    namespace = pod.metadata.namespace
    config_maps: set[str] = set()
    secrets: set[str] = set()
    for container in containers:
        for needed in (references(container), file_references(pod, container)):
            config_maps |= needed.config_maps
            secrets |= needed.secrets
        config_maps |= plugin_references(options, container)
    return frozenset(
        {
            *(ObjectKey("ConfigMap", namespace, name) for name in config_maps),
            *(ObjectKey("Secret", namespace, name) for name in secrets),
        }
    )

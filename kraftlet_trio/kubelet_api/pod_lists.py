"""The Pods of the node, as the API server has them and as the cloud runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import DRAINING, RUNNING, STANDBY
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.resources import PODS
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.names import container_of

_RUNS = (RUNNING, DRAINING, STANDBY)
"""An instance that drains is on its way to standby, unless its stop was ordered."""


@attrs.frozen
class PodLists:
    _kubernetes: KubernetesClient
    _node_name: str
    _pods: Store[Pod]
    _feed: InstanceFeed

    async def assigned(self) -> bytes:
        """A PodList (JSON) of all Pods bound to the node, whole: the informer keeps parts only.

        Raises ``KubernetesError``.
        """
        own = f"spec.nodeName={self._node_name}"
        return await self._kubernetes.list_as_sent(PODS, field_selector=own)

    def running(self) -> dict[str, Any]:
        """A PodList of those that have a running instance, and are not being deleted.

        As the kubelet's, it says no more than what runs: names, and each running container's image.
        """
        items = (self._running(pod) for pod in self._pods.values())
        return {
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": {},
            "items": [item for item in items if item is not None],
        }

    def _running(self, pod: Pod) -> Mapping[str, Any] | None:
        if pod.metadata.deletion_timestamp is not None:
            return None
        instances = self._feed.of_pod(pod.metadata.uid).values()
        names = {container_of(instance.tags) for instance in instances if instance.state in _RUNS}
        every = (*pod.spec.init_containers, *pod.spec.containers)
        containers = [
            {"name": container.name, "image": container.image, "resources": {}}
            for container in every
            if container.name in names
        ]
        if not containers:
            return None
        return {
            "metadata": {
                "name": pod.metadata.name,
                "namespace": pod.metadata.namespace,
                "uid": pod.metadata.uid,
            },
            "spec": {"containers": containers},
            "status": {},
        }

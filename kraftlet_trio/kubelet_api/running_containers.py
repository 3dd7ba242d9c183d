"""What a path names: a Pod of this node, and the instance that is one of its containers."""

from __future__ import annotations

from urllib.parse import unquote

import attrs

from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.cloud.sandbox import PLUGIN
from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.container_state import is_alive
from kraftlet_trio.mapping.names import container_of


class NotThere(Exception):
    """What the path names is not there; *status* and the text are what a kubelet answers."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen
class RunningContainers:
    _pods: Store[Pod]
    _feed: InstanceFeed

    def pod(self, namespace: str, name: str, *uid: str) -> Pod:
        """All are percent-encoded. Raises ``NotThere``."""
        pod = self._pods.by_name(unquote(namespace), unquote(name))
        if pod is None or any(pod.metadata.uid != unquote(one) for one in uid):
            raise NotThere(404, "pod does not exist")
        return pod

    def container(self, *path: str) -> tuple[Pod, Container, Instance]:
        """By namespace, Pod, perhaps its uid, and container, all of them percent-encoded.

        Raises ``NotThere`` where it does not run.
        """
        *of_pod, name = path
        pod = self.pod(*of_pod)
        for container, instance in self.of_pod(pod):
            if container.name == unquote(name):
                return pod, container, instance
        raise NotThere(500, f'container not found ("{unquote(name)}")')

    def of_pod(self, pod: Pod) -> list[tuple[Container, Instance]]:
        """The containers that run, as the Pod's spec has them in order: main ones come first."""
        instances = {
            container_of(instance.tags): instance
            for instance in self._feed.of_pod(pod.metadata.uid).values()
            if is_alive(instance)
        }
        return [
            (container, instances[container.name])
            for container in (*pod.spec.containers, *pod.spec.init_containers)
            if container.name in instances
        ]


def executes_commands(instance: Instance) -> bool:
    """Whether it has the sandbox plugin."""
    return any(plugin.name == PLUGIN for plugin in instance.plugins)

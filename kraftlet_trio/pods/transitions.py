"""Events that tell a Pod's reader what a change of its status means, in kubelet's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs

from kraftlet_trio.kubernetes.pod import Container, ContainerStatus, Pod, PodStatus
from kraftlet_trio.mapping.container_status import container_status_of


@attrs.frozen
class PodEvent:
    """An event about a Pod, or about one container of it."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    container: str = ""


def transition_events(pod: Pod, before: PodStatus, after: PodStatus) -> Iterator[PodEvent]:
    """What happened to the containers between two statuses."""
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        status = container_status_of(after, container.name)
        if status is not None:
            yield from _container_events(
                pod, container, container_status_of(before, container.name), status
            )


def _container_events(
    pod: Pod, container: Container, before: ContainerStatus | None, after: ContainerStatus
) -> Iterator[PodEvent]:
    name = container.name
    was_running = before is not None and before.state.running is not None
    if after.state.running and not was_running:
        if after.restart_count == 0:
            yield PodEvent(
                "Normal", "Pulled", f'Successfully pulled image "{container.image}"', name
            )
            # Its instance is older than that, but whoever reads events knows kubelet's order.
            yield PodEvent("Normal", "Created", f"Created container: {name}", name)
        yield PodEvent("Normal", "Started", f"Started container {name}", name)
    waiting = after.state.waiting
    if waiting is None:
        return
    if before is not None and before.state.waiting == waiting:
        return
    match waiting.reason:
        case "ErrImagePull":
            yield PodEvent("Warning", "Failed", waiting.message, name)
            yield PodEvent("Warning", "Failed", "Error: ErrImagePull", name)
        case "ImagePullBackOff":
            text = f'Back-off pulling image "{container.image}"'
            yield PodEvent("Normal", "BackOff", text, name)
        case "CreateContainerConfigError" | "CreateContainerError":
            yield PodEvent("Warning", "Failed", f"Error: {waiting.message}", name)
        case "CrashLoopBackOff":
            meta = pod.metadata
            text = (
                f"Back-off restarting failed container {name} in pod "
                f"{meta.name}_{meta.namespace}({meta.uid})"
            )
            yield PodEvent("Warning", "BackOff", text, name)

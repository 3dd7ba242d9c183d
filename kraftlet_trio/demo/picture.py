"""Both sides of the node as rich tables: what Kubernetes says, and what the cloud has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table

from kraftlet_trio.cloud.objects import Instance, ServiceGroup, Volume
from kraftlet_trio.kubernetes.objects import PersistentVolumeClaim
from kraftlet_trio.kubernetes.pod import Pod, PodStatus

_STYLES = {
    "Running": "green",
    "Succeeded": "green",
    "Bound": "green",
    "running": "green",
    "mounted": "green",
    "Pending": "yellow",
    "starting": "yellow",
    "Failed": "red",
    "stopped": "dim",
}


def picture(
    pods: Iterable[Pod],
    claims: Iterable[PersistentVolumeClaim],
    instances: Sequence[Instance],
    groups: Sequence[ServiceGroup],
    volumes: Sequence[Volume],
) -> RenderableType:
    kubernetes = Table(title="Kubernetes", title_justify="left")
    for column in ("kind", "name", "ready", "status", "IP"):
        kubernetes.add_column(column)
    for pod in sorted(pods, key=lambda pod: pod.metadata.name):
        status = pod_summary(pod.status)
        kubernetes.add_row(
            "pod", pod.metadata.name, _ready(pod), _styled(status), pod.status.pod_ip
        )
    for claim in claims:
        kubernetes.add_row("claim", claim.metadata.name, "", _styled(claim.status.phase), "")
    cloud = Table(title="Unikraft Cloud", title_justify="left")
    for column in ("kind", "name", "state", "detail"):
        cloud.add_column(column)
    for instance in instances:
        detail = f"{instance.memory_mb} MiB, {instance.vcpus} vCPU"
        cloud.add_row("instance", instance.name, _styled(instance.state), detail)
    for group in groups:
        names = ", ".join(domain.fqdn for domain in group.domains)
        members = f"{len(group.instances)} instances"
        cloud.add_row("service group", group.name, members, names)
    for volume in volumes:
        cloud.add_row("volume", volume.name, _styled(volume.state), f"{volume.size_mb} MiB")
    return Group(Columns([kubernetes, cloud]))


def pod_summary(status: PodStatus) -> str:
    """One word, as kubectl's STATUS column has it."""
    for container in (*status.container_statuses, *status.init_container_statuses):
        if container.state.waiting is not None and container.state.waiting.reason:
            return container.state.waiting.reason
    return status.phase


def _ready(pod: Pod) -> str:
    ready = sum(container.ready for container in pod.status.container_statuses)
    return f"{ready}/{len(pod.spec.containers)}"


def _styled(word: str) -> str:
    style = _STYLES.get(word)
    return f"[{style}]{word}[/]" if style else word

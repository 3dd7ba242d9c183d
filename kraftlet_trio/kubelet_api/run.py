"""The node's two ports: the kubelet API, and health for whoever asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog
import trio

from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubelet_api.authentication import Authenticator
from kraftlet_trio.kubelet_api.authorization import Authorizer
from kraftlet_trio.kubelet_api.certificate import Pair, SelfSigned
from kraftlet_trio.kubelet_api.cluster_signed import ClusterSigned
from kraftlet_trio.kubelet_api.commands import Commands
from kraftlet_trio.kubelet_api.container_logs import ContainerLogs
from kraftlet_trio.kubelet_api.health import Health, HealthPort
from kraftlet_trio.kubelet_api.metric_pages import MetricPages
from kraftlet_trio.kubelet_api.pod_lists import PodLists
from kraftlet_trio.kubelet_api.port_forward import PortForward
from kraftlet_trio.kubelet_api.server import MAX_BODY_BYTES, KubeletAPI
from kraftlet_trio.kubelet_api.settings import KubeletAPISettings
from kraftlet_trio.kubelet_api.tls import (
    ServingTLS,
    authorities_in_file,
    authorities_of_cluster,
)
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.objects import Node
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.task_tree import LastSteps, TaskTree

log = structlog.get_logger()

Listen = Callable[..., Awaitable[None]]
"""``http.server.serve``, or what stands for it."""

STALE_SECONDS = 300.0
"""The kubelet, too, calls itself unwell when its loop has not gone round for so long."""


async def run_health_port(
    settings: KubeletAPISettings,
    health: Health,
    listen: Listen,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Tell *health* to anybody until cancelled; started once the port is open.

    Raises:
        OSError: the address cannot be bound.
    """
    async with trio.open_nursery() as nursery:
        listening = partial(
            listen,
            HealthPort(health).answer,
            host=settings.health_host,
            port=settings.health_port,
            max_body_bytes=MAX_BODY_BYTES,
        )
        log.info("health port listens", port=await nursery.start(listening))
        task_status.started()


async def run_kubelet_api(
    settings: KubeletAPISettings,
    node_name: str,
    kubernetes: KubernetesClient,
    pods: Store[Pod],
    feed: InstanceFeed,
    health: Health,
    metric_pages: MetricPages,
    logs: ContainerLogs,
    commands: Commands,
    port_forward: PortForward,
    actor_states: Callable[[], Mapping[str, str]],
    node: Callable[[], Node | None],
    events: EventRecorder,
    listen: Listen,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the kubelet API until cancelled; started once the port is open.

    Raises:
        OSError: the address cannot be bound, or the serving certificate not be used.
    """
    last_steps = LastSteps()
    api = KubeletAPI(
        Authenticator(kubernetes),
        Authorizer(kubernetes, node_name),
        PodLists(kubernetes, node_name, pods, feed),
        health,
        metric_pages,
        logs,
        commands,
        port_forward,
        TaskTree(last_steps, actor_states),
        settings,
    )
    authorities = (
        partial(authorities_of_cluster, kubernetes)
        if settings.client_ca_file is None
        else partial(authorities_in_file, settings.client_ca_file)
    )
    names, replaced = partial(_names, node_name, settings.address, node), Doorbell()
    own = SelfSigned(node_name, names)
    signed = ClusterSigned(
        node_name=node_name,
        names=names,
        node=node,
        kubernetes=kubernetes,
        events=events,
        until_signed=own,
        replaced=replaced,
    )
    if settings.cert_file is not None and settings.key_file is not None:
        pair: Callable[[], Pair] = partial(Pair.from_files, settings.cert_file, settings.key_file)
    elif settings.rotate_server_certificates:
        pair = signed.pair
    else:
        pair = own.pair
    tls = ServingTLS(pair, authorities, replaced)
    async with last_steps.noted(), trio.open_nursery() as nursery:
        if settings.rotate_server_certificates:
            nursery.start_soon(signed.run)
        await nursery.start(tls.run)
        listening = partial(
            listen,
            api.answer,
            host=settings.host,
            port=settings.port,
            tls=tls.context,
            max_body_bytes=MAX_BODY_BYTES,
        )
        log.info("kubelet API listens", port=await nursery.start(listening))
        task_status.started()


def _names(node_name: str, address: str, present: Callable[[], Node | None]) -> tuple[str, ...]:
    """By which callers may know the port, sorted: those of the Node, which others may add to."""
    node = present()
    addresses = node.status.addresses if node is not None else ()
    every = {node_name, address, *(entry.address for entry in addresses)}
    return tuple(sorted(name for name in every if name and name.isascii()))


def stale_feed(feed: InstanceFeed) -> str | None:
    """A check of health: what is wrong where the instances have not been listed for long."""
    if (seconds := feed.seconds_since_success()) < STALE_SECONDS:
        return None
    if seconds == float("inf"):
        return "the instances have not been listed yet"
    return f"the instances were last listed {seconds:.0f} s ago"

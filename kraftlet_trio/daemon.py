"""The nursery tree of the daemon, read from top to bottom.

Start order is dependency order, nesting is shutdown order: events are posted to the last. Stopping
the daemon leaves every instance as it is: a restart must not be an outage.
"""

from __future__ import annotations

from functools import partial

import structlog
import trio

from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.cloud.instance_states import InstanceStates
from kraftlet_trio.consoles.consoles import Consoles
from kraftlet_trio.daemon_metrics import DaemonMetrics
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.http.server import serve
from kraftlet_trio.kubelet_api.commands import Commands
from kraftlet_trio.kubelet_api.container_logs import ContainerLogs
from kraftlet_trio.kubelet_api.health import Health
from kraftlet_trio.kubelet_api.metric_pages import MetricPages
from kraftlet_trio.kubelet_api.port_forward import PortForward
from kraftlet_trio.kubelet_api.run import Listen, run_health_port, run_kubelet_api, stale_feed
from kraftlet_trio.kubelet_api.running_containers import RunningContainers
from kraftlet_trio.kubelet_api.usage_source import UsageSource
from kraftlet_trio.kubelet_api.volume_usage import VolumeSource
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.cluster import cluster_uid
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.informer import run_informer
from kraftlet_trio.kubernetes.object_watches import ObjectKey, ObjectWatches
from kraftlet_trio.kubernetes.objects import Node, PersistentVolumeClaim, Service
from kraftlet_trio.kubernetes.pod import Pod, PodUID
from kraftlet_trio.kubernetes.resources import PERSISTENT_VOLUME_CLAIMS, PODS, SERVICES
from kraftlet_trio.kubernetes.root_certificates import NAME as ROOT_CERTIFICATE
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.names import NodeIdentity
from kraftlet_trio.node.run import run_node
from kraftlet_trio.pods.context import PodContext
from kraftlet_trio.pods.images import ContainerImages
from kraftlet_trio.pods.supervisor import PodActors
from kraftlet_trio.pods.sweeper import run_sweeper
from kraftlet_trio.probes.means import Dial, ProbeMeans, open_connection
from kraftlet_trio.registry.client import RegistryClient
from kraftlet_trio.services.groups import ServiceGroups
from kraftlet_trio.services.index import ServiceIndex
from kraftlet_trio.settings import Settings
from kraftlet_trio.volumes.provisioner import run_claim_provisioner

log = structlog.get_logger()

_POST_EVENTS_SECONDS = 5.0
"""How long the last events may take at shutdown."""


async def run_daemon(
    kubernetes: KubernetesClient,
    cloud: CloudClient,
    settings: Settings,
    *,
    registries: RegistryClient | None = None,
    dial: Dial = open_connection,
    listen: Listen = serve,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be a node until cancelled; ``started`` fires once Pods are tended and the node is Ready.

    Without *registries* nothing is known of images but their names. *listen* opens its ports.

    Raises:
        Forbidden: the cluster's identity may not be read.
    """
    owner = NodeIdentity(await cluster_uid(kubernetes), settings.node.name)
    events = EventRecorder("kraftlet", settings.node.name)
    health = Health()
    async with trio.open_nursery() as outer:
        if settings.kubelet_api is not None:
            await outer.start(run_health_port, settings.kubelet_api, health, listen)
        outer.start_soon(events.post_forever, kubernetes)
        try:
            images = ContainerImages(kubernetes, registries)
            await _tend_node(
                kubernetes,
                cloud,
                settings,
                owner,
                images,
                events,
                health,
                dial,
                listen,
                task_status,
            )
        finally:
            with trio.move_on_after(_POST_EVENTS_SECONDS, shield=True):
                await events.drained()
            outer.cancel_scope.cancel()


async def _tend_node(
    kubernetes: KubernetesClient,
    cloud: CloudClient,
    settings: Settings,
    owner: NodeIdentity,
    images: ContainerImages,
    events: EventRecorder,
    health: Health,
    dial: Dial,
    listen: Listen,
    task_status: trio.TaskStatus[None],
) -> None:
    pods, services, nodes = Store[Pod](), Store[Service](), Store[Node]()
    look_at_platform = Doorbell()
    claims, claims_changed = Store[PersistentVolumeClaim](), Doorbell()
    service_index = ServiceIndex(services)
    feed = InstanceFeed(cloud, tags=owner.tags, interval=settings.status_interval_seconds)
    health.checks["syncloop"] = partial(stale_feed, feed)
    async with trio.open_nursery() as sources, trio.open_nursery() as work:
        groups = ServiceGroups(cloud, lambda uid: actors.wake(uid))
        object_watches = ObjectWatches(kubernetes, lambda uid, key: on_object(uid, key))
        states = InstanceStates(cloud)
        consoles = Consoles(cloud, feed)
        context = PodContext(
            settings=settings.pods,
            owner=owner,
            kubernetes=kubernetes,
            cloud=cloud,
            feed=feed,
            groups=groups,
            events=events,
            pods=pods,
            services=service_index,
            claims=claims,
            images=images,
            object_watches=object_watches,
            means=ProbeMeans(
                sandbox=cloud.sandbox,
                read_state=states.read,
                dial=dial,
                network=settings.pods.probe_network,
            ),
            consoles=consoles,
            node=lambda: next(iter(nodes.values()), None),
            on_quota_refusal=look_at_platform.ring,
        )
        actors = PodActors(work, context)

        def on_object(uid: str, key: ObjectKey) -> None:
            if key.name == ROOT_CERTIFICATE:
                context.root_certificates.forget(key.namespace)
            actors.note_change(PodUID(uid))

        def on_pods(uids: set[str]) -> None:
            for uid in uids:
                actors.wake(PodUID(uid))

        def on_services(uids: set[str]) -> None:
            actors.wake_namespaces(service_index.refresh(uids))

        def on_claims(uids: set[str]) -> None:
            claims_changed.ring()
            namespaces = {
                claim.metadata.namespace for uid in uids if (claim := claims.get(uid)) is not None
            }
            actors.wake_namespaces(namespaces)

        # Actors judge by what is absent too, so all sources are complete before the first Pod.
        await work.start(groups.run)
        await sources.start(object_watches.run)
        sources.start_soon(states.run)
        sources.start_soon(consoles.run)
        await sources.start(feed.run, lambda uid: actors.wake(PodUID(uid)))
        await sources.start(
            run_informer, kubernetes, SERVICES, services, on_services, name="informer of Services"
        )
        await sources.start(
            run_informer,
            kubernetes,
            PERSISTENT_VOLUME_CLAIMS,
            claims,
            on_claims,
            name="informer of PersistentVolumeClaims",
        )
        own = f"spec.nodeName={settings.node.name}"
        await sources.start(
            partial(run_informer, kubernetes, PODS, pods, on_pods, field_selector=own),
            name="informer of Pods",
        )
        if settings.sweeper is not None:
            work.start_soon(run_sweeper, context, settings.sweeper)
        if settings.claims is not None:
            sources.start_soon(
                run_claim_provisioner,
                kubernetes,
                cloud,
                claims,
                claims_changed,
                events,
                settings.claims,
                owner,
            )
        if settings.kubelet_api is not None:
            containers = RunningContainers(pods, feed)
            await sources.start(
                run_kubelet_api,
                settings.kubelet_api,
                settings.node.name,
                kubernetes,
                pods,
                feed,
                health,
                MetricPages(
                    node_name=settings.node.name,
                    usage=UsageSource(cloud, pods, feed),
                    volumes=VolumeSource(cloud, owner.cluster_tag, pods, feed),
                    own=DaemonMetrics(
                        node_name=settings.node.name,
                        kubernetes=kubernetes,
                        cloud=cloud,
                        pods=pods,
                        feed=feed,
                        events=events,
                        actors=actors,
                        pod_metrics=context.metrics,
                    ).families,
                    probe_measurements=context.means.measurements,
                    node=context.node,
                ),
                ContainerLogs(pods, feed, consoles),
                Commands(containers, cloud.sandbox, consoles),
                PortForward(
                    containers, cloud.sandbox, dial if settings.pods.probe_network else None
                ),
                actors.states,
                context.node,
                events,
                listen,
            )
        await sources.start(
            run_node, kubernetes, cloud, settings.node, events, nodes, look_at_platform
        )
        log.info("node ready", node=settings.node.name)
        task_status.started()

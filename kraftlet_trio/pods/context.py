"""What the Pods of a node have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.consoles.consoles import Consoles
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.object_watches import ObjectWatches
from kraftlet_trio.kubernetes.objects import Node, PersistentVolumeClaim
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.root_certificates import RootCertificates
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.annotations import PodDefaults
from kraftlet_trio.mapping.names import Naming, NodeIdentity
from kraftlet_trio.pods.images import ContainerImages
from kraftlet_trio.pods.metrics import PodMetrics
from kraftlet_trio.probes.means import ProbeMeans
from kraftlet_trio.services.groups import ServiceGroups
from kraftlet_trio.services.index import ServiceIndex

FINALIZER = "cloud.unikraft.v1/resources"

DaemonSetPods = Literal["ignore", "refuse", "run"]


@attrs.frozen(kw_only=True)
class PodSettings:
    """How Pods become instances."""

    node_name: str
    host_ip: str
    """The node's InternalIP, which is each Pod's ``hostIP``; may be empty."""
    naming: Naming = attrs.field(factory=Naming)
    finalizer: str = FINALIZER
    """Empty: none is set, and cloud resources may outlive a Pod that is taken away by force."""
    defaults: PodDefaults = attrs.field(factory=PodDefaults)
    host_path_volumes: bool = False
    """Whether a Pod may mount directories of the platform's machine."""
    reclaims_failed_pods: bool = True
    """Whether a controller's Pod that the quota keeps from running is deleted."""
    probe_network: bool = True
    """Whether the daemon reaches instances at their private addresses."""
    daemon_set_pods: DaemonSetPods = "ignore"
    """What becomes of DaemonSets' Pods, which come wherever they tolerate the taints."""


@attrs.frozen(kw_only=True)
class PodContext:
    """The two APIs, seen from a Pod's actor."""

    settings: PodSettings
    owner: NodeIdentity
    """Whose the cloud resources are."""
    kubernetes: KubernetesClient
    cloud: CloudClient
    feed: InstanceFeed
    groups: ServiceGroups
    events: EventRecorder
    pods: Store[Pod]
    services: ServiceIndex
    claims: Store[PersistentVolumeClaim]
    images: ContainerImages
    object_watches: ObjectWatches
    means: ProbeMeans
    consoles: Consoles
    node: Callable[[], Node | None]
    """Our own Node, once it is registered."""
    on_quota_refusal: Callable[[], None]
    """The Node should say so before a controller's replacement comes here."""
    metrics: PodMetrics = attrs.field(factory=PodMetrics)
    root_certificates: RootCertificates = attrs.field(
        init=False,
        default=attrs.Factory(
            lambda context: RootCertificates(context.kubernetes), takes_self=True
        ),
    )

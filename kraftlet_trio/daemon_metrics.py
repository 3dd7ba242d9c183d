"""The daemon's own metrics: ``/metrics``, gathered from the parts that they are of.

Where a kubelet has a name for the same, that is the name. docs/operations.md explains them all.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import attrs

from kraftlet_trio import __version__
from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.instance_feed import InstanceFeed
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.container_state import (
    Ended,
    NeverStarted,
    Running,
    Starting,
    container_run,
)
from kraftlet_trio.metrics.exposition import Family, Sample
from kraftlet_trio.metrics.process import process_metrics
from kraftlet_trio.node.status import KUBERNETES_VERSION
from kraftlet_trio.pods.metrics import PodMetrics
from kraftlet_trio.pods.supervisor import PodActors

_CONTAINER_STATES = ("running", "created", "exited", "unknown")


@attrs.frozen(kw_only=True)
class DaemonMetrics:
    node_name: str
    kubernetes: KubernetesClient
    cloud: CloudClient
    pods: Store[Pod]
    feed: InstanceFeed
    events: EventRecorder
    actors: PodActors
    pod_metrics: PodMetrics

    def families(self) -> Iterator[Family]:
        yield from _identity(self.node_name)
        yield from _containers(self.pods, self.feed, utc_now())
        yield from self.actors.census().families()
        yield from self.pod_metrics.families()
        yield from _cloud(self.feed)
        yield from self.kubernetes.requests.families()
        yield from self.cloud.requests.families()
        yield _gauge(
            "kraftlet_events_waiting", "Events that are not posted yet", self.events.waiting
        )
        yield Family(
            "kraftlet_events_dropped_total",
            "counter",
            "Events that gave way to newer ones or could not be posted",
            (Sample(self.events.dropped),),
        )
        yield from process_metrics()


def _identity(node_name: str) -> Iterator[Family]:
    yield Family(
        "kubelet_node_name", "gauge", "The node's name", (Sample(1, (("node", node_name),)),)
    )
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    version = (
        ("major", major),
        ("minor", minor),
        ("git_version", f"{KUBERNETES_VERSION}-kraftlet-trio-{__version__}"),
        ("platform", f"{platform.system().lower()}/{platform.machine()}"),
    )
    yield Family(
        "kubernetes_build_info",
        "gauge",
        "The release of Kubernetes whose kubelet this is like",
        (Sample(1, version),),
    )
    own = (("version", __version__), ("python_version", platform.python_version()))
    yield Family("kraftlet_build_info", "gauge", "The daemon's own version", (Sample(1, own),))


def _containers(pods: Store[Pod], feed: InstanceFeed, now: datetime) -> Iterator[Family]:
    states = Counter(dict.fromkeys(_CONTAINER_STATES, 0))
    running_pods = 0
    for pod in pods.values():
        found = [
            _container_state(container_run(instance, now, deleting=False))
            for instance in feed.of_pod(pod.metadata.uid).values()
        ]
        states.update(found)
        running_pods += "running" in found
    yield _gauge("kubelet_running_pods", "Pods that have a running container", running_pods)
    yield Family(
        "kubelet_running_containers",
        "gauge",
        "Containers of Pods that there are, by state",
        tuple(Sample(count, (("container_state", state),)) for state, count in states.items()),
    )


def _container_state(run: object) -> str:
    match run:
        case Running():
            return "running"
        case NeverStarted() | Starting():
            return "created"
        case Ended():
            return "exited"
        case _:
            return "unknown"


def _cloud(feed: InstanceFeed) -> Iterator[Family]:
    states = Counter(instance.state for instance in feed.instances.values())
    yield Family(
        "kraftlet_cloud_instances",
        "gauge",
        "Instances of the node, by the platform's states",
        tuple(Sample(count, (("state", state),)) for state, count in sorted(states.items())),
    )
    yield _gauge(
        "kraftlet_cloud_feed_age_seconds",
        "Time since all instances were last listed",
        feed.seconds_since_success(),
    )
    yield _gauge(
        "kraftlet_cloud_feed_listening",
        "1 while the platform tells of events, 0 while instances are only listed",
        int(feed.is_listening),
    )


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, (Sample(value),))

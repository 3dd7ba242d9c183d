"""The parts of Kubernetes' objects that a node reads, as frozen values.

Field names are Kubernetes' own in snake case (``podIP`` is ``pod_ip``); ``serialization`` turns
JSON into them and back. Unknown fields are dropped, absent ones take the default here. Writes are
patches built from plain dictionaries, so nothing that is not modelled is ever overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NewType

import attrs

PodUID = NewType("PodUID", str)


@attrs.frozen(kw_only=True)
class OwnerReference:
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


@attrs.frozen(kw_only=True)
class ObjectMeta:
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None


@attrs.frozen(kw_only=True)
class KeySelector:
    """One key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


@attrs.frozen(kw_only=True)
class ObjectFieldSelector:
    api_version: str = ""
    field_path: str = ""


@attrs.frozen(kw_only=True)
class ResourceFieldSelector:
    container_name: str = ""
    resource: str = ""
    divisor: str = ""


@attrs.frozen(kw_only=True)
class EnvVarSource:
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


@attrs.frozen(kw_only=True)
class EnvVar:
    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


@attrs.frozen(kw_only=True)
class EnvFromReference:
    name: str = ""
    optional: bool = False


@attrs.frozen(kw_only=True)
class EnvFromSource:
    prefix: str = ""
    config_map_ref: EnvFromReference | None = None
    secret_ref: EnvFromReference | None = None


@attrs.frozen(kw_only=True)
class ContainerPort:
    container_port: int
    name: str = ""
    protocol: str = "TCP"


@attrs.frozen(kw_only=True)
class ResourceRequirements:
    """Quantities as written (``500m``, ``1Gi``), by resource name."""

    limits: Mapping[str, str] = attrs.field(factory=dict)
    requests: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class VolumeMount:
    name: str
    mount_path: str = ""
    read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""


@attrs.frozen(kw_only=True)
class Container:
    name: str
    image: str = ""
    image_pull_policy: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: tuple[VolumeMount, ...] = ()
    restart_policy: str | None = None
    """Set to ``Always`` on a restartable init container, else absent."""


@attrs.frozen(kw_only=True)
class PersistentVolumeClaimVolumeSource:
    claim_name: str = ""
    read_only: bool = False


@attrs.frozen(kw_only=True)
class Volume:
    """A Pod's volume. ``source`` is its kind as manifests spell it, such as ``emptyDir``."""

    name: str
    source: str = ""
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None


@attrs.frozen(kw_only=True)
class LocalObjectReference:
    name: str = ""


@attrs.frozen(kw_only=True)
class Toleration:
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""


@attrs.frozen(kw_only=True)
class PodSpec:
    node_name: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: str = "Always"
    termination_grace_period_seconds: int | None = None
    service_account_name: str = ""
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    tolerations: tuple[Toleration, ...] = ()


@attrs.frozen(kw_only=True)
class ContainerStateWaiting:
    reason: str = ""
    message: str = ""


@attrs.frozen(kw_only=True)
class ContainerStateRunning:
    started_at: datetime | None = None


@attrs.frozen(kw_only=True)
class ContainerStateTerminated:
    exit_code: int = 0
    signal: int | None = None
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = ""


@attrs.frozen(kw_only=True)
class ContainerState:
    """Exactly one is set in ``state``; none or ``terminated`` in ``lastState``."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


@attrs.frozen(kw_only=True)
class ContainerStatus:
    name: str
    image: str = ""
    image_id: str = ""
    container_id: str = ""
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    resources: ResourceRequirements | None = None
    allocated_resources: Mapping[str, str] | None = None


@attrs.frozen(kw_only=True)
class Condition:
    """A condition of a Pod or a Node."""

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    last_heartbeat_time: datetime | None = None
    observed_generation: int = 0


@attrs.frozen(kw_only=True)
class IP:
    ip: str = ""


@attrs.frozen(kw_only=True)
class PodStatus:
    phase: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    pod_ip: str = ""
    pod_ips: tuple[IP, ...] = ()
    host_ip: str = ""
    host_ips: tuple[IP, ...] = ()
    start_time: datetime | None = None
    qos_class: str = ""


@attrs.frozen(kw_only=True)
class Pod:
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


@attrs.frozen(kw_only=True)
class ServicePort:
    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    """A number, or a container port's name."""


@attrs.frozen(kw_only=True)
class ServiceSpec:
    selector: Mapping[str, str] = attrs.field(factory=dict)
    ports: tuple[ServicePort, ...] = ()
    type: str = ""
    cluster_ip: str = ""


@attrs.frozen(kw_only=True)
class Service:
    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()


@attrs.frozen(kw_only=True)
class ClaimResources:
    requests: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class PersistentVolumeClaimSpec:
    storage_class_name: str | None = None
    access_modes: tuple[str, ...] = ()
    volume_mode: str = ""
    volume_name: str = ""
    resources: ClaimResources = ClaimResources()
    selector: Mapping[str, Any] | None = None
    data_source: Mapping[str, Any] | None = None
    data_source_ref: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class PersistentVolumeClaimStatus:
    phase: str = ""


@attrs.frozen(kw_only=True)
class PersistentVolumeClaim:
    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()


@attrs.frozen(kw_only=True)
class ObjectReference:
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    field_path: str = ""
    """A part of the object, such as ``spec.containers{name}``."""


@attrs.frozen(kw_only=True)
class CSIPersistentVolumeSource:
    driver: str = ""
    volume_handle: str = ""


@attrs.frozen(kw_only=True)
class PersistentVolumeSpec:
    storage_class_name: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: Mapping[str, str] = attrs.field(factory=dict)
    claim_ref: ObjectReference | None = None
    csi: CSIPersistentVolumeSource | None = None
    persistent_volume_reclaim_policy: str = ""


@attrs.frozen(kw_only=True)
class PersistentVolumeStatus:
    phase: str = ""


@attrs.frozen(kw_only=True)
class PersistentVolume:
    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()


@attrs.frozen(kw_only=True)
class ConfigMap:
    metadata: ObjectMeta = ObjectMeta()
    data: Mapping[str, str] = attrs.field(factory=dict)
    binary_data: Mapping[str, str] = attrs.field(factory=dict)
    """Values in base64."""


@attrs.frozen(kw_only=True)
class Secret:
    metadata: ObjectMeta = ObjectMeta()
    data: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Values in base64."""
    type: str = ""


@attrs.frozen(kw_only=True)
class Taint:
    key: str
    value: str = ""
    effect: str = ""


@attrs.frozen(kw_only=True)
class NodeSpec:
    provider_id: str = ""
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


@attrs.frozen(kw_only=True)
class NodeAddress:
    type: str
    address: str


@attrs.frozen(kw_only=True)
class NodeStatus:
    capacity: Mapping[str, str] = attrs.field(factory=dict)
    allocatable: Mapping[str, str] = attrs.field(factory=dict)
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    node_info: Mapping[str, Any] = attrs.field(factory=dict)
    daemon_endpoints: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Node:
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


@attrs.frozen(kw_only=True)
class LeaseSpec:
    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int = 0


@attrs.frozen(kw_only=True)
class Lease:
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


@attrs.frozen(kw_only=True)
class Event:
    metadata: ObjectMeta = ObjectMeta()
    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    type: str = ""
    count: int = 0

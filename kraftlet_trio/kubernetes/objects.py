"""The parts of Kubernetes' objects that a node reads, as frozen values.

Field names are Kubernetes' own in snake case (``podIP`` is ``pod_ip``); ``serialization`` turns
JSON into them and back. Unknown fields are dropped, absent ones take the default here. Writes are
patches built from plain dictionaries, so nothing that is not modelled is ever overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs


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
class Condition:
    """A condition of a Pod, a Node, a claim or a signing request."""

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    last_heartbeat_time: datetime | None = None
    observed_generation: int = 0


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
    capacity: Mapping[str, str] = attrs.field(factory=dict)
    conditions: tuple[Condition, ...] = ()


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
    read_only: bool = False


@attrs.frozen(kw_only=True)
class PersistentVolumeSpec:
    storage_class_name: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: Mapping[str, str] = attrs.field(factory=dict)
    claim_ref: ObjectReference | None = None
    csi: CSIPersistentVolumeSource | None = None
    persistent_volume_reclaim_policy: str = ""
    volume_mode: str = ""


@attrs.frozen(kw_only=True)
class PersistentVolumeStatus:
    phase: str = ""


@attrs.frozen(kw_only=True)
class PersistentVolume:
    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()


@attrs.frozen(kw_only=True)
class StorageClass:
    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    reclaim_policy: str = ""
    """``Delete`` (also where empty) or ``Retain``."""
    allow_volume_expansion: bool = False
    parameters: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ServiceAccount:
    metadata: ObjectMeta = ObjectMeta()


@attrs.frozen(kw_only=True)
class Namespace:
    metadata: ObjectMeta = ObjectMeta()


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
    declared_features: tuple[str, ...] = ()
    """Sorted; API servers before 1.35 drop it."""


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
class CertificateSigningRequestStatus:
    conditions: tuple[Condition, ...] = ()
    certificate: str = ""
    """PEM in base64."""


@attrs.frozen(kw_only=True)
class CertificateSigningRequest:
    metadata: ObjectMeta = ObjectMeta()
    status: CertificateSigningRequestStatus = CertificateSigningRequestStatus()


@attrs.frozen(kw_only=True)
class Event:
    metadata: ObjectMeta = ObjectMeta()
    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    type: str = ""
    count: int = 0

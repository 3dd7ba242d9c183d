"""Pods: the parts that a node reads and writes, as frozen values.

Field names, defaults and tolerance are those of ``objects``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NewType

import attrs

from kraftlet_trio.kubernetes.node_affinity import Affinity
from kraftlet_trio.kubernetes.objects import Condition, ObjectMeta
from kraftlet_trio.kubernetes.pod_volumes import (
    ObjectFieldSelector,
    ResourceFieldSelector,
    Volume,
)

PodUID = NewType("PodUID", str)


@attrs.frozen(kw_only=True)
class KeySelector:
    """One key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


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
    host_port: int = 0


@attrs.frozen(kw_only=True)
class ResourceRequirements:
    """Quantities as written (``500m``, ``1Gi``), by resource name."""

    limits: Mapping[str, str] = attrs.field(factory=dict)
    requests: Mapping[str, str] = attrs.field(factory=dict)
    claims: tuple[Any, ...] = ()


@attrs.frozen(kw_only=True)
class VolumeMount:
    name: str
    mount_path: str = ""
    read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""
    mount_propagation: str = ""
    recursive_read_only: str = ""


@attrs.frozen(kw_only=True)
class HTTPHeader:
    name: str = ""
    value: str = ""


@attrs.frozen(kw_only=True)
class HTTPGetAction:
    path: str = ""
    port: int | str | None = None
    """A number, or a container port's name."""
    host: str = ""
    scheme: str = ""
    """``HTTP`` (also where empty) or ``HTTPS``."""
    http_headers: tuple[HTTPHeader, ...] = ()


@attrs.frozen(kw_only=True)
class TCPSocketAction:
    port: int | str | None = None
    """A number, or a container port's name."""
    host: str = ""


@attrs.frozen(kw_only=True)
class GRPCAction:
    port: int = 0
    service: str = ""


@attrs.frozen(kw_only=True)
class ExecAction:
    command: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class SleepAction:
    seconds: int = 0


@attrs.frozen(kw_only=True)
class Probe:
    """Exactly one action is set. Times are seconds; defaults are the API server's."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None
    """Replaces the Pod's where this probe's failure ends the container."""


@attrs.frozen(kw_only=True)
class LifecycleHandler:
    """What to run after a start or before a stop; exactly one is set."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


@attrs.frozen(kw_only=True)
class Lifecycle:
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


@attrs.frozen(kw_only=True)
class ContainerRestartRuleOnExitCodes:
    operator: str = ""
    """``In`` or ``NotIn``."""
    values: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class ContainerRestartRule:
    action: str = ""
    exit_codes: ContainerRestartRuleOnExitCodes | None = None


@attrs.frozen(kw_only=True)
class ContainerResizePolicy:
    resource_name: str = ""
    restart_policy: str = ""


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
    """``Always`` makes an init container a sidecar. On others it goes before the Pod's."""
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    working_dir: str = ""
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    """``File`` (also where empty) or ``FallbackToLogsOnError``."""
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    volume_devices: tuple[Any, ...] = ()
    security_context: Mapping[str, Any] = attrs.field(factory=dict)
    stdin: bool = False
    tty: bool = False


@attrs.frozen(kw_only=True)
class EphemeralContainer:
    """A container for debugging, added to a Pod that runs."""

    name: str
    image: str = ""
    target_container_name: str = ""


@attrs.frozen(kw_only=True)
class PodReadinessGate:
    condition_type: str = ""


@attrs.frozen(kw_only=True)
class HostAlias:
    ip: str = ""
    hostnames: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PodDNSConfig:
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[Any, ...] = ()


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
class PodOS:
    name: str = ""
    """``linux`` or ``windows``."""


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
    set_hostname_as_fqdn: bool = False
    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = attrs.field(factory=dict)
    affinity: Affinity | None = None
    os: PodOS | None = None
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    active_deadline_seconds: int | None = None
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    enable_service_links: bool = True
    automount_service_account_token: bool | None = None
    dns_policy: str = ""
    dns_config: PodDNSConfig | None = None
    host_aliases: tuple[HostAlias, ...] = ()
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    host_users: bool | None = None
    share_process_namespace: bool = False
    security_context: Mapping[str, Any] = attrs.field(factory=dict)
    runtime_class_name: str = ""
    resource_claims: tuple[Any, ...] = ()
    resources: ResourceRequirements | None = None
    """Of the Pod as a whole, beside those of its containers."""
    overhead: Mapping[str, str] = attrs.field(factory=dict)


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
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()
    pod_ip: str = ""
    pod_ips: tuple[IP, ...] = ()
    host_ip: str = ""
    host_ips: tuple[IP, ...] = ()
    start_time: datetime | None = None
    qos_class: str = ""


@attrs.frozen(kw_only=True)
class Pod:
    metadata: ObjectMeta = attrs.field(factory=ObjectMeta)
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

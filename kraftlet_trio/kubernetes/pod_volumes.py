"""A Pod's volumes: where their content comes from, as the manifest says."""

from __future__ import annotations

from typing import Any

import attrs

from kraftlet_trio.kubernetes.objects import ObjectMeta, PersistentVolumeClaimSpec


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
class KeyToPath:
    """A key of a ConfigMap or Secret as a file. ``mode`` is a number, such as 420 for 0644."""

    key: str = ""
    path: str = ""
    mode: int | None = None


@attrs.frozen(kw_only=True)
class DownwardAPIVolumeFile:
    path: str = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


@attrs.frozen(kw_only=True)
class ConfigMapVolumeSource:
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool = False


@attrs.frozen(kw_only=True)
class SecretVolumeSource:
    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool = False


@attrs.frozen(kw_only=True)
class DownwardAPIVolumeSource:
    items: tuple[DownwardAPIVolumeFile, ...] = ()
    default_mode: int | None = None


@attrs.frozen(kw_only=True)
class SecretProjection:
    """A Secret within a projected volume, where it is called ``name``."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


@attrs.frozen(kw_only=True)
class ConfigMapProjection:
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


@attrs.frozen(kw_only=True)
class DownwardAPIProjection:
    items: tuple[DownwardAPIVolumeFile, ...] = ()


@attrs.frozen(kw_only=True)
class ServiceAccountTokenProjection:
    audience: str = ""
    """Empty: the API server's own."""
    expiration_seconds: int = 3600
    path: str = ""


@attrs.frozen(kw_only=True)
class VolumeProjection:
    """One source of a projected volume; exactly one is set."""

    config_map: ConfigMapProjection | None = None
    secret: SecretProjection | None = None
    downward_api: DownwardAPIProjection | None = None
    service_account_token: ServiceAccountTokenProjection | None = None
    cluster_trust_bundle: Any = None
    pod_certificate: Any = None


@attrs.frozen(kw_only=True)
class ProjectedVolumeSource:
    sources: tuple[VolumeProjection, ...] = ()
    default_mode: int | None = None


@attrs.frozen(kw_only=True)
class EmptyDirVolumeSource:
    medium: str = ""
    """Empty, ``Memory``, or ``HugePages…``."""
    size_limit: str = ""


@attrs.frozen(kw_only=True)
class HostPathVolumeSource:
    path: str = ""
    type: str = ""


@attrs.frozen(kw_only=True)
class ImageVolumeSource:
    """An OCI image as a read-only directory."""

    reference: str = ""
    pull_policy: str = ""


@attrs.frozen(kw_only=True)
class PersistentVolumeClaimTemplate:
    metadata: ObjectMeta = attrs.field(factory=ObjectMeta)
    spec: PersistentVolumeClaimSpec = attrs.field(factory=PersistentVolumeClaimSpec)


@attrs.frozen(kw_only=True)
class EphemeralVolumeSource:
    """A claim that lives as long as the Pod; the control plane names it ``<pod>-<volume>``."""

    volume_claim_template: PersistentVolumeClaimTemplate | None = None


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
    config_map: ConfigMapVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    empty_dir: EmptyDirVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    image: ImageVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None

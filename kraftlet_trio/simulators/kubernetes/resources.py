"""The kinds that the simulated API server knows, and what each may do."""

from __future__ import annotations

from typing import Any

import attrs

Json = dict[str, Any]


@attrs.frozen(kw_only=True, eq=False)
class Resource:
    """One row of the API: where a kind lives and which of the general rules apply to it."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    """Status is a subresource: writes to the one leave the other alone."""
    has_scale: bool = False
    counts_generations: bool = False
    """``metadata.generation`` starts at 1 and grows with each change of the spec."""
    returns_deleted: bool = False
    """A DELETE answers with the object also when it is gone, instead of a ``Status``."""
    put_creates: bool = False
    """A PUT of an object that does not exist creates it."""
    put_needs_version: bool = False
    """A PUT without a resourceVersion is refused."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified_name(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        return self.kind.lower()


PODS = Resource(
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    has_status=True,
    counts_generations=True,
    returns_deleted=True,
)
SERVICES = Resource(
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    has_status=True,
    returns_deleted=True,
)
NODES = Resource(
    kind="Node", plural="nodes", namespaced=False, short_names=("no",), has_status=True
)
NAMESPACES = Resource(
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    has_status=True,
)
CONFIG_MAPS = Resource(kind="ConfigMap", plural="configmaps", short_names=("cm",))
SECRETS = Resource(kind="Secret", plural="secrets")
EVENTS = Resource(kind="Event", plural="events", short_names=("ev",), put_creates=True)
SERVICE_ACCOUNTS = Resource(
    kind="ServiceAccount", plural="serviceaccounts", short_names=("sa",), returns_deleted=True
)
PERSISTENT_VOLUME_CLAIMS = Resource(
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    short_names=("pvc",),
    has_status=True,
    returns_deleted=True,
)
PERSISTENT_VOLUMES = Resource(
    kind="PersistentVolume",
    plural="persistentvolumes",
    namespaced=False,
    short_names=("pv",),
    has_status=True,
    returns_deleted=True,
)
DEPLOYMENTS = Resource(
    kind="Deployment",
    plural="deployments",
    group="apps",
    short_names=("deploy",),
    categories=("all",),
    has_status=True,
    has_scale=True,
    counts_generations=True,
)
REPLICA_SETS = Resource(
    kind="ReplicaSet",
    plural="replicasets",
    group="apps",
    short_names=("rs",),
    categories=("all",),
    has_status=True,
    has_scale=True,
    counts_generations=True,
)
LEASES = Resource(
    kind="Lease",
    plural="leases",
    group="coordination.k8s.io",
    put_creates=True,
    put_needs_version=True,
)
STORAGE_CLASSES = Resource(
    kind="StorageClass",
    plural="storageclasses",
    group="storage.k8s.io",
    namespaced=False,
    short_names=("sc",),
)
CERTIFICATE_SIGNING_REQUESTS = Resource(
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    group="certificates.k8s.io",
    namespaced=False,
    short_names=("csr",),
    has_status=True,
)

RESOURCES = (
    PODS,
    SERVICES,
    NODES,
    NAMESPACES,
    CONFIG_MAPS,
    SECRETS,
    EVENTS,
    SERVICE_ACCOUNTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    DEPLOYMENTS,
    REPLICA_SETS,
    LEASES,
    STORAGE_CLASSES,
    CERTIFICATE_SIGNING_REQUESTS,
)

_BY_PLURAL = {resource.plural: resource for resource in RESOURCES}
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}


def resource_at(group: str, version: str, plural: str) -> Resource | None:
    """What a URL names."""
    resource = _BY_PLURAL.get(plural)
    if resource is None or (resource.group, resource.version) != (group, version):
        return None
    return resource


def resource_named(plural: str) -> Resource:
    """Raises ``KeyError`` for a kind that is not simulated."""
    return _BY_PLURAL[plural]


def resource_of(value: Json) -> Resource:
    """The resource an object belongs to. Raises ``KeyError`` for a kind that is not simulated."""
    return _BY_KIND[value.get("apiVersion", ""), value.get("kind", "")]

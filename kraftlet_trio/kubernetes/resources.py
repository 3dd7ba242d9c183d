"""The resource types a node talks about, and where the API server serves them."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

import attrs

from kraftlet_trio.kubernetes.objects import (
    CertificateSigningRequest,
    ConfigMap,
    Event,
    Lease,
    Namespace,
    Node,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    Secret,
    Service,
    ServiceAccount,
    StorageClass,
)
from kraftlet_trio.kubernetes.pod import Pod


class KubernetesObject(Protocol):
    @property
    def metadata(self) -> ObjectMeta: ...


T = TypeVar("T", bound=KubernetesObject)


@attrs.frozen
class Resource(Generic[T]):
    cls: type[T]
    path: str
    """``api/v1`` or ``apis/<group>/<version>``."""
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return self.path.removeprefix("apis/").removeprefix("api/")

    def collection_path(self, namespace: str = "") -> str:
        """Percent-encoded. No namespace means all of them."""
        if namespace and self.namespaced:
            return f"/{self.path}/namespaces/{quote(namespace, safe='')}/{self.plural}"
        return f"/{self.path}/{self.plural}"

    def object_path(self, name: str, namespace: str = "", subresource: str = "") -> str:
        """Percent-encoded. Raises ``ValueError`` for a name that would address the collection."""
        if not name or (self.namespaced and not namespace):
            raise ValueError(f"a {self.kind} needs a name and, if namespaced, a namespace")
        path = f"{self.collection_path(namespace)}/{quote(name, safe='')}"
        return f"{path}/{subresource}" if subresource else path


PODS = Resource(Pod, "api/v1", "pods", "Pod", namespaced=True)
SERVICES = Resource(Service, "api/v1", "services", "Service", namespaced=True)
NODES = Resource(Node, "api/v1", "nodes", "Node", namespaced=False)
CONFIG_MAPS = Resource(ConfigMap, "api/v1", "configmaps", "ConfigMap", namespaced=True)
SECRETS = Resource(Secret, "api/v1", "secrets", "Secret", namespaced=True)
PERSISTENT_VOLUME_CLAIMS = Resource(
    PersistentVolumeClaim,
    "api/v1",
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    namespaced=True,
)
PERSISTENT_VOLUMES = Resource(
    PersistentVolume, "api/v1", "persistentvolumes", "PersistentVolume", namespaced=False
)
STORAGE_CLASSES = Resource(
    StorageClass, "apis/storage.k8s.io/v1", "storageclasses", "StorageClass", namespaced=False
)
SERVICE_ACCOUNTS = Resource(
    ServiceAccount, "api/v1", "serviceaccounts", "ServiceAccount", namespaced=True
)
NAMESPACES = Resource(Namespace, "api/v1", "namespaces", "Namespace", namespaced=False)
LEASES = Resource(Lease, "apis/coordination.k8s.io/v1", "leases", "Lease", namespaced=True)
EVENTS = Resource(Event, "api/v1", "events", "Event", namespaced=True)
CERTIFICATE_SIGNING_REQUESTS = Resource(
    CertificateSigningRequest,
    "apis/certificates.k8s.io/v1",
    "certificatesigningrequests",
    "CertificateSigningRequest",
    namespaced=False,
)

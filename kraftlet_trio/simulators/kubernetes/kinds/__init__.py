"""What each kind adds to the general rules: defaults, admission, immutable fields."""

from __future__ import annotations

from kraftlet_trio.simulators.kubernetes import resources
from kraftlet_trio.simulators.kubernetes.kinds.cluster import (
    EVENT_RULES,
    LEASE_RULES,
    NAMESPACE_RULES,
    NODE_RULES,
)
from kraftlet_trio.simulators.kubernetes.kinds.data import CONFIG_MAP_RULES, SECRET_RULES
from kraftlet_trio.simulators.kubernetes.kinds.pods import POD_RULES
from kraftlet_trio.simulators.kubernetes.kinds.rules import KindRules
from kraftlet_trio.simulators.kubernetes.kinds.services import SERVICE_RULES
from kraftlet_trio.simulators.kubernetes.kinds.signing_requests import SIGNING_REQUEST_RULES
from kraftlet_trio.simulators.kubernetes.kinds.volumes import (
    CLAIM_RULES,
    STORAGE_CLASS_RULES,
    VOLUME_RULES,
)
from kraftlet_trio.simulators.kubernetes.kinds.workloads import WORKLOAD_RULES
from kraftlet_trio.simulators.kubernetes.resources import Resource

_NOTHING_SPECIAL = KindRules()
_RULES: dict[Resource, KindRules] = {
    resources.PODS: POD_RULES,
    resources.SERVICES: SERVICE_RULES,
    resources.NODES: NODE_RULES,
    resources.NAMESPACES: NAMESPACE_RULES,
    resources.CONFIG_MAPS: CONFIG_MAP_RULES,
    resources.SECRETS: SECRET_RULES,
    resources.EVENTS: EVENT_RULES,
    resources.LEASES: LEASE_RULES,
    resources.PERSISTENT_VOLUME_CLAIMS: CLAIM_RULES,
    resources.PERSISTENT_VOLUMES: VOLUME_RULES,
    resources.STORAGE_CLASSES: STORAGE_CLASS_RULES,
    resources.CERTIFICATE_SIGNING_REQUESTS: SIGNING_REQUEST_RULES,
    resources.DEPLOYMENTS: WORKLOAD_RULES,
    resources.REPLICA_SETS: WORKLOAD_RULES,
}


def rules_of(resource: Resource) -> KindRules:
    return _RULES.get(resource, _NOTHING_SPECIAL)

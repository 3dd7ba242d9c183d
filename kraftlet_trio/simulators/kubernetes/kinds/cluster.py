"""Nodes, leases, events and namespaces: defaults and what is refused."""

from __future__ import annotations

import re

from kraftlet_trio.simulators.kubernetes.errors import bad_request, invalid
from kraftlet_trio.simulators.kubernetes.kinds.pod_defaults import canonical_quantities
from kraftlet_trio.simulators.kubernetes.kinds.rules import KindRules, fixed, unacceptable
from kraftlet_trio.simulators.kubernetes.resources import EVENTS, NODES, Json
from kraftlet_trio.simulators.kubernetes.storage import Storage

_NODE_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)
"""Written whether it was sent or not."""
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")


def _create_node(node: Json, storage: Storage) -> None:
    # Unlike that of other kinds, a new Node's status is taken as sent: nodes register with it.
    node.setdefault("spec", {})
    _complete_node_status(node)


def _complete_node_status(node: Json) -> None:
    status = node.setdefault("status", {})
    for field in ("capacity", "allocatable"):
        canonical_quantities(status.get(field, {}))
    for condition in status.get("conditions", ()):
        condition.setdefault("lastHeartbeatTime", None)
        condition.setdefault("lastTransitionTime", None)
    status.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {"Port": 0})
    status["nodeInfo"] = dict.fromkeys(_NODE_INFO, "") | status.get("nodeInfo", {})
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))
    features = status.get("declaredFeatures", [])
    if features != sorted(set(features)):
        why = "must be sorted and without duplicates"
        fault = unacceptable("status.declaredFeatures", features, why)
        raise invalid(NODES, node["metadata"]["name"], fault)
    addresses = [(entry.get("type"), entry.get("address")) for entry in status.get("addresses", ())]
    if len(addresses) != len(set(addresses)):
        fault = unacceptable("status.addresses", addresses, "duplicate address")
        raise invalid(NODES, node["metadata"]["name"], fault)


def _update_node(old: Json, new: Json) -> None:
    was = old.get("spec", {}).get("providerID", "")
    if was and new.setdefault("spec", {}).get("providerID", "") != was:
        why = "node updates may not change providerID once it is set"
        raise invalid(NODES, new["metadata"]["name"], fixed("spec.providerID", why))


def _update_node_status(old: Json, new: Json) -> None:
    _complete_node_status(new)


def _create_lease(lease: Json, storage: Storage) -> None:
    _check_micro_times(lease.setdefault("spec", {}), "renewTime", "acquireTime")


def _update_lease(old: Json, new: Json) -> None:
    _check_micro_times(new.setdefault("spec", {}), "renewTime", "acquireTime")


def _create_event(event: Json, storage: Storage) -> None:
    _check_micro_times(event, "eventTime")
    about = event.get("involvedObject", {}).get("namespace", "")
    namespace = event["metadata"]["namespace"]
    if about != namespace and (about or namespace != "default"):
        why = "does not match event.namespace"
        fault = unacceptable("involvedObject.namespace", about, why)
        raise invalid(EVENTS, event["metadata"]["name"], fault)


def _check_micro_times(value: Json, *fields: str) -> None:
    """A ``MicroTime`` parses with exactly six fractional digits. Source: metav1 micro_time.go."""
    for field in fields:
        text = value.get(field)
        if text is not None and not (isinstance(text, str) and _MICRO_TIME.fullmatch(text)):
            raise bad_request(
                f'parsing time "{text}" as "2006-01-02T15:04:05.000000Z07:00": cannot parse {field}'
            )


def _create_namespace(namespace: Json, storage: Storage) -> None:
    name = namespace["metadata"]["name"]
    namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    namespace["spec"] = {"finalizers": ["kubernetes"]}
    namespace["status"] = {"phase": "Active"}


def _update_namespace(old: Json, new: Json) -> None:
    new["spec"] = old["spec"]


NODE_RULES = KindRules(create=_create_node, update=_update_node, update_status=_update_node_status)
LEASE_RULES = KindRules(create=_create_lease, update=_update_lease)
EVENT_RULES = KindRules(create=_create_event)
NAMESPACE_RULES = KindRules(create=_create_namespace, update=_update_namespace)

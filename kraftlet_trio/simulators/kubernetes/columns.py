"""What ``kubectl get`` prints of each kind. Source: the printers of the API server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from kraftlet_trio.simulators.kubernetes import resources
from kraftlet_trio.simulators.kubernetes.conditions import condition_of
from kraftlet_trio.simulators.kubernetes.durations import age
from kraftlet_trio.simulators.kubernetes.pod_columns import POD_COLUMNS
from kraftlet_trio.simulators.kubernetes.resources import Json, Resource
from kraftlet_trio.simulators.kubernetes.selectors import selector_text
from kraftlet_trio.simulators.kubernetes.tables import NAME, Column, age_column

_NONE = "<none>"
_ROLE = "node-role.kubernetes.io/"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _at(*path: str, default: Any = _NONE) -> Callable[[Json, datetime], Any]:
    """The field at *path*, or *default* where it is absent or empty."""

    def cell(value: Json, _: datetime) -> Any:
        found: Any = value
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        return default if found in (None, "") else found

    return cell


def _number(name: str, *path: str) -> Column:
    return Column(name, _at(*path, default=0), type="integer")


def _keys(*fields: str) -> Callable[[Json, datetime], int]:
    return lambda value, _: sum(len(value.get(field, {})) for field in fields)


def _pairs(labels: Json) -> str:
    return ",".join(f"{key}={text}" for key, text in sorted(labels.items())) or _NONE


# Workloads


def _ready_replicas(value: Json, _: datetime) -> str:
    return f"{value.get('status', {}).get('readyReplicas', 0)}/{value['spec']['replicas']}"


def _containers(field: str) -> Callable[[Json, datetime], str]:
    def cell(value: Json, _: datetime) -> str:
        containers = value["spec"]["template"]["spec"]["containers"]
        return ",".join(container[field] for container in containers)

    return cell


_TEMPLATE_COLUMNS = (
    Column("Containers", _containers("name"), wide=True),
    Column("Images", _containers("image"), wide=True),
    Column("Selector", lambda value, _: selector_text(value["spec"]["selector"]), wide=True),
)


# Services


def _external_ip(service: Json, _: datetime) -> str:
    spec = service["spec"]
    addresses = list(spec.get("externalIPs", ()))
    match spec["type"]:
        case "ExternalName":
            return str(spec["externalName"])
        case "LoadBalancer":
            ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress", ())
            addresses = [entry.get("ip") or entry.get("hostname") for entry in ingress] + addresses
            return ",".join(addresses) or "<pending>"
        case _:
            return ",".join(addresses) or _NONE


def _service_ports(service: Json, _: datetime) -> str:
    ports = []
    for port in service["spec"].get("ports", ()):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        ports.append(f"{port['port']}{node_port}/{port['protocol']}")
    return ",".join(ports) or _NONE


def _service_selector(service: Json, _: datetime) -> str:
    return _pairs(service["spec"].get("selector", {}))


# Nodes


def _node_status(node: Json, _: datetime) -> str:
    ready = condition_of(node.get("status", {}), "Ready").get("status")
    words = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    if node["spec"].get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Json, _: datetime) -> str:
    labels = node["metadata"].get("labels", {})
    roles = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)}
    if role := labels.get("kubernetes.io/role"):
        roles.add(role)
    return ",".join(sorted(filter(None, roles))) or _NONE


def _node_address(kind: str) -> Callable[[Json, datetime], str]:
    def cell(node: Json, _: datetime) -> str:
        for entry in node.get("status", {}).get("addresses", ()):
            if entry["type"] == kind:
                return str(entry["address"])
        return _NONE

    return cell


def _node_info(field: str) -> Callable[[Json, datetime], Any]:
    return _at("status", "nodeInfo", field, default="<unknown>")


# Volumes


def _phase(value: Json, _: datetime) -> str:
    if "deletionTimestamp" in value["metadata"]:
        return "Terminating"
    return str(value.get("status", {}).get("phase", ""))


def _modes(*path: str) -> Callable[[Json, datetime], str]:
    def cell(value: Json, now: datetime) -> str:
        modes = _at(*path, default=())(value, now)
        return ",".join(short for mode, short in _MODES.items() if mode in modes)

    return cell


def _claim(volume: Json, _: datetime) -> str:
    reference = volume["spec"].get("claimRef")
    return f"{reference['namespace']}/{reference['name']}" if reference else ""


_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _class_name(value: Json, _: datetime) -> str:
    metadata = value["metadata"]
    is_default = metadata.get("annotations", {}).get(_DEFAULT_CLASS) == "true"
    return f"{metadata['name']} (default)" if is_default else str(metadata["name"])


# Events


def _last_seen(event: Json, now: datetime) -> str:
    seen = event.get("series", {}).get("lastObservedTime") or event.get("lastTimestamp")
    return age(seen or event.get("eventTime") or event["metadata"]["creationTimestamp"], now)


def _first_seen(event: Json, now: datetime) -> str:
    return age(event.get("firstTimestamp") or event["metadata"]["creationTimestamp"], now)


def _event_object(event: Json, _: datetime) -> str:
    about = event.get("involvedObject", {})
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_source(event: Json, _: datetime) -> str:
    source = event.get("source", {})
    return ", ".join(filter(None, (source.get("component"), source.get("host"))))


def _event_message(event: Json, _: datetime) -> str:
    return str(event.get("message", "")).strip()


_COLUMNS: dict[Resource, Sequence[Column]] = {
    resources.PODS: POD_COLUMNS,
    resources.DEPLOYMENTS: (
        NAME,
        Column("Ready", _ready_replicas),
        _number("Up-to-date", "status", "updatedReplicas"),
        _number("Available", "status", "availableReplicas"),
        age_column(),
        *_TEMPLATE_COLUMNS,
    ),
    resources.REPLICA_SETS: (
        NAME,
        _number("Desired", "spec", "replicas"),
        _number("Current", "status", "replicas"),
        _number("Ready", "status", "readyReplicas"),
        age_column(),
        *_TEMPLATE_COLUMNS,
    ),
    resources.SERVICES: (
        NAME,
        Column("Type", _at("spec", "type")),
        Column("Cluster-IP", _at("spec", "clusterIP")),
        Column("External-IP", _external_ip),
        Column("Port(s)", _service_ports),
        age_column(),
        Column("Selector", _service_selector, wide=True),
    ),
    resources.NODES: (
        NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        age_column(),
        Column("Version", _node_info("kubeletVersion")),
        Column("Internal-IP", _node_address("InternalIP"), wide=True),
        Column("External-IP", _node_address("ExternalIP"), wide=True),
        Column("OS-Image", _node_info("osImage"), wide=True),
        Column("Kernel-Version", _node_info("kernelVersion"), wide=True),
        Column("Container-Runtime", _node_info("containerRuntimeVersion"), wide=True),
    ),
    resources.NAMESPACES: (NAME, Column("Status", _phase), age_column()),
    resources.CONFIG_MAPS: (
        NAME,
        Column("Data", _keys("data", "binaryData"), type="integer"),
        age_column(),
    ),
    resources.SECRETS: (
        NAME,
        Column("Type", _at("type")),
        Column("Data", _keys("data"), type="integer"),
        age_column(),
    ),
    resources.PERSISTENT_VOLUME_CLAIMS: (
        NAME,
        Column("Status", _phase),
        Column("Volume", _at("spec", "volumeName", default="")),
        Column("Capacity", _at("status", "capacity", "storage", default="")),
        Column("Access Modes", _modes("status", "accessModes")),
        Column("StorageClass", _at("spec", "storageClassName", default="")),
        Column(
            "VolumeAttributesClass", _at("spec", "volumeAttributesClassName", default="<unset>")
        ),
        age_column(),
        Column("VolumeMode", _at("spec", "volumeMode", default="<unset>"), wide=True),
    ),
    resources.PERSISTENT_VOLUMES: (
        NAME,
        Column("Capacity", _at("spec", "capacity", "storage", default="")),
        Column("Access Modes", _modes("spec", "accessModes")),
        Column("Reclaim Policy", _at("spec", "persistentVolumeReclaimPolicy")),
        Column("Status", _phase),
        Column("Claim", _claim),
        Column("StorageClass", _at("spec", "storageClassName", default="")),
        Column(
            "VolumeAttributesClass", _at("spec", "volumeAttributesClassName", default="<unset>")
        ),
        Column("Reason", _at("status", "reason", default="")),
        age_column(),
        Column("VolumeMode", _at("spec", "volumeMode", default="<unset>"), wide=True),
    ),
    resources.EVENTS: (
        Column("Last Seen", _last_seen),
        Column("Type", _at("type", default="")),
        Column("Reason", _at("reason", default="")),
        Column("Object", _event_object),
        Column("Subobject", _at("involvedObject", "fieldPath", default=""), wide=True),
        Column("Source", _event_source, wide=True),
        Column("Message", _event_message),
        Column("First Seen", _first_seen, wide=True),
        Column("Count", _at("count", default=1), wide=True),
        Column("Name", lambda value, _: value["metadata"]["name"], wide=True),
    ),
    resources.LEASES: (
        NAME,
        Column("Holder", _at("spec", "holderIdentity", default="")),
        age_column(),
    ),
    resources.STORAGE_CLASSES: (
        Column("Name", _class_name, format="name"),
        Column("Provisioner", _at("provisioner")),
        Column("ReclaimPolicy", _at("reclaimPolicy")),
        Column("VolumeBindingMode", _at("volumeBindingMode")),
        Column("AllowVolumeExpansion", _at("allowVolumeExpansion", default=False)),
        age_column(),
    ),
}


def columns_of(resource: Resource) -> Sequence[Column]:
    return _COLUMNS.get(resource, (NAME, age_column()))

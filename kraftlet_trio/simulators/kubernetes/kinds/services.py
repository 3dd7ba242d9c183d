"""Services: defaults, cluster addresses and node ports."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from kraftlet_trio.simulators.kubernetes.errors import invalid
from kraftlet_trio.simulators.kubernetes.kinds.rules import KindRules, required, unacceptable
from kraftlet_trio.simulators.kubernetes.resources import SERVICES, Json
from kraftlet_trio.simulators.kubernetes.storage import Storage

_CLUSTER_NETWORK = IPv4Network("10.96.0.0/16")
_NODE_PORTS = range(30000, 32768)
_HEADLESS = "None"


def _default(service: Json) -> None:
    spec = service.setdefault("spec", {})
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    if kind == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _validate(service: Json) -> None:
    spec, name = service["spec"], service["metadata"]["name"]
    headless = spec.get("clusterIP") == _HEADLESS or spec["type"] == "ExternalName"
    if not spec.get("ports") and not headless:
        raise invalid(SERVICES, name, required("spec.ports"))
    ports = spec.get("ports", [])
    for index, port in enumerate(ports):
        if not isinstance(port.get("port"), int) or not 0 < port["port"] < 65536:
            why = "must be between 1 and 65535, inclusive"
            raise invalid(
                SERVICES, name, unacceptable(f"spec.ports[{index}].port", port.get("port"), why)
            )
        if len(ports) > 1 and not port.get("name"):
            raise invalid(SERVICES, name, required(f"spec.ports[{index}].name"))


def _create(service: Json, storage: Storage) -> None:
    _default(service)
    _validate(service)
    spec = service["spec"]
    if spec["type"] != "ExternalName":
        if not spec.get("clusterIP"):
            spec["clusterIP"] = next(_free_addresses(storage))
        spec["clusterIPs"] = [spec["clusterIP"]]
    if spec["type"] in ("NodePort", "LoadBalancer"):
        free = _free_node_ports(storage)
        for port in spec["ports"]:
            port["nodePort"] = port.get("nodePort") or next(free)
    service["status"] = {"loadBalancer": {}}


def _free_addresses(storage: Storage) -> Iterator[str]:
    taken = {stored.value["spec"].get("clusterIP") for stored in storage.objects(SERVICES)}
    # The lower end is left to those who choose their address, as the real allocator does.
    first = int(_CLUSTER_NETWORK.network_address) + 256
    for number in range(first, int(_CLUSTER_NETWORK.broadcast_address)):
        address = str(IPv4Address(number))
        if address not in taken:
            yield address


def _free_node_ports(storage: Storage) -> Iterator[int]:
    taken = {
        port.get("nodePort")
        for stored in storage.objects(SERVICES)
        for port in stored.value["spec"].get("ports", ())
    }
    return (port for port in _NODE_PORTS if port not in taken)


def _update(old: Json, new: Json) -> None:
    was, spec = old["spec"], new.setdefault("spec", {})
    if spec.get("type", "ClusterIP") != "ExternalName":
        for field in ("clusterIP", "clusterIPs"):
            if was.get(field):
                spec.setdefault(field, was[field])
    _default(new)
    _validate(new)
    if was.get("clusterIP") and spec.get("clusterIP", was["clusterIP"]) != was["clusterIP"]:
        why = "may not change once set"
        raise invalid(
            SERVICES,
            new["metadata"]["name"],
            unacceptable("spec.clusterIP", spec["clusterIP"], why),
        )
    ports = {port["port"]: port.get("nodePort") for port in was.get("ports", ())}
    if spec["type"] in ("NodePort", "LoadBalancer"):
        for port in spec["ports"]:
            if ports.get(port["port"]):
                port.setdefault("nodePort", ports[port["port"]])


SERVICE_RULES = KindRules(create=_create, update=_update)

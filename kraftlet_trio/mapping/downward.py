"""What a container may learn about its own Pod: ``fieldRef`` and ``resourceFieldRef``.

The downward API as the kubelet serves it. Of its own address a Pod learns only once an instance of
it exists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import chain

import attrs

from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.kubernetes.pod_volumes import ResourceFieldSelector
from kraftlet_trio.mapping.annotations import PodDefaults
from kraftlet_trio.mapping.problems import ConfigurationProblem, shown
from kraftlet_trio.mapping.quantities import MIB, QuantityError, memory_mib, quantity, vcpus

_SUBSCRIPTED = re.compile(r"(metadata\.(?:labels|annotations))\['(.*)'\]", re.DOTALL)
_RESOURCE = re.compile(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)")


POD_ADDRESSES = frozenset({"status.podIP", "status.podIPs"})


@attrs.frozen(kw_only=True)
class Fields:
    """What there is to learn."""

    pod: Pod
    node_name: str
    host_ip: str
    """May be empty."""
    pod_ip: str | None = None
    """None while it is not known; where it is empty, so is what refers to it."""
    defaults: PodDefaults = attrs.field(factory=PodDefaults)


def field_value(path: str, fields: Fields) -> str:
    """The text of a Pod's field, for instance ``metadata.labels['app']``; an absent label is empty.

    Raises:
        ConfigurationProblem: the field is unknown, or unknown as yet.
    """
    pod = fields.pod
    metadata = pod.metadata
    if subscripted := _SUBSCRIPTED.fullmatch(path):
        values = metadata.labels if "labels" in subscripted[1] else metadata.annotations
        return values.get(subscripted[2], "")
    match path:
        case "metadata.name":
            return metadata.name
        case "metadata.namespace":
            return metadata.namespace
        case "metadata.uid":
            return metadata.uid
        case "metadata.labels":
            return _lines(metadata.labels)
        case "metadata.annotations":
            return _lines(metadata.annotations)
        case "spec.nodeName":
            return fields.node_name
        case "spec.serviceAccountName":
            return pod.spec.service_account_name
        case "status.hostIP" | "status.hostIPs" if fields.host_ip:
            return fields.host_ip
        case "status.hostIP" | "status.hostIPs":
            raise _unavailable(path, "the node has no address yet; give it one")
        case _ if path in POD_ADDRESSES and fields.pod_ip is not None:
            return fields.pod_ip
        case _ if path in POD_ADDRESSES:
            raise _unavailable(path, "an instance has no address yet; wait until it has one")
        case _:
            raise _unavailable(path, "it is not a field that a container may refer to; correct it")


def resource_value(selector: ResourceFieldSelector, container: Container, fields: Fields) -> str:
    """A container's limit or request in whole divisors, rounded up, as the kubelet rounds.

    A limit that is not set is the size that the instance gets; a request that is not set is 0.

    Raises:
        ConfigurationProblem: no such container or resource, or a malformed quantity.
    """
    name = selector.container_name or container.name
    spec = fields.pod.spec
    containers = chain([container], spec.containers, spec.init_containers)
    owner = next((candidate for candidate in containers if candidate.name == name), None)
    if owner is None:
        raise _unavailable(selector.resource, f"the Pod has no container {shown(name)}; correct it")
    resource = _RESOURCE.fullmatch(selector.resource)
    if resource is None:
        raise _unavailable(
            selector.resource, "it is not a resource; write limits.cpu, requests.memory or the like"
        )
    try:
        divisor = quantity(selector.divisor) if selector.divisor else Fraction(1)
        if divisor < 0:
            raise QuantityError(f"divisor {shown(selector.divisor)} is negative; correct it")
        amount = _amount(owner, resource[1], resource[2], fields.defaults)
    except QuantityError as error:
        raise _unavailable(selector.resource, str(error)) from error
    # A divisor of 0 counts as none, as in the kubelet.
    return str(math.ceil(amount / (divisor or 1)))


def _amount(container: Container, side: str, resource: str, defaults: PodDefaults) -> Fraction:
    resources = container.resources
    asked = resources.limits if side == "limits" else resources.requests
    # As in the kubelet, a limit of 0 is none.
    if resource in asked and (amount := quantity(asked[resource])):
        return amount
    match side, resource:
        case "limits", "cpu":
            return Fraction(vcpus(resources, defaults.vcpus))
        case "limits", "memory":
            return Fraction(memory_mib(resources, defaults.memory_mb) * MIB)
        case _:
            return Fraction(0)


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(values.items()))


_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    '"': r"\"",
    "\\": r"\\",
}


def _quoted(text: str) -> str:
    """*text* as Go's ``strconv.Quote`` writes it."""
    return f'"{"".join(map(_character, text))}"'


def _character(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unavailable(path: str, why: str) -> ConfigurationProblem:
    return ConfigurationProblem("UnavailableField", f"field {shown(path)} has no value: {why}")

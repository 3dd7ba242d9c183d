"""What a container may learn about its own Pod: ``fieldRef`` and ``resourceFieldRef``.

The downward API as the kubelet serves it for environment variables, as far as it is known before
the Pod's instances exist.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import chain

from kraftlet_trio.kubernetes.pod import Container, Pod
from kraftlet_trio.kubernetes.pod_volumes import ResourceFieldSelector
from kraftlet_trio.mapping.problems import ConfigurationProblem, shown
from kraftlet_trio.mapping.quantities import MIB, QuantityError, memory_mib, quantity, vcpus

_SUBSCRIPTED = re.compile(r"(metadata\.(?:labels|annotations))\['(.*)'\]", re.DOTALL)
_RESOURCE = re.compile(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)")


def field_value(path: str, pod: Pod, *, node_name: str, host_ip: str) -> str:
    """The text of a Pod's field, for instance ``metadata.labels['app']``; an absent label is empty.

    Raises:
        ConfigurationProblem: the field is unknown, or unknown as yet.
    """
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
            return node_name
        case "spec.serviceAccountName":
            return pod.spec.service_account_name
        case "status.hostIP" | "status.hostIPs" if host_ip:
            return host_ip
        case "status.hostIP" | "status.hostIPs":
            raise _unavailable(path, "the node has no address yet; give it one")
        case "status.podIP" | "status.podIPs":
            raise _unavailable(
                path, "an instance gets its address after its environment; leave the field out"
            )
        case _:
            raise _unavailable(path, "it is not a field that a container may refer to; correct it")


def resource_value(selector: ResourceFieldSelector, container: Container, pod: Pod) -> str:
    """A container's limit or request in whole divisors, rounded up, as the kubelet rounds.

    A limit that is not set is the size that the instance gets; a request that is not set is 0.

    Raises:
        ConfigurationProblem: no such container or resource, or a malformed quantity.
    """
    name = selector.container_name or container.name
    containers = chain([container], pod.spec.containers, pod.spec.init_containers)
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
        amount = _amount(owner, resource[1], resource[2])
    except QuantityError as error:
        raise _unavailable(selector.resource, str(error)) from error
    # A divisor of 0 counts as none, as in the kubelet.
    return str(math.ceil(amount / (divisor or 1)))


def _amount(container: Container, side: str, resource: str) -> Fraction:
    resources = container.resources
    asked = resources.limits if side == "limits" else resources.requests
    if resource in asked:
        return quantity(asked[resource])
    match side, resource:
        case "limits", "cpu":
            return Fraction(vcpus(resources))
        case "limits", "memory":
            return Fraction(memory_mib(resources) * MIB)
        case _:
            return Fraction(0)


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(values.items())
    )


def _unavailable(path: str, why: str) -> ConfigurationProblem:
    return ConfigurationProblem("UnavailableField", f"field {shown(path)} has no value: {why}")

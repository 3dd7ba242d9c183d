"""How lists merge in a strategic merge patch: which field tells their elements apart.

Source: the ``patchStrategy`` and ``patchMergeKey`` tags of the API types. A list that is not
named here is replaced whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Shape:
    """A struct of the API, as far as patches treat its fields specially."""

    fields: Mapping[str, Shape] = attrs.field(factory=dict)
    """Nested structs; for a list, the shape of its elements."""
    keys: Mapping[str, str] = attrs.field(factory=dict)
    """Lists of objects that merge, and by which field."""
    sets: frozenset[str] = frozenset()
    """Lists of primitives that merge as sets."""

    def field(self, name: str) -> Shape:
        return self.fields.get(name, _PLAIN)


_PLAIN = Shape()

_METADATA = Shape(keys={"ownerReferences": "uid"}, sets=frozenset({"finalizers"}))

_CONTAINER = Shape(
    keys={
        "env": "name",
        "ports": "containerPort",
        "volumeMounts": "mountPath",
        "volumeDevices": "devicePath",
    }
)

_POD_SPEC = Shape(
    fields={
        "containers": _CONTAINER,
        "initContainers": _CONTAINER,
        "ephemeralContainers": _CONTAINER,
    },
    keys={
        "containers": "name",
        "initContainers": "name",
        "ephemeralContainers": "name",
        "volumes": "name",
        "imagePullSecrets": "name",
        "hostAliases": "ip",
        "topologySpreadConstraints": "topologyKey",
        "schedulingGates": "name",
        "resourceClaims": "name",
    },
)

_CONDITIONS = Shape(keys={"conditions": "type"})

_TEMPLATE = Shape(fields={"metadata": _METADATA, "spec": _POD_SPEC})
_WORKLOAD_SPEC = Shape(fields={"template": _TEMPLATE})

_SPECS: Mapping[str, Shape] = {
    "Pod": _POD_SPEC,
    "Deployment": _WORKLOAD_SPEC,
    "ReplicaSet": _WORKLOAD_SPEC,
    "Service": Shape(keys={"ports": "port"}),
    "Node": Shape(sets=frozenset({"podCIDRs"})),
}
_STATUSES: Mapping[str, Shape] = {
    "Pod": Shape(
        keys={
            "conditions": "type",
            "podIPs": "ip",
            "hostIPs": "ip",
            "resourceClaimStatuses": "name",
        }
    ),
    "Node": Shape(keys={"conditions": "type", "addresses": "type"}),
}
_TOP_LEVEL_KEYS: Mapping[str, Mapping[str, str]] = {"ServiceAccount": {"secrets": "name"}}


def shape_of(kind: str) -> Shape:
    """Of a whole object of the kind."""
    return Shape(
        fields={
            "metadata": _METADATA,
            "spec": _SPECS.get(kind, _PLAIN),
            "status": _STATUSES.get(kind, _CONDITIONS),
        },
        keys=_TOP_LEVEL_KEYS.get(kind, {}),
    )

"""Writing a Pod's status: when it is due, and as what patch."""

from __future__ import annotations

from typing import Any

import attrs

from kraftlet_trio.kubernetes.pod import ContainerState, ContainerStatus, Pod, PodStatus
from kraftlet_trio.kubernetes.serialization import unstructure
from kraftlet_trio.mapping.pod_conditions import RESIZE_CONDITIONS


def status_patch(pod: Pod, status: PodStatus) -> dict[str, Any]:
    """A strategic merge patch of the status subresource, good for this very Pod (by uid) only.

    Container statuses are sent whole, conditions merge by type so that foreign ones stay, and the
    lists of addresses, which would merge by address, are replaced.
    """
    body = unstructure(status)
    body.pop("qosClass", None)  # immutable, and the API server's to set
    for field in ("podIPs", "hostIPs"):
        if body.get(field):
            body[field] = [{"$patch": "replace"}, *body[field]]
    for condition in body.get("conditions", ()):
        # Null clears what the condition said before; left out, it would stay.
        condition.setdefault("reason", None)
        condition.setdefault("message", None)
    told = {condition["type"] for condition in body.get("conditions", ())}
    for condition in pod.status.conditions:
        if condition.type in RESIZE_CONDITIONS and condition.type not in told:
            body.setdefault("conditions", []).append({"type": condition.type, "$patch": "delete"})
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for one in body.get(field, ()):
            # Required by the API although their zero value is a default here.
            one.setdefault("ready", False)
            one.setdefault("restartCount", 0)
            one.setdefault("image", "")
            one.setdefault("imageID", "")
    return {"metadata": {"uid": pod.metadata.uid}, "status": body}


def tells_the_same(before: PodStatus, after: PodStatus) -> bool:
    """Whether *after* has nothing new but the ids of containers that do not run yet.

    These are not worth a write, of which each Pod has few.
    """
    return _without_ids_of_waiting(before) == _without_ids_of_waiting(after)


def _without_ids_of_waiting(status: PodStatus) -> PodStatus:
    def without_ids(statuses: tuple[ContainerStatus, ...]) -> tuple[ContainerStatus, ...]:
        return tuple(
            attrs.evolve(one, container_id="", image_id="") if one.state.waiting else one
            for one in statuses
        )

    return attrs.evolve(
        status,
        container_statuses=without_ids(status.container_statuses),
        init_container_statuses=without_ids(status.init_container_statuses),
    )


def has_drifted(present: PodStatus, reported: PodStatus) -> bool:
    """Whether somebody else made the API server's copy say something different.

    The control plane does so to all Pods of a node that it thought lost, and leaves it to the node
    to put them right. Only what every version of the API server keeps is compared: fields that it
    drops would seem to drift for ever.
    """
    if present.phase != reported.phase:
        return True
    conditions = {condition.type: condition.status for condition in present.conditions}
    if any(conditions.get(one.type) != one.status for one in reported.conditions):
        return True
    return _essence(present) != _essence(reported)


def _essence(status: PodStatus) -> list[tuple[str, ContainerState, bool, int]]:
    every = (*status.init_container_statuses, *status.container_statuses)
    return [(one.name, one.state, one.ready, one.restart_count) for one in every]

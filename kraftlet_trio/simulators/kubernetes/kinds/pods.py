"""Pods: defaults, admission, what of a Pod may change, and what its status may say."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from kraftlet_trio.simulators.kubernetes.errors import Cause, invalid
from kraftlet_trio.simulators.kubernetes.kinds.pod_admission import admit_pod
from kraftlet_trio.simulators.kubernetes.kinds.pod_defaults import (
    all_containers,
    default_pod_spec,
    default_requests,
)
from kraftlet_trio.simulators.kubernetes.kinds.rules import (
    KindRules,
    fixed,
    required,
    unacceptable,
)
from kraftlet_trio.simulators.kubernetes.resources import PODS, Json
from kraftlet_trio.simulators.kubernetes.storage import Storage

_UPDATES_ALLOWED = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
    "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)


def pod_spec_faults(spec: Json, path: str) -> list[Cause]:
    """What is missing in a Pod's or a template's spec."""
    faults = [] if spec.get("containers") else [required(f"{path}.containers")]
    seen: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field, ())):
            where = f"{path}.{field}[{index}]"
            name = container.get("name", "")
            if not name:
                faults.append(required(f"{where}.name"))
            elif name in seen:
                message = f'Duplicate value: "{name}"'
                faults.append(
                    Cause(field=f"{where}.name", message=message, reason="FieldValueDuplicate")
                )
            seen.add(name)
            if not container.get("image"):
                faults.append(required(f"{where}.image"))
            volumes = {volume.get("name") for volume in spec.get("volumes", ())}
            for at, mount in enumerate(container.get("volumeMounts", ())):
                if mount.get("name") not in volumes:
                    message = f'Not found: "{mount.get("name", "")}"'
                    faults.append(
                        Cause(
                            field=f"{where}.volumeMounts[{at}].name",
                            message=message,
                            reason="FieldValueNotFound",
                        )
                    )
    return faults


def qos_class(spec: Json) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort`` by the containers' CPU and memory."""
    guaranteed, asked = True, False
    for container in all_containers(spec):
        resources = container.get("resources", {})
        limits, requests = resources.get("limits", {}), resources.get("requests", {})
        for name in ("cpu", "memory"):
            asked = asked or name in limits or name in requests
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _create(pod: Json, storage: Storage) -> None:
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    default_requests(spec)
    if faults := pod_spec_faults(spec, "spec"):
        raise invalid(PODS, pod["metadata"]["name"], *faults)
    admit_pod(pod, storage)
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}


def _update(old: Json, new: Json) -> None:
    spec = new.setdefault("spec", {})
    default_pod_spec(spec)
    kept = [toleration in spec.get("tolerations", ()) for toleration in old["spec"]["tolerations"]]
    if _frozen_part(old["spec"]) != _frozen_part(spec) or not all(kept):
        raise invalid(PODS, new["metadata"]["name"], fixed("spec", _UPDATES_ALLOWED))


def _frozen_part(spec: Json) -> Json:
    free = ("containers", "initContainers", "activeDeadlineSeconds", "tolerations")
    part: Json = {key: value for key, value in spec.items() if key not in free}
    for field in ("containers", "initContainers"):
        part[field] = [
            {key: value for key, value in container.items() if key != "image"}
            for container in spec.get(field, ())
        ]
    return part


def _update_status(old: Json, new: Json) -> None:
    status: Json = new.setdefault("status", {})
    was: Json = old["status"]
    new["metadata"].pop("ownerReferences", None)
    if owners := old["metadata"].get("ownerReferences"):
        new["metadata"]["ownerReferences"] = owners
    faults = []
    if status.setdefault("qosClass", was["qosClass"]) != was["qosClass"]:
        faults.append(unacceptable("status.qosClass", status["qosClass"], "field is immutable"))
    _fill_in_zeros(status)
    _agree_on_address(status)
    for single, plural in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        faults += _address_faults(status, single, plural)
    policy = new["spec"]["restartPolicy"]
    for field, containers in (
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
    ):
        by_name = {one["name"]: one for one in new["spec"].get(containers, ())}
        faults += _transition_faults(
            was.get(field, []), status.get(field, []), field, by_name, policy
        )
    if faults:
        raise invalid(PODS, new["metadata"]["name"], *faults)


def _fill_in_zeros(status: Json) -> None:
    """What Go writes whether it was sent or not; who compares has to reckon with it."""
    for condition in status.get("conditions", ()):
        condition.setdefault("lastProbeTime", None)
        condition.setdefault("lastTransitionTime", None)
    for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for container in status.get(field, ()):
            for name, zero in (("ready", False), ("restartCount", 0), ("image", "")):
                container.setdefault(name, zero)
            container.setdefault("imageID", "")
            for state in (container.setdefault("state", {}), container.setdefault("lastState", {})):
                if "running" in state:
                    state["running"].setdefault("startedAt", None)
                if "terminated" in state:
                    state["terminated"].setdefault("exitCode", 0)
                    state["terminated"].setdefault("startedAt", None)
                    state["terminated"].setdefault("finishedAt", None)


def _agree_on_address(status: Json) -> None:
    """The older field decides, where both are there and differ. Source: the v1 conversions."""
    one, several = status.get("podIP", ""), status.get("podIPs", [])
    if one and (not several or several[0].get("ip") != one):
        status["podIPs"] = [{"ip": one}]
    elif several:
        status["podIP"] = several[0].get("ip", "")


def _address_faults(status: Json, single: str, plural: str) -> list[Cause]:
    faults = []
    addresses = [entry.get("ip", "") for entry in status.get(plural, ())]
    if addresses and addresses[0] != status.get(single):
        why = f"must be equal to `{single}`"
        faults.append(unacceptable(f"status.{plural}[0].ip", addresses[0], why))
    for index, address in enumerate(addresses):
        try:
            ip_address(address)
        except ValueError:
            why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            faults.append(unacceptable(f"status.{plural}[{index}]", address, why))
    return faults


def _transition_faults(
    old: list[Json], new: list[Json], field: str, containers: dict[str, Json], policy: str
) -> list[Cause]:
    """A container that ended for good does not come back. Source: the core group's validation."""
    faults = []
    by_name: dict[str, Any] = {status["name"]: status for status in new}
    for index, was in enumerate(old):
        now, ended = by_name.get(was["name"]), was.get("state", {}).get("terminated")
        if now and ended and "terminated" not in now.get("state", {}):
            container = containers.get(was["name"], {})
            if not _restarts(container, policy, ended.get("exitCode", 0)):
                why = "may not be transitioned to non-terminated state"
                faults.append(fixed(f"status.{field}[{index}].state", why))
    return faults


def _restarts(container: Json, pod_policy: str, exit_code: int) -> bool:
    for rule in container.get("restartPolicyRules", ()):
        codes = rule.get("exitCodes", {})
        if (exit_code in codes.get("values", ())) == (codes.get("operator") == "In"):
            return True
    match container.get("restartPolicy", pod_policy):
        case "Never":
            return False
        case "OnFailure":
            return exit_code != 0
    return True


POD_RULES = KindRules(create=_create, update=_update, update_status=_update_status)

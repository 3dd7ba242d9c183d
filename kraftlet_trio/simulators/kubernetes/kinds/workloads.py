"""Deployments and ReplicaSets: defaults, and the selector that never changes."""

from __future__ import annotations

from kraftlet_trio.simulators.kubernetes.errors import Cause, invalid
from kraftlet_trio.simulators.kubernetes.kinds.pod_defaults import default_pod_spec
from kraftlet_trio.simulators.kubernetes.kinds.pods import pod_spec_faults
from kraftlet_trio.simulators.kubernetes.kinds.rules import (
    KindRules,
    fixed,
    required,
    unacceptable,
)
from kraftlet_trio.simulators.kubernetes.resources import DEPLOYMENTS, Json, resource_of
from kraftlet_trio.simulators.kubernetes.selectors import label_selector
from kraftlet_trio.simulators.kubernetes.storage import Storage


def _default(workload: Json) -> None:
    spec = workload.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))
    if resource_of(workload) is not DEPLOYMENTS:
        return
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")


def _validate(workload: Json) -> None:
    spec = workload["spec"]
    faults: list[Cause] = []
    selector = spec.get("selector") or {}
    if not selector:
        faults.append(required("spec.selector"))
    labels = spec["template"].get("metadata", {}).get("labels", {})
    if not all(term.matches_labels(labels) for term in label_selector(selector)):
        why = "`selector` does not match template `labels`"
        faults.append(unacceptable("spec.template.metadata.labels", labels, why))
    if spec["replicas"] < 0:
        why = "must be greater than or equal to 0"
        faults.append(unacceptable("spec.replicas", spec["replicas"], why))
    template = spec["template"]["spec"]
    faults += pod_spec_faults(template, "spec.template.spec")
    if template["restartPolicy"] != "Always":
        why = 'supported values: "Always"'
        faults.append(
            unacceptable("spec.template.spec.restartPolicy", template["restartPolicy"], why)
        )
    if faults:
        raise invalid(resource_of(workload), workload["metadata"]["name"], *faults)


def _create(workload: Json, storage: Storage) -> None:
    _default(workload)
    _validate(workload)
    workload["status"] = {}


def _update(old: Json, new: Json) -> None:
    _default(new)
    _validate(new)
    if old["spec"]["selector"] != new["spec"]["selector"]:
        raise invalid(resource_of(new), new["metadata"]["name"], fixed("spec.selector"))


def _update_status(old: Json, new: Json) -> None:
    new["metadata"].pop("labels", None)
    if labels := old["metadata"].get("labels"):
        new["metadata"]["labels"] = labels


WORKLOAD_RULES = KindRules(create=_create, update=_update, update_status=_update_status)

"""The scheduler: gives Pods to nodes that are ready, selected and tolerated.

Resources are not counted: the nodes simulated for are elastic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import attrs

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.kubernetes.conditions import is_true, set_condition
from kraftlet_trio.simulators.kubernetes.controllers.ephemeral import claims_of
from kraftlet_trio.simulators.kubernetes.controllers.loop import Controller
from kraftlet_trio.simulators.kubernetes.events import emit
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STORAGE_CLASSES,
    Json,
)
from kraftlet_trio.simulators.kubernetes.selectors import LabelRequirement
from kraftlet_trio.simulators.kubernetes.storage import Change, Key, Stored
from kraftlet_trio.simulators.kubernetes.subresources import bind

SCHEDULER = "default-scheduler"
SELECTED_NODE = "volume.kubernetes.io/selected-node"


def scheduler(registry: Registry) -> Controller[Key]:
    scheduling = _Scheduling(registry)
    return Controller(
        name="scheduler",
        triggers={
            PODS: lambda change: [change.current.key] if _is_pending(change.current) else [],
            NODES: scheduling.all_pending,
            PERSISTENT_VOLUME_CLAIMS: scheduling.all_pending,
        },
        reconcile=scheduling.reconcile,
    )


def _is_pending(pod: Stored) -> bool:
    spec = pod.value["spec"]
    return not spec.get("nodeName") and spec.get("schedulerName") == SCHEDULER


@attrs.frozen
class _Scheduling:
    registry: Registry

    def all_pending(self, change: Change) -> Iterator[Key]:
        if change.previous is None or _bears_on_scheduling(change):
            for pod in self.registry.storage.objects(PODS):
                if _is_pending(pod):
                    yield pod.key

    def reconcile(self, key: Key) -> float | None:
        pod = self.registry.storage.get(PODS, *key)
        if pod is None or pod.deleting or not _is_pending(pod):
            return None
        if pod.value["spec"].get("schedulingGates"):
            self._hold(pod, "SchedulingGated", "Scheduling is blocked due to non-empty gates")
            return None
        nodes = self.registry.storage.objects(NODES)
        refusals = {node.name: refusal(pod.value["spec"], node) for node in nodes}
        feasible = [node for node in nodes if not refusals[node.name]]
        claims = list(self._unbound_claims(pod))
        immediate = [claim for claim in claims if not self._waits_for_consumer(claim)]
        if immediate or (claims and None in claims):
            why = "pod has unbound immediate PersistentVolumeClaims"
            self._hold(pod, "Unschedulable", f"0/{len(nodes)} nodes are available: {why}.")
        elif not feasible:
            self._hold(pod, "Unschedulable", _sentence(nodes, refusals.values()))
        elif claims:
            self._select_node(claims, self._least_loaded(feasible))
        else:
            self._assign(pod, self._least_loaded(feasible))
        return None

    def _least_loaded(self, feasible: Sequence[Stored]) -> Stored:
        if len(feasible) == 1:
            return feasible[0]
        load = Counter(
            pod.value["spec"].get("nodeName") for pod in self.registry.storage.objects(PODS)
        )
        return min(feasible, key=lambda node: load[node.name])

    def _assign(self, pod: Stored, node: Stored) -> None:
        bind(self.registry, *pod.key, node.name)
        message = f"Successfully assigned {pod.namespace}/{pod.name} to {node.name}"
        emit(self.registry, pod, SCHEDULER, "Scheduled", message)

    def _hold(self, pod: Stored, reason: str, message: str) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
        }

        def held(value: Json) -> Json:
            set_condition(value["status"], condition, utc_now())
            return value

        after = self.registry.update(PODS, *pod.key, held, subresource="status")
        if after is not pod and reason == "Unschedulable":
            emit(self.registry, pod, SCHEDULER, "FailedScheduling", message, warning=True)

    def _unbound_claims(self, pod: Stored) -> Iterator[Stored | None]:
        """None for a claim that does not exist (yet)."""
        for name in claims_of(pod):
            claim = self.registry.storage.get(PERSISTENT_VOLUME_CLAIMS, pod.namespace, name)
            if claim is None or claim.value["status"].get("phase") != "Bound":
                yield claim

    def _waits_for_consumer(self, claim: Stored | None) -> bool:
        if claim is None:
            return False
        name = claim.value["spec"].get("storageClassName", "")
        storage_class = self.registry.storage.get(STORAGE_CLASSES, "", name)
        return (
            storage_class is not None
            and storage_class.value["volumeBindingMode"] == "WaitForFirstConsumer"
        )

    def _select_node(self, claims: Iterable[Stored | None], node: Stored) -> None:
        """Tell the provisioner where the volume will be needed; binding comes with it."""

        def selected(value: Json) -> Json:
            value["metadata"].setdefault("annotations", {}).setdefault(SELECTED_NODE, node.name)
            return value

        for claim in claims:
            if claim is not None:
                self.registry.update(PERSISTENT_VOLUME_CLAIMS, *claim.key, selected)


def _bears_on_scheduling(change: Change) -> bool:
    """Not, for one, a node's heartbeat."""
    if change.previous is None or change.resource is not NODES or change.deleted:
        return True
    before, after = change.previous.value, change.current.value
    return (
        before.get("spec") != after.get("spec")
        or before["metadata"].get("labels") != after["metadata"].get("labels")
        or is_true(before["status"], "Ready") != is_true(after["status"], "Ready")
    )


def refusal(spec: Json, node: Stored) -> str:
    """Why a Pod of *spec* cannot go to *node*, as the scheduler words it; empty if it can."""
    if node.value["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if not is_true(node.value.get("status", {}), "Ready"):
        return "node(s) were not ready"
    if not _is_selected(spec, node.value):
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in node.value["spec"].get("taints", ()):
        if taint["effect"] != "PreferNoSchedule" and not _is_tolerated(taint, spec):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    return ""


def _is_tolerated(taint: Json, spec: Json) -> bool:
    return any(
        toleration.get("effect", taint["effect"]) == taint["effect"]
        and toleration.get("key", taint["key"]) == taint["key"]
        and (
            toleration.get("operator") == "Exists"
            or toleration.get("value", "") == taint.get("value", "")
        )
        for toleration in spec.get("tolerations", ())
    )


def _is_selected(spec: Json, node: Json) -> bool:
    labels = node["metadata"].get("labels", {})
    if not spec.get("nodeSelector", {}).items() <= labels.items():
        return False
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_matches_term(term, node) for term in required.get("nodeSelectorTerms", ()))


def _matches_term(term: Json, node: Json) -> bool:
    expressions, fields = term.get("matchExpressions", ()), term.get("matchFields", ())
    if not expressions and not fields:
        return False
    labels = node["metadata"].get("labels", {})
    names = {"metadata.name": node["metadata"]["name"]}
    return all(_matches(expression, labels) for expression in expressions) and all(
        _matches(field, names) for field in fields
    )


def _matches(expression: Json, labels: Json) -> bool:
    key, operator, values = (
        expression["key"],
        expression["operator"],
        expression.get("values", []),
    )
    match operator:
        case "Gt" | "Lt":
            number, bound = labels.get(key, ""), int(values[0])
            if not number.lstrip("-").isdigit():
                return False
            return int(number) > bound if operator == "Gt" else int(number) < bound
        case _:
            return LabelRequirement(key, operator, frozenset(values)).matches_labels(labels)


def _sentence(nodes: Sequence[Stored], refusals: Iterable[str]) -> str:
    if not nodes:
        return "no nodes available to schedule pods"
    counts = Counter(refusals)
    reasons = ", ".join(f"{count} {why}" for why, count in sorted(counts.items()))
    return f"0/{len(nodes)} nodes are available: {reasons}."

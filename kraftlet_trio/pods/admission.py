"""Which Pods this node does not take, by the rules of kubelet's admission.

Ask only of a Pod that nothing was made for yet: as with the kubelet, labels that change later do
not end what runs.
"""

from __future__ import annotations

from typing import Literal

import attrs

from kraftlet_trio.kubernetes.node_affinity import NodeSelectorRequirement, NodeSelectorTerm
from kraftlet_trio.kubernetes.objects import Node
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.pods.context import PodSettings

_OS_LABEL = "kubernetes.io/os"
_LINUX = "linux"


@attrs.frozen
class Refusal:
    """Why a Pod is not taken, and what becomes of it."""

    action: Literal["leave", "fail"]
    """``fail``: its phase becomes ``Failed``, with this reason and message. ``leave``: it stays as
    it is, but for a Warning event."""
    reason: str
    message: str


def refusal(pod: Pod, settings: PodSettings, node: Node | None) -> Refusal | None:
    """None for a Pod that is welcome. *node* is ours as the API server has it, None if unknown:
    then its labels keep nobody away.

    Source: pkg/kubelet/lifecycle/predicate.go.
    """
    if pod.spec.os is not None and pod.spec.os.name not in ("", _LINUX):
        return _failed(
            "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"
        )
    if pod.spec.node_selector.get(_OS_LABEL, _LINUX) != _LINUX:
        return _failed(
            "PodOSSelectorNodeLabelDoesNotMatch",
            f"Failed to admit pod as the `{_OS_LABEL}` label doesn't match node label",
        )
    if node is not None and not _is_selected(pod, node):
        return _failed(
            "NodeAffinity",
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        )
    if settings.daemon_set_pods != "run" and _is_of_daemon_set(pod):
        return _refused_daemon_set(settings.daemon_set_pods)
    return None


def _failed(reason: str, message: str) -> Refusal:
    return Refusal("fail", reason, f"Pod was rejected: {message}")


def _refused_daemon_set(setting: Literal["ignore", "refuse"]) -> Refusal:
    """Most DaemonSets tend a machine, and tolerate all taints to be on every one; here is none."""
    why = (
        "Pods of DaemonSets are not run on this node, which is no machine to be tended: keep the "
        "DaemonSet away by a node affinity (label unikraft.com/virtual-kubelet), or set "
        "KRAFTLET_DAEMON_SET_PODS to run"
    )
    if setting == "ignore":
        return Refusal("leave", "DaemonSetPodIgnored", why)
    return _failed("DaemonSetPodRefused", why)


def _is_of_daemon_set(pod: Pod) -> bool:
    return any(
        owner.controller and owner.kind == "DaemonSet" and owner.api_version.startswith("apps/")
        for owner in pod.metadata.owner_references
    )


def _is_selected(pod: Pod, node: Node) -> bool:
    """Whether the Pod's node selector and its required node affinity choose *node*.

    Source: component-helpers' nodeaffinity.GetRequiredNodeAffinity.
    """
    if not pod.spec.node_selector.items() <= node.metadata.labels.items():
        return False
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    if required is None:
        return True
    return any(_matches(term, node) for term in required.node_selector_terms)


def _matches(term: NodeSelectorTerm, node: Node) -> bool:
    """An empty term chooses no node."""
    labels, fields = node.metadata.labels, {"metadata.name": node.metadata.name}
    return bool(term.match_expressions or term.match_fields) and all(
        (
            *(_holds(one, labels.get(one.key)) for one in term.match_expressions),
            *(_holds(one, fields.get(one.key)) for one in term.match_fields),
        )
    )


def _holds(requirement: NodeSelectorRequirement, value: str | None) -> bool:
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
    return False


def _compares(requirement: NodeSelectorRequirement, value: str | None) -> bool:
    try:
        number, bound = int(value or ""), int("".join(requirement.values))
    except ValueError:
        return False
    return number > bound if requirement.operator == "Gt" else number < bound

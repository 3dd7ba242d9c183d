"""Deployments roll their template out by resizing ReplicaSets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import attrs
import orjson

from kraftlet_trio.simulators.kubernetes.controllers.deployment_status import write_status
from kraftlet_trio.simulators.kubernetes.controllers.loop import Controller
from kraftlet_trio.simulators.kubernetes.controllers.rollout import (
    Size,
    limits_of,
    rolling_sizes,
)
from kraftlet_trio.simulators.kubernetes.events import emit
from kraftlet_trio.simulators.kubernetes.owners import (
    controlled_by,
    controller_of,
    controller_reference,
)
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import (
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    Json,
)
from kraftlet_trio.simulators.kubernetes.storage import Change, Key, Stored

COMPONENT = "deployment-controller"
HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_NOT_COPIED = (REVISION, "kubectl.kubernetes.io/last-applied-configuration")


def deployment_controller(registry: Registry) -> Controller[Key]:
    deployments = _Deployments(registry)
    return Controller(
        name="deployments",
        triggers={
            DEPLOYMENTS: lambda change: [change.current.key],
            REPLICA_SETS: deployments.owner,
            PODS: deployments.owner_of_gone_pod,
        },
        reconcile=deployments.reconcile,
    )


@attrs.frozen
class _Deployments:
    registry: Registry

    def owner(self, change: Change) -> Iterator[Key]:
        owner = controller_of(change.current, DEPLOYMENTS, self.registry.storage)
        if owner is not None:
            yield owner.key

    def owner_of_gone_pod(self, change: Change) -> Iterator[Key]:
        """Recreating waits for Pods that no ReplicaSet counts any more."""
        if change.deleted:
            owner = controller_of(change.current, REPLICA_SETS, self.registry.storage)
            if owner is not None:
                yield from self.owner(Change(owner, None))

    def reconcile(self, key: Key) -> float | None:
        deployment = self.registry.storage.get(DEPLOYMENTS, *key)
        if deployment is None:
            return None
        sets = controlled_by(deployment, REPLICA_SETS, self.registry.storage)
        new = next((one for one in sets if _has_template(one, deployment)), None)
        old = [one for one in sets if one is not new]
        created = False
        if not deployment.deleting:
            if new is None and self._may_create(deployment, old):
                new, created = self._create_set(deployment, old), True
            if new is not None:
                new = self._stamp_revision(deployment, new, old)
                deployment = self.registry.get(DEPLOYMENTS, *key)
            self._resize(deployment, new, old)
            self._forget_history(deployment, old)
        sets = controlled_by(deployment, REPLICA_SETS, self.registry.storage)
        return write_status(self.registry, deployment, sets, new, created=created)

    def _may_create(self, deployment: Stored, old: Sequence[Stored]) -> bool:
        spec = deployment.value["spec"]
        if spec.get("paused"):
            return False
        return spec["strategy"]["type"] != "Recreate" or not self._any_pod_left(old)

    def _any_pod_left(self, old: Sequence[Stored]) -> bool:
        return any(
            pod.value["status"].get("phase") not in ("Succeeded", "Failed")
            for one in old
            for pod in controlled_by(one, PODS, self.registry.storage)
        )

    def _create_set(self, deployment: Stored, old: Sequence[Stored]) -> Stored:
        spec = deployment.value["spec"]
        template = orjson.loads(orjson.dumps(spec["template"]))
        label = self._free_hash(deployment, template)
        template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = label
        selector = orjson.loads(orjson.dumps(spec["selector"]))
        selector.setdefault("matchLabels", {})[HASH_LABEL] = label
        value: Json = {
            "metadata": {
                "name": f"{deployment.name}-{label}",
                "labels": template["metadata"]["labels"],
                "annotations": _copied_annotations(deployment),
                "ownerReferences": [controller_reference(deployment)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        }
        if seconds := spec.get("minReadySeconds"):
            value["spec"]["minReadySeconds"] = seconds
        return self.registry.create(REPLICA_SETS, value, namespace=deployment.namespace)

    def _free_hash(self, deployment: Stored, template: Json) -> str:
        """Of the template; another one while a stranger holds the name it would make."""
        collisions = 0
        while True:
            label = _template_hash(template, collisions)
            name = f"{deployment.name}-{label}"
            if self.registry.storage.get(REPLICA_SETS, deployment.namespace, name) is None:
                return label
            collisions += 1

    def _stamp_revision(self, deployment: Stored, new: Stored, old: Sequence[Stored]) -> Stored:
        """The newest set has the highest number, also after a rollback; returns it so."""
        highest = max((_revision(one) for one in old), default=0)
        revision = max(_revision(new), highest + 1)

        def stamped(value: Json) -> Json:
            value["metadata"].setdefault("annotations", {})[REVISION] = str(revision)
            return value

        self.registry.update(DEPLOYMENTS, *deployment.key, stamped)
        return self.registry.update(REPLICA_SETS, *new.key, stamped)

    def _resize(self, deployment: Stored, new: Stored | None, old: Sequence[Stored]) -> None:
        spec = deployment.value["spec"]
        if spec.get("paused"):
            active = [one for one in [*old, *([new] if new else [])] if _size(one).wanted]
            if len(active) == 1:
                self._scale(deployment, active[0], spec["replicas"])
            return
        if spec["strategy"]["type"] == "Recreate":
            for one in old:
                self._scale(deployment, one, 0)
            if new is not None:
                self._scale(deployment, new, spec["replicas"])
            return
        if new is not None:
            sizes = rolling_sizes(
                spec["replicas"], limits_of(spec), _size(new), [_size(one) for one in old]
            )
            for one in [new, *old]:
                self._scale(deployment, one, sizes.get(one.name, _size(one).wanted))

    def _scale(self, deployment: Stored, one: Stored, replicas: int) -> None:
        before = _size(one).wanted
        if replicas == before:
            return

        def scaled(value: Json) -> Json:
            value["spec"]["replicas"] = replicas
            return value

        self.registry.update(REPLICA_SETS, *one.key, scaled)
        direction = "up" if replicas > before else "down"
        message = f"Scaled {direction} replica set {one.name} from {before} to {replicas}"
        emit(self.registry, deployment, COMPONENT, "ScalingReplicaSet", message)

    def _forget_history(self, deployment: Stored, old: Sequence[Stored]) -> None:
        empty = [
            one
            for one in sorted(old, key=_revision)
            if not _size(one).wanted and not one.value.get("status", {}).get("replicas")
        ]
        surplus = len(empty) - deployment.value["spec"]["revisionHistoryLimit"]
        for one in empty[: max(surplus, 0)]:
            if not one.deleting:
                self.registry.delete(REPLICA_SETS, *one.key)


def _size(one: Stored) -> Size:
    return Size(
        name=one.name,
        wanted=one.value["spec"]["replicas"],
        available=one.value.get("status", {}).get("availableReplicas", 0),
    )


def _revision(one: Stored) -> int:
    return int(one.value["metadata"].get("annotations", {}).get(REVISION, "0"))


def _copied_annotations(deployment: Stored) -> Json:
    annotations = deployment.value["metadata"].get("annotations", {})
    return {key: text for key, text in annotations.items() if key not in _NOT_COPIED}


def _has_template(one: Stored, deployment: Stored) -> bool:
    """Whether a ReplicaSet makes the Pods that the Deployment asks for now."""
    return _without_hash(one.value["spec"]["template"]) == _without_hash(
        deployment.value["spec"]["template"]
    )


def _without_hash(template: Json) -> Json:
    metadata = template.get("metadata", {})
    labels = {key: text for key, text in metadata.get("labels", {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _template_hash(template: Json, collisions: int) -> str:
    """Ten characters that fit into a name."""
    content = orjson.dumps([template, collisions], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:10]

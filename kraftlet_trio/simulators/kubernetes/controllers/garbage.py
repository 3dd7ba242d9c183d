"""The garbage collector: what lost its last owner goes, and how a deletion reaches dependents."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kraftlet_trio.simulators.kubernetes.controllers.loop import Controller
from kraftlet_trio.simulators.kubernetes.deletion import (
    FOREGROUND,
    ORPHAN,
    DeleteOptions,
    Propagation,
)
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import RESOURCES, Json
from kraftlet_trio.simulators.kubernetes.storage import Change, Stored


def garbage_collector(registry: Registry) -> Controller[str]:
    """Its keys are uids: of owners that changed or went, and of objects with owners."""
    garbage = _Garbage(registry)
    return Controller(
        name="garbage collector",
        triggers=dict.fromkeys(RESOURCES, _uids),
        reconcile=garbage.reconcile,
    )


def _uids(change: Change) -> Iterator[str]:
    owners = change.current.value["metadata"].get("ownerReferences", ())
    if change.deleted:
        yield change.current.uid
        # Whoever is deleted in the foreground waits for this.
        yield from (owner["uid"] for owner in owners)
    elif owners or change.current.deleting:
        yield change.current.uid


@attrs.frozen
class _Garbage:
    registry: Registry

    def reconcile(self, uid: str) -> float | None:
        stored = self.registry.storage.with_uid(uid)
        if stored is None:
            for dependent in self.registry.storage.dependents(uid):
                self._collect(dependent)
            return None
        if stored.deleting:
            self._work_off_finalizers(stored)
        else:
            self._collect(stored)
        return None

    def _collect(self, dependent: Stored) -> None:
        """Delete what has owners, none of which exists."""
        owners = dependent.value["metadata"].get("ownerReferences", ())
        if not owners or dependent.deleting:
            return
        if all(self.registry.storage.with_uid(owner["uid"]) is None for owner in owners):
            self._delete(dependent, "Background")

    def _work_off_finalizers(self, owner: Stored) -> None:
        finalizers = owner.value["metadata"].get("finalizers", ())
        dependents = self.registry.storage.dependents(owner.uid)
        if ORPHAN in finalizers:
            for dependent in dependents:
                self._disown(dependent, owner)
            self._drop_finalizer(owner, ORPHAN)
        elif FOREGROUND in finalizers:
            for dependent in dependents:
                if not dependent.deleting:
                    self._delete(dependent, "Foreground")
            if not self.registry.storage.dependents(owner.uid):
                self._drop_finalizer(owner, FOREGROUND)

    def _delete(self, stored: Stored, propagation: Propagation) -> None:
        options = DeleteOptions(uid=stored.uid, propagation=propagation)
        self.registry.delete(stored.resource, stored.namespace, stored.name, options)

    def _disown(self, dependent: Stored, owner: Stored) -> None:
        def disowned(value: Json) -> Json:
            references = value["metadata"]["ownerReferences"]
            value["metadata"]["ownerReferences"] = [
                reference for reference in references if reference["uid"] != owner.uid
            ]
            return value

        self.registry.update(dependent.resource, *dependent.key, disowned)

    def _drop_finalizer(self, stored: Stored, finalizer: str) -> None:
        def freed(value: Json) -> Json:
            finalizers = value["metadata"]["finalizers"]
            value["metadata"]["finalizers"] = [one for one in finalizers if one != finalizer]
            return value

        self.registry.update(stored.resource, *stored.key, freed)

"""A namespace that is deleted is emptied first."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kraftlet_trio.simulators.kubernetes.controllers.loop import Controller
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import NAMESPACES, RESOURCES
from kraftlet_trio.simulators.kubernetes.storage import Change, Stored

_NAMESPACED = tuple(resource for resource in RESOURCES if resource.namespaced)


def namespace_controller(registry: Registry) -> Controller[str]:
    namespaces = _Namespaces(registry)
    return Controller(
        name="namespaces",
        triggers={
            **dict.fromkeys(_NAMESPACED, namespaces.left),
            NAMESPACES: lambda change: [change.current.name] if change.current.deleting else [],
        },
        reconcile=namespaces.reconcile,
    )


@attrs.frozen
class _Namespaces:
    registry: Registry

    def left(self, change: Change) -> Iterator[str]:
        if change.deleted and self._terminating(change.current.namespace):
            yield change.current.namespace

    def reconcile(self, name: str) -> float | None:
        if not self._terminating(name):
            return None
        for stored in self._content(name):
            if not stored.deleting:
                self.registry.delete(stored.resource, *stored.key)
        if not any(self._content(name)):
            self.registry.update(
                NAMESPACES, "", name, lambda value: {**value, "spec": {}}, subresource="finalize"
            )
        return None

    def _terminating(self, name: str) -> bool:
        stored = self.registry.storage.get(NAMESPACES, "", name)
        return stored is not None and stored.deleting

    def _content(self, name: str) -> Iterator[Stored]:
        for resource in _NAMESPACED:
            yield from self.registry.storage.objects(resource, name)

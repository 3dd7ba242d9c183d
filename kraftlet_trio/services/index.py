"""Services by namespace, so that a Pod looks only at those that could select it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from kraftlet_trio.kubernetes.informer import Store
from kraftlet_trio.kubernetes.objects import Service


@attrs.define
class ServiceIndex:
    """A view of the Services store by namespace."""

    _store: Store[Service]
    _by_namespace: dict[str, dict[str, Service]] = attrs.field(factory=dict, init=False)
    _generations: dict[str, int] = attrs.field(factory=dict, init=False)
    _namespace_of: dict[str, str] = attrs.field(factory=dict, init=False)

    def refresh(self, changed: Iterable[str]) -> frozenset[str]:
        """Take over the changed Services (uids) from the store; returns their namespaces."""
        touched = set()
        for uid in changed:
            service = self._store.get(uid)
            namespace = service.metadata.namespace if service else self._namespace_of.pop(uid, "")
            services = self._by_namespace.setdefault(namespace, {})
            if service is None:
                services.pop(uid, None)
            else:
                self._namespace_of[uid] = namespace
                services[uid] = service
            touched.add(namespace)
        for namespace in touched:
            self._generations[namespace] = self.generation(namespace) + 1
        return frozenset(touched)

    def generation(self, namespace: str) -> int:
        """Grows with each change of the namespace's Services."""
        return self._generations.get(namespace, 0)

    def of_namespace(self, namespace: str) -> Mapping[str, Service]:
        """By uid."""
        return self._by_namespace.get(namespace, {})

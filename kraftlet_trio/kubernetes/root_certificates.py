"""The API server's certificate authority, as a ConfigMap in each namespace.

Nearly every container mounts it, and it is the same for all of a namespace: hundreds of Pods that
start at once need not read it hundreds of times. No other ConfigMap may be shared like that, for
whoever edits one expects the next Pod to see it.
"""

from __future__ import annotations

import attrs
import trio

from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.objects import ConfigMap
from kraftlet_trio.kubernetes.resources import CONFIG_MAPS

NAME = "kube-root-ca.crt"
FRESH_SECONDS = 10.0


@attrs.define(eq=False)
class _Read:
    """One that is under way, or what it found."""

    done: trio.Event = attrs.field(factory=trio.Event)
    found: ConfigMap | None = None
    fresh_until: float = float("inf")


@attrs.define
class RootCertificates:
    """Reads the ConfigMap of a namespace once for all who ask within 10 s."""

    _client: KubernetesClient
    _reads: dict[str, _Read] = attrs.field(factory=dict, init=False)

    async def get(self, namespace: str) -> ConfigMap:
        """Raises ``NotFound`` and other ``KubernetesError``; failures are shared with nobody."""
        while (read := self._fresh_read(namespace)) is not None:
            await read.done.wait()
            if read.found is not None:
                return read.found
        read = self._reads[namespace] = _Read()
        try:
            read.found = await self._client.get(CONFIG_MAPS, NAME, namespace=namespace)
            read.fresh_until = trio.current_time() + FRESH_SECONDS
            return read.found
        finally:
            if read.found is None and self._reads.get(namespace) is read:
                del self._reads[namespace]
            read.done.set()

    def forget(self, namespace: str) -> None:
        """Let the next one who asks read it anew, for it has changed."""
        self._reads.pop(namespace, None)

    def _fresh_read(self, namespace: str) -> _Read | None:
        now = trio.current_time()
        for name in [name for name, read in self._reads.items() if read.fresh_until <= now]:
            del self._reads[name]
        return self._reads.get(namespace)

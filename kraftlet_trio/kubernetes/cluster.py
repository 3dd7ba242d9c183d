"""What tells one cluster from another."""

from __future__ import annotations

import structlog
import trio

from kraftlet_trio.kubernetes.backoff import Backoff
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import (
    KubernetesError,
    KubernetesUnavailable,
    NotFound,
    Unauthorized,
)
from kraftlet_trio.kubernetes.resources import NAMESPACES

log = structlog.get_logger(__name__)

SYSTEM_NAMESPACE = "kube-system"
"""Every API server makes it when it first starts, and refuses to delete it."""


async def cluster_uid(client: KubernetesClient) -> str:
    """Uid of the namespace ``kube-system``, which stands for the cluster's own identity.

    Asked for until the API server answers: one that has just started may not have made it yet.

    Raises:
        Forbidden: the right ``get`` on that namespace is missing.
    """
    backoff = Backoff(initial_seconds=0.5, cap_seconds=10.0)
    while True:
        retry_after = None
        try:
            return (await client.get(NAMESPACES, SYSTEM_NAMESPACE)).metadata.uid
        except (KubernetesUnavailable, NotFound, Unauthorized) as error:
            failure: KubernetesError = error
            if isinstance(error, KubernetesUnavailable):
                retry_after = error.retry_after
        log.warning("cluster cannot be told from others yet", error=str(failure))
        await trio.sleep(backoff.delay(trio.current_time(), retry_after))

"""``kraftlet-trio drain``: take a node away for good, with all that it has in the cloud.

The node is cordoned, its Pods are deleted, and the daemon tears them down: the one that runs, or
the one in here where none does, so that no Pod hangs on our finalizer. What is left of Pods that
are gone already is deleted as well. Volumes of claims stay, they belong to the claims.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

import attrs
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError, CloudUnavailable
from kraftlet_trio.daemon import run_daemon
from kraftlet_trio.kubernetes.client import KubernetesClient, PatchKind
from kraftlet_trio.kubernetes.cluster import cluster_uid
from kraftlet_trio.kubernetes.errors import (
    AlreadyExists,
    Conflict,
    KubernetesUnavailable,
    NotFound,
)
from kraftlet_trio.kubernetes.objects import Lease
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.resources import LEASES, NODES, PODS
from kraftlet_trio.mapping.names import NodeIdentity, pod_uid_of, pod_volume_of
from kraftlet_trio.node.registration import new_node
from kraftlet_trio.settings import Settings

_LEASES_NAMESPACE = "kube-node-lease"
_LOOK_EVERY_SECONDS = 1.0
_LONGEST_LEASE = timedelta(seconds=40)


@attrs.frozen
class Left:
    """What a drained node still has, each in words for people."""

    pods: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pods or self.resources)

    def __str__(self) -> str:
        return "; ".join((*self.pods, *self.resources))


async def drain(
    kubernetes: KubernetesClient,
    cloud: CloudClient,
    settings: Settings,
    *,
    timeout_seconds: float,
    keep_node: bool,
    say: Callable[[str], None],
) -> Left:
    """Return once nothing of the node is left, or else after *timeout_seconds* with what is.

    *say* is told how it goes on, a line each.

    Raises:
        KubernetesError: the API server refuses, or does not answer in time.
        CloudError: likewise the platform.
    """
    owner = NodeIdentity(await cluster_uid(kubernetes), settings.node.name)
    await _cordon(kubernetes, settings)
    drained = _Drained(kubernetes, cloud, owner, say)
    is_tended = await _is_tended(kubernetes, settings.node.name)
    async with trio.open_nursery() as nursery:
        if is_tended:
            say(f"a daemon tends node {owner.node}: it takes its Pods down")
        else:
            say(f"no daemon tends node {owner.node}: its Pods are taken down here")
            # Nothing is offered to anybody, and no claim is answered, on the way out.
            alone = attrs.evolve(settings, kubelet_api=None, claims=None)
            nursery.start_soon(partial(run_daemon, kubernetes, cloud, alone))
        left = await drained.wait(timeout_seconds)
        nursery.cancel_scope.cancel()
    if left or keep_node:
        return left
    if is_tended:
        say(f"node {owner.node} is empty and closed; delete it once its daemon is gone")
    else:
        with suppress(NotFound):
            await kubernetes.delete(NODES, owner.node)
        say(f"node {owner.node} is deleted")
    return left


async def _cordon(kubernetes: KubernetesClient, settings: Settings) -> None:
    """Whatever registers the node from now on finds it closed to new Pods."""
    try:
        await kubernetes.patch(
            NODES, settings.node.name, {"spec": {"unschedulable": True}}, kind=PatchKind.MERGE
        )
    except NotFound:
        body = new_node(settings.node)
        body["spec"] = {**body.get("spec", {}), "unschedulable": True}
        with suppress(AlreadyExists):
            await kubernetes.create(NODES, body)


async def _is_tended(kubernetes: KubernetesClient, node: str) -> bool:
    """Whether somebody renews the node's Lease."""
    try:
        lease: Lease = await kubernetes.get(LEASES, node, namespace=_LEASES_NAMESPACE)
    except NotFound:
        return False
    renewed = lease.spec.renew_time
    return renewed is not None and utc_now() - renewed < _LONGEST_LEASE


@attrs.define
class _Drained:
    """Deletes what the node has until nothing is left of it."""

    kubernetes: KubernetesClient
    cloud: CloudClient
    owner: NodeIdentity
    say: Callable[[str], None]
    _said: str = ""

    async def wait(self, timeout_seconds: float) -> Left:
        left = Left(pods=("its Pods could not be listed in time",))
        with trio.move_on_after(timeout_seconds):
            while left:
                try:
                    left = await self._delete()
                    said = f"{len(left.pods)} Pods and {len(left.resources)} cloud resources left"
                except (KubernetesUnavailable, CloudUnavailable) as error:
                    said = str(error)
                if said != self._said:
                    self._said = said
                    self.say(said)
                await trio.sleep(_LOOK_EVERY_SECONDS if left else 0)
        return left

    async def _delete(self) -> Left:
        """Ask for the deletion of all that is there; what there is."""
        own = f"spec.nodeName={self.owner.node}"
        pods = (await self.kubernetes.list(PODS, field_selector=own)).items
        for pod in pods:
            if pod.metadata.deletion_timestamp is None:
                await self._delete_pod(pod)
        uids = {pod.metadata.uid for pod in pods}
        return Left(tuple(map(_in_words, pods)), await self._delete_resources(uids))

    async def _delete_pod(self, pod: Pod) -> None:
        metadata = pod.metadata
        with suppress(NotFound, Conflict):
            await self.kubernetes.delete(
                PODS, metadata.name, namespace=metadata.namespace, uid=metadata.uid
            )

    async def _delete_resources(self, uids: set[str]) -> tuple[str, ...]:
        """Those of Pods that are gone; the others are the daemon's to delete, in their order."""
        left = []
        for instance in await self.cloud.list_instances(tags=self.owner.tags):
            words = f"instance {instance.name}"
            if pod_uid_of(instance.tags) not in uids:
                words += await self._deleted(partial(self.cloud.delete_instance, instance.uuid))
            left.append(words)
        for volume in await self.cloud.list_volumes(tags=self.owner.tags):
            if pod_volume_of(volume.tags) is None:
                continue  # a claim's
            words = f"volume {volume.name}"
            if pod_uid_of(volume.tags) not in uids:
                words += await self._deleted(partial(self.cloud.delete_volume, volume.uuid))
            left.append(words)
        return tuple(left)

    async def _deleted(self, delete: Callable[[], Awaitable[None]]) -> str:
        try:
            await delete()
        except CloudError as error:
            return f" ({error})"
        return ""


def _in_words(pod: Pod) -> str:
    metadata = pod.metadata
    name = f"Pod {metadata.namespace}/{metadata.name}"
    finalizers = ", ".join(metadata.finalizers)
    return f"{name} (finalizers {finalizers})" if finalizers else name

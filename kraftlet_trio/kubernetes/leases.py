"""Leases: who leads, and that a node is alive.

Leadership follows client-go's leader election (tools/leaderelection), the heartbeat the kubelet's
(component-helpers, apimachinery/lease/controller.go). Both measure with their own monotonic
clock only; the times written into a Lease are for people and for the control plane.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, Never

import attrs
import structlog
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.kubernetes.backoff import Backoff
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import AlreadyExists, Conflict, KubernetesError, NotFound
from kraftlet_trio.kubernetes.objects import Lease, LeaseSpec, ObjectMeta, OwnerReference
from kraftlet_trio.kubernetes.resources import LEASES
from kraftlet_trio.kubernetes.serialization import micro_timestamp, unstructure

log = structlog.get_logger(__name__)

LEADER_LEASE_SECONDS = 15
LEADER_RENEW_SECONDS = 5.0
LEADER_DEADLINE_SECONDS = 10.0
"""A leader that could not renew for so long stops; the rest of the lease is for its clean-up."""
LEADER_ATTEMPT_SECONDS = 2.0
LEADER_RETRY_SECONDS = 0.5
CONTEND_SECONDS = 2.0
"""Between two looks of a follower, stretched at random to at most 2.2 times."""

NODE_LEASE_NAMESPACE = "kube-node-lease"
NODE_LEASE_SECONDS = 40
NODE_RENEW_SECONDS = 10.0
NODE_RENEW_JITTER = 0.04


async def run_while_leader(
    client: KubernetesClient,
    *,
    namespace: str,
    name: str,
    identity: str,
    lead: Callable[[], Awaitable[None]],
) -> Never:
    """Run *lead* whenever this process holds the Lease, and only then.

    *identity* must be this process's alone. *lead* is cancelled 10 s after the last renewal that
    succeeded began, at the latest; whatever it shields must end in the 5 s then left. A *lead*
    that returns gives the Lease back, to contend for it again. Its exceptions pass through.
    When cancelled, the Lease is released so that a successor need not wait.
    """
    contender = _Contender(client, namespace, name, identity)
    while True:
        await contender.acquire()
        log.info("leading", lease=name)
        try:
            await contender.lead_while_held(lead)
        finally:
            log.info("leading no more", lease=name)
            await contender.release()
        await trio.sleep(CONTEND_SECONDS)


class _Lost(Exception):
    """Somebody else holds the Lease."""


@attrs.define
class _Contender:
    client: KubernetesClient
    namespace: str
    name: str
    identity: str
    _seen: Lease | None = None
    """The Lease as last read or written."""
    _seen_at: float = 0.0
    """When this process first saw it so."""
    _renewed_at: float = 0.0
    """When the last successful renewal began."""

    async def acquire(self) -> None:
        """Wait until the Lease is held."""
        failing = False
        while True:
            try:
                with trio.fail_after(LEADER_ATTEMPT_SECONDS):
                    if await self._try_acquire():
                        return
                failing = False
            except (KubernetesError, trio.TooSlowError) as error:
                if not failing:
                    failing = True
                    log.warning("cannot contend for a lease", lease=self.name, error=str(error))
            await trio.sleep(CONTEND_SECONDS * random.uniform(1.0, 2.2))

    async def _try_acquire(self) -> bool:
        begin = trio.current_time()
        try:
            lease = await self._get()
        except NotFound:
            try:
                self._seen = await self.client.create(
                    LEASES, _body(self._held(None)), namespace=self.namespace
                )
            except AlreadyExists:
                return False
            self._renewed_at = begin
            return True
        if lease != self._seen:
            self._seen, self._seen_at = lease, trio.current_time()
        if not self._may_take(lease.spec):
            return False
        begin = trio.current_time()
        try:
            self._seen = await self._put(self._held(lease))
        except (Conflict, NotFound):
            return False
        self._renewed_at = begin
        return True

    def _may_take(self, spec: LeaseSpec) -> bool:
        if spec.holder_identity in ("", self.identity):
            return True
        lapses_after = spec.lease_duration_seconds or LEADER_LEASE_SECONDS
        return trio.current_time() >= self._seen_at + lapses_after

    async def lead_while_held(self, lead: Callable[[], Awaitable[None]]) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.deadline = self._renewed_at + LEADER_DEADLINE_SECONDS
                nursery.start_soon(self._keep_renewed, nursery.cancel_scope)
                await lead()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # The nursery is nobody else's business: callers meet what `lead` raised.
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None

    async def _keep_renewed(self, leading: trio.CancelScope) -> None:
        pause = LEADER_RENEW_SECONDS
        while True:
            await trio.sleep(pause)
            begin, pause = trio.current_time(), LEADER_RETRY_SECONDS
            try:
                with trio.move_on_after(LEADER_ATTEMPT_SECONDS):
                    await self._rewrite(self._held)
                    self._renewed_at = begin
                    leading.deadline = begin + LEADER_DEADLINE_SECONDS
                    pause = LEADER_RENEW_SECONDS
            except (_Lost, NotFound):
                log.warning("lease lost", lease=self.name)
                leading.cancel()
                return
            except KubernetesError as error:
                log.warning("cannot renew a lease", lease=self.name, error=str(error))

    async def release(self) -> None:
        """Let a successor in at once, if the Lease is still ours. Never raises, bounded in time."""
        with trio.move_on_after(LEADER_ATTEMPT_SECONDS, shield=True):
            try:
                await self._rewrite(_released)
            except (_Lost, KubernetesError) as error:
                log.info("lease left to lapse", lease=self.name, error=str(error))

    async def _rewrite(self, change: Callable[[Lease], Lease]) -> None:
        """Write the held Lease, changed. Raises ``_Lost`` where it is not ours any more."""
        while True:
            if self._seen is None or self._seen.spec.holder_identity != self.identity:
                raise _Lost("somebody else holds it")
            try:
                self._seen = await self._put(change(self._seen))
            except Conflict:
                # Perhaps by a write of our own whose answer was lost.
                self._seen = await self._get()
                self._seen_at = trio.current_time()
            else:
                return

    def _held(self, lease: Lease | None) -> Lease:
        """*lease* as held and renewed now."""
        now = utc_now()
        spec = LeaseSpec() if lease is None else lease.spec
        taken = spec.holder_identity != self.identity
        return Lease(
            metadata=ObjectMeta(name=self.name, namespace=self.namespace)
            if lease is None
            else lease.metadata,
            spec=LeaseSpec(
                holder_identity=self.identity,
                lease_duration_seconds=LEADER_LEASE_SECONDS,
                acquire_time=now if taken else spec.acquire_time,
                renew_time=now,
                lease_transitions=spec.lease_transitions + (taken and lease is not None),
            ),
        )

    async def _get(self) -> Lease:
        return await self.client.get(LEASES, self.name, namespace=self.namespace)

    async def _put(self, lease: Lease) -> Lease:
        return await self.client.replace(LEASES, self.name, _body(lease), namespace=self.namespace)


async def renew_node_lease_forever(
    client: KubernetesClient, *, node_name: str, node_uid: Callable[[], str]
) -> Never:
    """Renew the node's Lease every 10 s, making it if need be. A server's failures are logged.

    *node_uid* is asked each time, so that the Lease follows a Node that was created anew; an
    empty one leaves the owner as it is.
    """
    backoff = Backoff(initial_seconds=0.1, cap_seconds=3.5, reset_seconds=NODE_RENEW_SECONDS)
    lease: Lease | None = None
    late = False
    while True:
        try:
            with trio.fail_after(NODE_RENEW_SECONDS):
                lease = await _heartbeat(client, node_name, node_uid(), lease)
        except (KubernetesError, trio.TooSlowError) as error:
            lease = None
            if not late:
                late = True
                log.warning("cannot renew the node's lease", node=node_name, error=str(error))
            await trio.sleep(backoff.delay(trio.current_time()))
        else:
            if late:
                late = False
                log.info("node lease renewed again", node=node_name)
            await trio.sleep(NODE_RENEW_SECONDS * random.uniform(1.0, 1.0 + NODE_RENEW_JITTER))


async def _heartbeat(
    client: KubernetesClient, node_name: str, node_uid: str, lease: Lease | None
) -> Lease:
    """Write the Lease last seen with a new time, without a GET unless it was changed meanwhile."""
    while True:
        try:
            if lease is None:
                lease = await client.get(LEASES, node_name, namespace=NODE_LEASE_NAMESPACE)
            return await client.replace(
                LEASES,
                node_name,
                _body(_beating(lease, node_name, node_uid)),
                namespace=NODE_LEASE_NAMESPACE,
            )
        except Conflict:
            lease = None
        except NotFound:
            created = _beating(None, node_name, node_uid)
            return await client.create(LEASES, _body(created), namespace=NODE_LEASE_NAMESPACE)


def _beating(lease: Lease | None, node_name: str, node_uid: str) -> Lease:
    metadata = (
        ObjectMeta(name=node_name, namespace=NODE_LEASE_NAMESPACE)
        if lease is None
        else lease.metadata
    )
    if node_uid:
        owner = OwnerReference(api_version="v1", kind="Node", name=node_name, uid=node_uid)
        metadata = attrs.evolve(metadata, owner_references=(owner,))
    return Lease(
        metadata=metadata,
        spec=LeaseSpec(
            holder_identity=node_name,
            lease_duration_seconds=NODE_LEASE_SECONDS,
            renew_time=utc_now(),
        ),
    )


def _released(lease: Lease) -> Lease:
    """*lease* with no holder, as client-go leaves it: the duration must not be 0."""
    return attrs.evolve(
        lease,
        spec=LeaseSpec(
            lease_duration_seconds=1,
            renew_time=utc_now(),
            lease_transitions=lease.spec.lease_transitions,
        ),
    )


def _body(lease: Lease) -> dict[str, Any]:
    body: dict[str, Any] = unstructure(lease)
    for key, moment in (
        ("acquireTime", lease.spec.acquire_time),
        ("renewTime", lease.spec.renew_time),
    ):
        if moment is not None:
            body["spec"][key] = micro_timestamp(moment)
    return body

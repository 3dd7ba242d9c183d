"""Provisions claims of class ``ukc-volume``, in one daemon of the cluster at a time.

All of it goes by what claims and PersistentVolumes are, so a daemon that is killed between any
two requests leaves nothing that the next leader does not find. A finalizer keeps a claim from
before its cloud volume may exist until a PersistentVolume stands for it, whose own finalizer takes
over. Cloud volumes of claims are never swept by their tags.
"""

from __future__ import annotations

import random
import secrets
from typing import TypeVar

import attrs
import structlog
import trio

from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import KubernetesError
from kraftlet_trio.kubernetes.events import EventRecorder
from kraftlet_trio.kubernetes.informer import run_informer
from kraftlet_trio.kubernetes.leases import run_while_leader
from kraftlet_trio.kubernetes.objects import (
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from kraftlet_trio.kubernetes.resources import (
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    KubernetesObject,
    Resource,
)
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.mapping.names import NodeIdentity
from kraftlet_trio.mapping.problems import ConfigurationProblem
from kraftlet_trio.volumes.plan import Step, next_steps
from kraftlet_trio.volumes.settings import ClaimSettings
from kraftlet_trio.volumes.steps import Steps

log = structlog.get_logger()

T = TypeVar("T", bound=KubernetesObject)

LEASE_NAME = "kraftlet-trio-claims"

CONCURRENT_STEPS = 8
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0


async def run_claim_provisioner(
    kubernetes: KubernetesClient,
    cloud: CloudClient,
    claims: Store[PersistentVolumeClaim],
    claims_changed: Doorbell,
    events: EventRecorder,
    settings: ClaimSettings,
    owner: NodeIdentity,
) -> None:
    """Contend for the lease, and provision in the name of *owner* while holding it.

    Runs until cancelled.

    *claims* holds those of all namespaces; *claims_changed* is rung when it changes.
    """

    async def lead() -> None:
        steps = Steps(kubernetes, cloud, events, settings, owner)
        await _Term(kubernetes, claims, claims_changed, steps).run()

    await run_while_leader(
        kubernetes,
        namespace=settings.namespace,
        name=LEASE_NAME,
        identity=f"{owner.node}-{secrets.token_hex(4)}",
        lead=lead,
    )


@attrs.frozen
class _Attempt:
    step: type
    not_before: float
    """Trio's time of the next attempt at a step of that kind."""
    failures: int = 0


@attrs.define
class _Term:
    """One term of leadership."""

    _kubernetes: KubernetesClient
    _claims: Store[PersistentVolumeClaim]
    _bell: Doorbell
    _steps: Steps
    _volumes: Store[PersistentVolume] = attrs.field(factory=Store, init=False)
    _classes: Store[StorageClass] = attrs.field(factory=Store, init=False)
    _attempts: dict[str, _Attempt] = attrs.field(factory=dict, init=False)
    """The last one, by uid of the claim or PersistentVolume."""
    _busy: set[str] = attrs.field(factory=set, init=False)
    _places: trio.CapacityLimiter = attrs.field(
        factory=lambda: trio.CapacityLimiter(CONCURRENT_STEPS), init=False
    )

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            # What a claim asks for depends on its class, so all classes are known before a claim.
            await nursery.start(self._inform, STORAGE_CLASSES, self._classes)
            await nursery.start(self._inform, PERSISTENT_VOLUMES, self._volumes)
            while True:
                look_again = self._start_steps(nursery)
                with trio.move_on_at(look_again):
                    await self._bell.wait()

    async def _inform(
        self,
        resource: Resource[T],
        store: Store[T],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        await run_informer(
            self._kubernetes,
            resource,
            store,
            lambda _: self._bell.ring(),
            task_status=task_status,
        )

    def _start_steps(self, nursery: trio.Nursery) -> float:
        """Start what is due; when to look again unless the bell rings (Trio's time)."""
        now, look_again = trio.current_time(), float("inf")
        wanted = dict(next_steps(self._claims, self._volumes, self._classes))
        self._attempts = {uid: last for uid, last in self._attempts.items() if uid in wanted}
        for uid, step in wanted.items():
            if uid in self._busy:
                continue
            last = self._attempts.get(uid)
            if last is not None and last.step is type(step) and now < last.not_before:
                look_again = min(look_again, last.not_before)
                continue
            self._busy.add(uid)
            nursery.start_soon(self._perform, uid, step)
        return look_again

    async def _perform(self, uid: str, step: Step) -> None:
        last = self._attempts.get(uid)
        failures = 0
        try:
            async with self._places:
                pause = await self._steps.perform(step)
        except (CloudError, KubernetesError, ConfigurationProblem) as error:
            failures = last.failures + 1 if last and last.step is type(step) else 1
            pause = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10))
            pause *= random.uniform(0.8, 1.0)
            log.warning(
                "claim not as wanted",
                step=type(step).__name__.lower(),
                uid=uid,
                attempt=failures,
                error=str(error),
            )
        finally:
            self._busy.discard(uid)
        self._attempts[uid] = _Attempt(type(step), trio.current_time() + pause, failures)
        self._bell.ring()

"""Being a node: registered, alive by its Lease, and telling how it is.

Three tasks beside each other. The probe asks the platform every 10 s. The informer watches our own
Node, so that one that was deleted is made again, and a status that the control plane wrote over is
put right at once. The reporter writes: when there is something to say, and every 5 min.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Never

import attrs
import structlog
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.client import CloudClient
from kraftlet_trio.cloud.errors import CloudError, CloudRefused, CloudUnauthorized
from kraftlet_trio.cloud.objects import Health, Quotas
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubernetes.client import KubernetesClient, PatchKind
from kraftlet_trio.kubernetes.errors import Conflict, KubernetesError, NotFound
from kraftlet_trio.kubernetes.events import EventRecorder, EventType
from kraftlet_trio.kubernetes.informer import run_informer
from kraftlet_trio.kubernetes.leases import renew_node_lease_forever
from kraftlet_trio.kubernetes.objects import Condition, Node, NodeStatus, ObjectReference
from kraftlet_trio.kubernetes.resources import NODES
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.node.platform import CLOUD_UNAUTHORIZED, NOT_READY, Fault, Platform
from kraftlet_trio.node.registration import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    registered_node,
)
from kraftlet_trio.node.settings import NodeSettings
from kraftlet_trio.node.status import (
    differs,
    missing_quotas,
    node_status,
    overwritten,
    status_patch,
)

log = structlog.get_logger()

STATUS_SECONDS = 10.0
"""Between two looks at the platform (the kubelet's nodeStatusUpdateFrequency)."""
REPORT_SECONDS = 300.0
"""Between two reports of the same (its nodeStatusReportFrequency)."""
SOONEST_LOOK_SECONDS = 1.0
"""Between two looks at the platform, whoever asks for one."""
PROBE_SECONDS = 10.0
"""How long the platform may take to say how it is."""
LONG_LIFE_SECONDS = 60.0
"""A Node that lived for so long was not deleted in a fight."""


async def run_node(
    kubernetes: KubernetesClient,
    cloud: CloudClient,
    settings: NodeSettings,
    events: EventRecorder,
    store: Store[Node],
    look: Doorbell,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be the node of *settings* until cancelled; started once it is registered with a status.

    *store* is kept to hold our Node as the API server has it, and nothing else. *look* is rung
    where the platform is not as the Node says, so that it is asked sooner than it would be.
    """
    node = _Node(kubernetes, cloud, settings, events, store, look)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.probe_forever)
        await nursery.start(node.report_forever)
        nursery.start_soon(
            partial(
                renew_node_lease_forever,
                kubernetes,
                node_name=settings.name,
                node_uid=node.uid,
            )
        )
        await nursery.start(
            partial(
                run_informer,
                kubernetes,
                NODES,
                node.store,
                node.on_change,
                field_selector=f"metadata.name={settings.name}",
            )
        )
        task_status.started()


@attrs.define
class _Node:
    kubernetes: KubernetesClient
    cloud: CloudClient
    settings: NodeSettings
    events: EventRecorder
    store: Store[Node]
    look: Doorbell
    _platform: Platform = attrs.field(factory=Platform, init=False)
    _present: Node | None = attrs.field(default=None, init=False)
    """As last read or written; None when it must be registered."""
    _reported: NodeStatus | None = attrs.field(default=None, init=False)
    _reported_at: float = attrs.field(default=float("-inf"), init=False)
    _bell: Doorbell = attrs.field(factory=Doorbell, init=False)
    _told_missing: list[str] = attrs.field(factory=list, init=False)
    """Resources whose missing quota has been told of."""
    _registered_at: float = attrs.field(default=float("-inf"), init=False)
    _register_pause: float = attrs.field(default=0.0, init=False)

    def uid(self) -> str:
        return self._present.metadata.uid if self._present else ""

    def on_change(self, uids: set[str]) -> None:
        """Take over what the informer saw of our Node."""
        if self._present is None or self.uid() not in uids:
            return  # an earlier or later one of the same name; the next report finds out
        self._present = self.store.get(self.uid())
        if self._present is None:
            log.warning("the node was deleted", node=self.settings.name)
        self._bell.ring()

    async def probe_forever(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> Never:
        """Keep the view of the platform; started once it was asked."""
        while True:
            self._platform = await self._probe()
            self._tell_of_missing_quotas()
            self._bell.ring()
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(SOONEST_LOOK_SECONDS)
            with trio.move_on_after(STATUS_SECONDS - SOONEST_LOOK_SECONDS):
                await self.look.wait()

    async def _probe(self) -> Platform:
        began = trio.current_time()
        try:
            with trio.fail_after(PROBE_SECONDS):
                health = await self._health()
        except CloudUnauthorized as error:
            fault = Fault(CLOUD_UNAUTHORIZED, f"the platform does not accept the token: {error}")
        except CloudError as error:
            fault = Fault(NOT_READY, f"the platform does not answer: {error}")
        except trio.TooSlowError:
            fault = Fault(NOT_READY, f"the platform does not answer within {PROBE_SECONDS:.0f} s")
        else:
            return self._platform.answered(health, await self._quotas())
        return self._platform.failed(fault, began)

    async def _health(self) -> Health:
        try:
            return await self.cloud.health()
        except CloudRefused:
            return Health()  # an answer, from a metro that does not check itself

    async def _quotas(self) -> Quotas | None:
        """None where they could not be read."""
        with trio.move_on_after(PROBE_SECONDS):
            try:
                return await self.cloud.quotas()
            except CloudRefused as error:
                log.debug("the account has no quotas", error=str(error))
                return Quotas()
            except CloudError as error:
                log.info("quotas not read", error=str(error))
        return None

    def _tell_of_missing_quotas(self) -> None:
        quotas = self._platform.quotas
        missing = missing_quotas(quotas, self.settings.caps) if quotas else []
        if missing and missing != self._told_missing:
            self._event(
                "Warning",
                "NoQuota",
                f"the account has no quota of its own for {', '.join(missing)}; "
                "the node offers its fallback capacity instead",
            )
        self._told_missing = missing

    async def report_forever(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> Never:
        """Keep the Node and its status written; started once they are."""
        retry = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._report()
            except (NotFound, Conflict):
                # Gone since, or another one by now: to be registered anew.
                self._present = None
            except KubernetesError as error:
                if retry == FIRST_RETRY_SECONDS:
                    log.warning("node status not written", error=str(error))
            else:
                retry = FIRST_RETRY_SECONDS
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                with trio.move_on_at(self._reported_at + REPORT_SECONDS):
                    await self._bell.wait()
                continue
            await trio.sleep(retry)
            retry = min(2 * retry, LONGEST_RETRY_SECONDS)

    async def _report(self) -> None:
        present = self._present or await self._register()
        now = trio.current_time()
        status = node_status(self.settings, self._platform, present.status.conditions, utc_now())
        if not self._worth_reporting(status, present, now):
            return
        patch = status_patch(self.settings, status, present.metadata.uid, present.status.conditions)
        written = await self.kubernetes.patch(
            NODES, self.settings.name, patch, kind=PatchKind.STRATEGIC, subresource="status"
        )
        if self.uid() == written.metadata.uid:
            self._present = written
        self._tell_of_readiness(status)
        self._reported, self._reported_at = status, now

    async def _register(self) -> Node:
        # Whoever deletes the Node again and again meets an ever slower hand.
        if trio.current_time() - self._registered_at > LONG_LIFE_SECONDS:
            self._register_pause = 0.0
        await trio.sleep(self._register_pause)
        self._register_pause = min(
            max(2 * self._register_pause, FIRST_RETRY_SECONDS), LONGEST_RETRY_SECONDS
        )
        self._present = await registered_node(self.kubernetes, self.settings)
        self._registered_at = trio.current_time()
        self._reported = None
        return self._present

    def _worth_reporting(self, status: NodeStatus, present: Node, now: float) -> bool:
        if self._reported is None or differs(status, self._reported):
            return True
        if now >= self._reported_at + REPORT_SECONDS:
            return True
        # Not at once again: two daemons of one name would otherwise race each other.
        return now >= self._reported_at + STATUS_SECONDS and overwritten(
            status.conditions, present.status.conditions
        )

    def _tell_of_readiness(self, status: NodeStatus) -> None:
        """The kubelet's events for the change of its Ready condition."""
        ready = _ready(status.conditions)
        if self._reported is None or _ready(self._reported.conditions) != ready:
            state = "NodeReady" if ready else "NodeNotReady"
            self._event("Normal", state, f"Node {self.settings.name} status is now: {state}")

    def _event(self, kind: EventType, reason: str, message: str) -> None:
        # The kubelet puts the name in the uid's place, and kubectl describe looks for that.
        about = ObjectReference(
            api_version="v1", kind="Node", name=self.settings.name, uid=self.settings.name
        )
        self.events.record(about, kind, reason, message)


def _ready(conditions: Iterable[Condition]) -> bool:
    return any(entry.type == "Ready" and entry.status == "True" for entry in conditions)

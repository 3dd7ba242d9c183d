"""One Pod's actor: observe, decide, act, rest until the bell rings.

It lives as long as the Pod, or anything of it in the cloud, does. All its decisions are
``lifecycle.next_steps``'s; it performs them round by round, the steps of a round side by side.
"""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from typing import Literal

import attrs
import structlog
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.cloud.errors import (
    CloudError,
    CloudRefused,
    CloudUnavailable,
    QuotaExceeded,
)
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubernetes.client import PatchKind
from kraftlet_trio.kubernetes.errors import KubernetesError, KubernetesUnavailable, NotFound
from kraftlet_trio.kubernetes.object_watches import ObjectKey
from kraftlet_trio.kubernetes.pod import PodStatus, PodUID
from kraftlet_trio.kubernetes.resources import PODS
from kraftlet_trio.mapping.container_status import Trouble
from kraftlet_trio.mapping.pod_status import PodFailure, pod_status
from kraftlet_trio.mapping.problems import ConfigurationProblem, ConfigurationWarning
from kraftlet_trio.pods.context import PodContext
from kraftlet_trio.pods.lifecycle import QUOTA_EXCEEDED, next_steps
from kraftlet_trio.pods.metrics import is_ready
from kraftlet_trio.pods.observation import PodObserver
from kraftlet_trio.pods.plan import (
    ClearAway,
    DeleteInstance,
    DeleteVolumes,
    Failure,
    LookUpInstances,
    Memory,
    Observed,
    Plan,
    ReadLastWords,
    StartInstance,
    Step,
    StopInstance,
    UpdateInstance,
)
from kraftlet_trio.pods.runs import Runs
from kraftlet_trio.pods.status import has_drifted, status_patch, tells_the_same
from kraftlet_trio.pods.steps import PodSteps
from kraftlet_trio.pods.transitions import PodEvent, transition_events

log = structlog.get_logger()

_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 30.0
_LONGEST_CONFIGURATION_RETRY_SECONDS = 10.0
"""An object that was missing is noticed within this time."""

_STATUS = "status"


@attrs.define
class PodActor:
    """Tends one Pod, by uid."""

    _context: PodContext
    _uid: PodUID
    _bell: Doorbell
    _memory: Memory = attrs.field(factory=Memory, init=False)
    _observer: PodObserver = attrs.field(init=False)
    _steps: PodSteps = attrs.field(init=False)
    _runs: Runs = attrs.field(init=False)
    _watched: frozenset[str] = attrs.field(default=frozenset(), init=False)
    _warned: set[ConfigurationWarning] = attrs.field(factory=set, init=False)
    _told_failure: PodFailure | None = attrs.field(default=None, init=False)
    _resting: bool = attrs.field(default=False, init=False)
    _seen_at: float | None = attrs.field(default=None, init=False)
    """On Trio's clock; None for a Pod that was Ready, or that an earlier daemon began with."""
    _written_at_version: str = attrs.field(default="", init=False)
    """The store's version of the Pod when the status was last written."""

    def __attrs_post_init__(self) -> None:
        self._observer = PodObserver(self._context, self._uid)
        self._steps = PodSteps(self._context, self._observer, self._memory)

    @property
    def state(self) -> Literal["working", "resting", "retrying"]:
        """What it does; retrying means that it rests until it may try something again."""
        if not self._resting:
            return "working"
        return "retrying" if self._memory.failures else "resting"

    def note_change(self) -> None:
        """An object that the Pod refers to has come, changed or gone."""
        for key, failure in self._memory.failures.items():
            if failure.configuration:
                self._memory.failures[key] = attrs.evolve(failure, retry_at=utc_now())
        self._memory.to_refresh |= self._observer.refreshable()

    async def run(self) -> None:
        """Return when neither the Pod nor anything of it in the cloud is left."""
        async with trio.open_nursery() as background:
            self._runs = Runs(background, self._context.means, self._steps.tell, self._bell.ring)
            self._steps.runs = self._runs
            await self._tend()
            background.cancel_scope.cancel()

    async def _tend(self) -> None:
        first = self._observer.observe()
        if first is not None and not first.pod.status.container_statuses:
            self._seen_at = trio.current_time()
        if first is not None and first.owned:
            # Whoever owned it before may have asked for an instance that is not there yet.
            spec = first.pod.spec
            self._memory.uncertain = {
                one.name
                for one in (*spec.init_containers, *spec.containers)
                if one.name not in first.instances
            }
        try:
            while (observed := self._observer.observe()) is not None:
                now = utc_now()
                observed = self._runs.follow(observed, self._memory, now)
                self._note_deletion(observed, now)
                self._warn(observed)
                plan = next_steps(observed, self._memory, now)
                if plan.finished:
                    return
                self._tell_of_failure(plan)
                self._watch(plan.watch)
                self._follow_objects(observed)
                status, retry_at = self._due_status(observed, plan, now)
                if status is None and not plan.steps:
                    await self._rest(plan.wake_at, retry_at, now)
                else:
                    await self._round(observed, status, plan)
        finally:
            self._watch(frozenset())
            self._context.object_watches.follow(self._uid, frozenset())

    def _follow_objects(self, observed: Observed) -> None:
        """Hear of what containers wait for, and of what is to be refreshed; of nothing else."""
        keys: frozenset[ObjectKey] = frozenset()
        if not observed.vanished and observed.pod.metadata.deletion_timestamp is None:
            waiting = any(failure.configuration for failure in self._memory.failures.values())
            keys = self._observer.references() if waiting else self._observer.refreshed_references()
        self._context.object_watches.follow(self._uid, keys)

    def _note_deletion(self, observed: Observed, now: datetime) -> None:
        if observed.vanished or observed.pod.metadata.deletion_timestamp is not None:
            self._memory.stopping_since = self._memory.stopping_since or now

    def _warn(self, observed: Observed) -> None:
        found = [
            *self._observer.wishes.warnings,
            *(ConfigurationWarning("FailedMount", one) for one in observed.claim_troubles.values()),
            *(
                ConfigurationWarning("PodCreateServiceFailed", one)
                for one in observed.group_troubles.values()
            ),
        ]
        if observed.refusal is not None and observed.refusal.action == "leave":
            refusal = observed.refusal
            found.append(ConfigurationWarning(refusal.reason, refusal.message))
        for warning in found:
            if warning not in self._warned:
                self._warned.add(warning)
                self._steps.tell(PodEvent("Warning", warning.reason, warning.message))

    def _tell_of_failure(self, plan: Plan) -> None:
        """That the Pod as a whole has to end; the quota's refusal was told with its step."""
        failure = plan.failure
        if failure is None or failure == self._told_failure or failure.reason == QUOTA_EXCEEDED:
            return
        self._told_failure = failure
        kind: Literal["Normal", "Warning"] = "Warning" if failure.rejected else "Normal"
        self._steps.tell(PodEvent(kind, failure.reason, failure.message))

    def _watch(self, uuids: frozenset[str]) -> None:
        for uuid in self._watched - uuids:
            self._context.feed.rest(uuid)
        for uuid in uuids - self._watched:
            self._context.feed.watch_closely(uuid)
        self._watched = uuids

    def _due_status(
        self, observed: Observed, plan: Plan, now: datetime
    ) -> tuple[PodStatus | None, datetime | None]:
        """The status to write now, if any; or else when a failed write may be tried again."""
        if not plan.report:
            return None, None
        present = observed.pod.status
        reported = self._memory.reported or present
        status = pod_status(
            observed.pod,
            reported,
            observed.instances,
            plan.held,
            host_ip=self._context.settings.host_ip,
            now=now,
            stopped_for_good=plan.stopped_for_good,
            failure=plan.failure,
            ignored=observed.ignored,
        )
        if self._memory.reported is None and not has_drifted(present, status):
            self._memory.reported = status  # as an earlier daemon left it
        elif self._memory.reported and tells_the_same(self._memory.reported, status):
            self._memory.reported = status  # goes out with the next news
        if status == self._memory.reported and not self._has_drifted(observed, status):
            return None, None
        failure = self._memory.failures.get(_STATUS)
        if failure is not None and now < failure.retry_at:
            return None, failure.retry_at
        return status, None

    def _has_drifted(self, observed: Observed, status: PodStatus) -> bool:
        if observed.pod.metadata.resource_version == self._written_at_version:
            return False  # the store does not show our own last write yet
        return has_drifted(observed.pod.status, status)

    async def _rest(
        self, wake_at: datetime | None, retry_at: datetime | None, now: datetime
    ) -> None:
        moments = [moment for moment in (wake_at, retry_at) if moment is not None]
        seconds = (min(moments) - now).total_seconds() if moments else math.inf
        self._resting = True
        with trio.move_on_after(max(0.0, seconds)):
            await self._bell.wait()
        self._resting = False

    async def _round(self, observed: Observed, status: PodStatus | None, plan: Plan) -> None:
        async with trio.open_nursery() as nursery:
            if observed.pod.metadata.deletion_timestamp is None and not observed.vanished:
                nursery.start_soon(self._cancel_when_deleted, nursery.cancel_scope)
            async with trio.open_nursery() as work:
                if status is not None:
                    work.start_soon(self._write_status, observed, status)
                for step in plan.steps:
                    work.start_soon(self._perform, step)
            nursery.cancel_scope.cancel()

    async def _cancel_when_deleted(self, scope: trio.CancelScope) -> None:
        """A deletion ends the steps in flight: nothing is built any more for such a Pod."""
        rang = False
        try:
            while True:
                await self._bell.wait()
                rang = True
                pod = self._context.pods.get(self._uid)
                if pod is None or pod.metadata.deletion_timestamp is not None:
                    scope.cancel()
        finally:
            if rang:
                self._bell.ring()

    async def _perform(self, step: Step) -> None:
        try:
            await self._steps.perform(step)
        except ConfigurationProblem as problem:
            self._fail(step.key, Trouble(problem.waiting_reason, str(problem)), problem)
            self._tell_failure(step, problem.reason, str(problem))
        except CloudError as error:
            self._fail_in_cloud(step, error)
        except KubernetesError as error:
            self._fail(step.key, Trouble("CreateContainerError", str(error)), error)
        else:
            self._memory.failures.pop(step.key, None)

    def _fail_in_cloud(self, step: Step, error: CloudError) -> None:
        reason = "CreateInstanceFailed"
        trouble = Trouble("CreateContainerError", str(error))
        match step, error:
            case StartInstance(container), QuotaExceeded():
                self._memory.quota_refusals[container] = str(error)
                self._context.on_quota_refusal()
                reason = QUOTA_EXCEEDED
            case UpdateInstance(), QuotaExceeded():
                reason, trouble = "ResizeDeferred", Trouble("Deferred", str(error))
            case UpdateInstance(), CloudRefused():
                reason, trouble = "ResizeInfeasible", Trouble("Infeasible", str(error))
            case StartInstance() | UpdateInstance() | ReadLastWords() | LookUpInstances(), _:
                reason = "FailedSync"
            case StopInstance() | DeleteInstance() | ClearAway() | DeleteVolumes(), _:
                reason = "FailedKillPod"
        self._fail(step.key, trouble, error)
        self._tell_failure(step, reason, str(error))

    def _fail(self, key: str, trouble: Trouble, error: Exception) -> None:
        before = self._memory.failures.get(key)
        attempts = before.attempts + 1 if before else 1
        longest = _LONGEST_RETRY_SECONDS
        if isinstance(error, ConfigurationProblem):
            longest = _LONGEST_CONFIGURATION_RETRY_SECONDS
        seconds = min(longest, _FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 10))
        seconds *= random.uniform(0.8, 1.0)
        if isinstance(error, CloudUnavailable | KubernetesUnavailable) and error.retry_after:
            seconds = max(seconds, error.retry_after)
        self._memory.failures[key] = Failure(
            trouble=trouble,
            attempts=attempts,
            retry_at=utc_now() + timedelta(seconds=seconds),
            configuration=isinstance(error, ConfigurationProblem),
        )
        log.warning(
            "step failed",
            step=key,
            attempt=attempts,
            retry_seconds=round(seconds, 1),
            error=str(error),
        )

    def _tell_failure(self, step: Step, reason: str, message: str) -> None:
        container = getattr(step, "container", "")
        self._steps.tell(PodEvent("Warning", reason, message, container))

    async def _write_status(self, observed: Observed, status: PodStatus) -> None:
        metadata = observed.pod.metadata
        before = self._memory.reported or observed.pod.status
        try:
            written = await self._context.kubernetes.patch(
                PODS,
                metadata.name,
                status_patch(observed.pod, status),
                namespace=metadata.namespace,
                kind=PatchKind.STRATEGIC,
                subresource="status",
            )
        except NotFound:
            self._memory.reported = status  # nobody is left to read it
        except KubernetesError as error:
            self._memory.reported = None  # for all we know; the API server's copy will tell
            self._fail(_STATUS, Trouble("", ""), error)
        else:
            self._memory.failures.pop(_STATUS, None)
            self._memory.reported = status
            if self._seen_at is not None:
                seconds = trio.current_time() - self._seen_at
                self._context.metrics.note_status(before, status, seconds)
                if is_ready(status):
                    self._seen_at = None
            self._written_at_version = (
                metadata.resource_version
                if written.metadata.resource_version != metadata.resource_version
                else ""
            )
            for event in transition_events(observed.pod, before, status):
                self._steps.tell(event)

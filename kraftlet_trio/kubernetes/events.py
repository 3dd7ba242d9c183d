"""Events for users to read in ``kubectl describe``: told at once, posted when there is time.

As client-go's recorder (tools/record): the same thing said again raises the count of the Event
it made. What cannot be posted is logged and dropped; nobody waits for it.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from datetime import datetime
from typing import Any, Literal, Never

import attrs
import structlog
import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import KubernetesError, NotFound
from kraftlet_trio.kubernetes.objects import ObjectReference
from kraftlet_trio.kubernetes.resources import EVENTS
from kraftlet_trio.kubernetes.serialization import timestamp, unstructure

log = structlog.get_logger(__name__)

EventType = Literal["Normal", "Warning"]

PENDING = 1000
"""Different Events that may wait; the oldest gives way."""
REMEMBERED = 4096
"""Events whose count can still be raised, as many as client-go remembers."""
EVENTS_PER_SECOND = 50.0
BURST = 100.0
"""The kubelet's own limits (eventRecordQPS, eventBurst)."""
LONGEST_MESSAGE = 1024
LONGEST_NAME = 253


@attrs.frozen
class _Saying:
    """What makes two Events the same."""

    about: ObjectReference
    type: EventType
    reason: str
    message: str

    @property
    def namespace(self) -> str:
        # The API server wants Events about cluster-wide objects here.
        return self.about.namespace or "default"


@attrs.frozen
class _Span:
    """How often something was said, and when."""

    count: int
    first: datetime
    last: datetime

    def extended(self, later: _Span) -> _Span:
        return _Span(self.count + later.count, self.first, later.last)


@attrs.frozen
class _Posted:
    name: str
    span: _Span


class EventRecorder:
    """Takes Events from anywhere in the daemon; one task posts them."""

    def __init__(self, component: str, node_name: str) -> None:
        self._component = component
        self._node_name = node_name
        self._pending: OrderedDict[_Saying, _Span] = OrderedDict()
        self._posted: OrderedDict[_Saying, _Posted] = OrderedDict()
        self._bell = Doorbell()
        self._idle = trio.Event()
        self._idle.set()
        self._bucket = TokenBucket(EVENTS_PER_SECOND, BURST)
        self.dropped = 0
        """Events that gave way to newer ones or could not be posted."""

    @property
    def waiting(self) -> int:
        """Different Events that are not posted yet."""
        return len(self._pending)

    def record(self, about: ObjectReference, type: EventType, reason: str, message: str) -> None:
        """Never blocks and never fails. Messages are cut at 1024 characters."""
        now = utc_now()
        saying = _Saying(about, type, reason, message[:LONGEST_MESSAGE])
        span = _Span(1, now, now)
        if saying in self._pending:
            self._pending[saying] = self._pending[saying].extended(span)
            return
        if len(self._pending) >= PENDING:
            self._pending.popitem(last=False)
            self._drop()
        self._pending[saying] = span
        if self._idle.is_set():
            self._idle = trio.Event()
        self._bell.ring()

    async def drained(self) -> None:
        """Return once all that was recorded is posted or given up. Callers bound it in time."""
        await self._idle.wait()

    async def post_forever(self, client: KubernetesClient) -> Never:
        while True:
            while self._pending:
                await trio.sleep(self._bucket.delay(trio.current_time()))
                saying, span = self._pending.popitem(last=False)
                try:
                    await self._post(client, saying, span)
                except KubernetesError as error:
                    self._drop()
                    log.info("event not posted", reason=saying.reason, error=str(error))
            self._idle.set()
            await self._bell.wait()

    async def _post(self, client: KubernetesClient, saying: _Saying, span: _Span) -> None:
        if (posted := self._posted.get(saying)) is not None:
            whole = posted.span.extended(span)
            again = {"count": whole.count, "lastTimestamp": timestamp(whole.last)}
            try:
                await client.patch(EVENTS, posted.name, again, namespace=saying.namespace)
            except NotFound:
                # The server keeps Events for an hour. It is news again.
                del self._posted[saying]
            else:
                self._remember(saying, _Posted(posted.name, whole))
                return
        body = self._body(saying, span)
        await client.create(EVENTS, body, namespace=saying.namespace)
        self._remember(saying, _Posted(body["metadata"]["name"], span))

    def _remember(self, saying: _Saying, posted: _Posted) -> None:
        self._posted[saying] = posted
        self._posted.move_to_end(saying)
        if len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)

    def _body(self, saying: _Saying, span: _Span) -> dict[str, Any]:
        suffix = f".{random.getrandbits(64):016x}"
        return {
            "metadata": {
                "name": saying.about.name[: LONGEST_NAME - len(suffix)] + suffix,
                "namespace": saying.namespace,
            },
            "involvedObject": unstructure(saying.about),
            "type": saying.type,
            "reason": saying.reason,
            "message": saying.message,
            "count": span.count,
            "firstTimestamp": timestamp(span.first),
            "lastTimestamp": timestamp(span.last),
            "source": {"component": self._component, "host": self._node_name},
            "reportingComponent": self._component,
            "reportingInstance": self._node_name,
        }

    def _drop(self) -> None:
        if not self.dropped:
            log.warning("events are being dropped")
        self.dropped += 1


@attrs.define
class TokenBucket:
    """Lets through a burst, then so many a second."""

    per_second: float
    burst: float
    _tokens: float = attrs.field(init=False)
    _counted_at: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = self.burst

    def delay(self, now: float) -> float:
        """Take a token; seconds to wait until it is there."""
        gained = max(0.0, now - self._counted_at) * self.per_second
        self._tokens = min(self.burst, self._tokens + gained) - 1.0
        self._counted_at = now
        return max(0.0, -self._tokens / self.per_second)

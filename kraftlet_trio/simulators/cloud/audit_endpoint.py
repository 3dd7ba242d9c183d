"""GET /v1/audit: the audit stream as server-sent events."""

from __future__ import annotations

from http import HTTPStatus

import trio

from kraftlet_trio.http.messages import Response, SendBytes
from kraftlet_trio.simulators.cloud.audit import (
    EVENT_TYPES,
    GAP,
    Filter,
    Subscription,
    TooManySubscriptions,
)
from kraftlet_trio.simulators.cloud.calls import Call, Cloud
from kraftlet_trio.simulators.cloud.envelope import refusal
from kraftlet_trio.simulators.cloud.errors import BadRequest, ItemError
from kraftlet_trio.simulators.cloud.validation import valid_tags, valid_uuid

_PARAMETERS = ("events", "uuid", "tags")


async def subscribe_to_audit(cloud: Cloud, call: Call) -> Response:
    """Events from now on; what is collected until the reader is there is not lost."""
    if (status := cloud.settings.audit_refusal_status) is not None:
        return refusal(status, "The audit stream is not available for your account")
    wanted = _read_filter(call)
    try:
        subscription = cloud.audit.subscribe(wanted)
    except TooManySubscriptions:
        return refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many audit subscriptions")

    async def stream(send: SendBytes) -> None:
        try:
            await _send_forever(subscription, send, cloud.settings.audit_heartbeat_seconds)
        finally:
            cloud.audit.unsubscribe(subscription)

    headers = {"content-type": "text/event-stream", "cache-control": "no-cache"}
    return Response(headers=headers, stream=stream)


async def _send_forever(
    subscription: Subscription, send: SendBytes, heartbeat_seconds: float
) -> None:
    while True:
        frame: bytes | None = b": heartbeat\n\n"
        with trio.move_on_after(heartbeat_seconds):
            frame = await subscription.receive()
        if frame is None:
            return
        await send(frame)


def _read_filter(call: Call) -> Filter:
    """Of a repeated parameter the last one counts. Raises ``BadRequest``."""
    if call.request.body:
        raise BadRequest("The audit stream takes no request body")
    for name, _ in call.query.pairs:
        if name not in _PARAMETERS:
            raise BadRequest(f"Unknown parameter '{name[:80]}'")
    events = call.query.last_list("events")
    for event in events:
        if event not in EVENT_TYPES or event == GAP:
            raise BadRequest(f"Unknown event type '{event[:80]}'")
    try:
        uuids = [valid_uuid(uuid) for uuid in call.query.last_list("uuid")]
        tags = valid_tags(call.query.last_list("tags"))
    except ItemError as error:
        raise BadRequest(error.message) from error
    return Filter(events=frozenset(events), uuids=frozenset(uuids), tags=frozenset(tags))

"""Events are forgotten after a while, as the real server's storage forgets them."""

from __future__ import annotations

from datetime import datetime, timedelta

import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import EVENTS

_LIFE = timedelta(hours=1)
"""Source: kube-apiserver ``--event-ttl``."""
_SWEEP_SECONDS = 60.0


async def expire_events_forever(registry: Registry) -> None:
    while True:
        await trio.sleep(_SWEEP_SECONDS)
        latest = utc_now() - _LIFE
        for event in registry.storage.objects(EVENTS):
            if datetime.fromisoformat(event.value["metadata"]["creationTimestamp"]) < latest:
                registry.delete(EVENTS, *event.key)

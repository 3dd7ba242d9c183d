"""The loop all controllers share: changes become keys, keys are reconciled one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

import attrs
import structlog
import trio

from kraftlet_trio.simulators.kubernetes.errors import ApiError
from kraftlet_trio.simulators.kubernetes.resources import Resource
from kraftlet_trio.simulators.kubernetes.storage import (
    Change,
    HistoryExpired,
    Storage,
    Subscription,
)

log = structlog.get_logger()

K = TypeVar("K", bound=Hashable)

_RETRY_SECONDS = 1.0


@attrs.frozen(kw_only=True)
class Controller(Generic[K]):
    """What to look at again after a change, and how."""

    name: str
    triggers: Mapping[Resource, Callable[[Change], Iterable[K]]]
    """The keys that a change of the kind concerns. An object that was there before the loop began
    counts as just created."""
    reconcile: Callable[[K], float | None]
    """Brings the world nearer to what is wanted for the key, as far as can be told now.

    Called again for each change that concerns the key, and after the seconds returned, if any.
    An ``ApiError`` is logged, and the key tried again after a while.
    """
    gather_seconds: float = 0.0
    """How long to let changes gather before looking, where looking is dear."""


async def run_controller(
    controller: Controller[K],
    storage: Storage,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until cancelled; ``started`` once no change can be missed."""
    later: dict[K, float] = {}
    with storage.subscribed(controller.triggers) as subscription:
        due = _all_keys(controller, storage)
        task_status.started()
        while True:
            for key in due:
                later.pop(key, None)
                if (seconds := _reconcile(controller, key)) is not None:
                    later[key] = trio.current_time() + seconds
                await trio.lowlevel.checkpoint()
            with trio.move_on_at(min(later.values(), default=math.inf)):
                await subscription.wait()
            if controller.gather_seconds:
                await trio.sleep(controller.gather_seconds)
            due = _changed_keys(controller, storage, subscription)
            now = trio.current_time()
            due |= dict.fromkeys(key for key, moment in later.items() if moment <= now)


def _reconcile(controller: Controller[K], key: K) -> float | None:
    try:
        return controller.reconcile(key)
    except ApiError as error:
        log.info("refused to a controller", controller=controller.name, key=key, why=str(error))
        return _RETRY_SECONDS


def _all_keys(controller: Controller[K], storage: Storage) -> dict[K, None]:
    return {
        key: None
        for resource, keys_of in controller.triggers.items()
        for stored in storage.objects(resource)
        for key in keys_of(Change(stored, None))
    }


def _changed_keys(
    controller: Controller[K], storage: Storage, subscription: Subscription
) -> dict[K, None]:
    """Ordered like the changes; a key that changed twice is there once."""
    try:
        changes = subscription.take()
    except HistoryExpired:
        subscription.skip_to_now()
        return _all_keys(controller, storage)
    return {key: None for change in changes for key in controller.triggers[change.resource](change)}

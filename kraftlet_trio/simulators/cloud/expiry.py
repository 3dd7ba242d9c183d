"""What goes by itself: the unused after its autokill time, the retained after its retention.

It happens before the next request is answered, for nobody can tell that from the moment itself.
"""

from __future__ import annotations

import trio

from kraftlet_trio.cloud.objects import STOPPED
from kraftlet_trio.simulators.cloud.calls import Cloud
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.records import Instance, ServiceGroup
from kraftlet_trio.simulators.cloud.templates import forget_saved


def delete_expired(cloud: Cloud) -> None:
    """What is locked stays, and so does what somebody uses (reference, autokill)."""
    account = cloud.account
    account.forget_retained()
    for uuid in list(account.perishables):
        identifier = Identifier(uuid=uuid)
        if uuid in account.instances:
            _delete_instance(cloud, account.instances.find(identifier))
        elif uuid in account.groups:
            group = account.groups.find(identifier)
            if _is_unused(group):
                account.groups.remove(group)
        else:
            for saved in (account.templates, account.checkpoints):
                if uuid in saved and _is_idle(record := saved.find(identifier)):
                    forget_saved(account, saved, record)
            if uuid not in account.templates and uuid not in account.checkpoints:
                account.perishables.discard(uuid)


def _delete_instance(cloud: Cloud, instance: Instance) -> None:
    if instance.delete_lock:
        return
    autokill = instance.autokill
    if autokill.num_requests and instance.traffic.ntotal >= autokill.num_requests:
        cloud.lifecycle.delete(instance, origin="proxy")
    elif autokill.time_ms and instance.state == STOPPED and instance.stopped_at is not None:
        lag = cloud.settings.stop_reason_lag_seconds
        if _has_passed(instance.stop_known_at - lag, autokill.time_ms):
            cloud.lifecycle.delete(instance, origin="autokill")


def _is_idle(record: Instance) -> bool:
    return (
        not record.delete_lock
        and record.autokill.time_ms > 0
        and record.idle_since is not None
        and _has_passed(record.idle_since, record.autokill.time_ms)
    )


def _is_unused(group: ServiceGroup) -> bool:
    return (
        group.autokill_ms > 0
        and not group.instances
        and group.empty_since is not None
        and _has_passed(group.empty_since, group.autokill_ms)
    )


def _has_passed(since: float, milliseconds: int) -> bool:
    return trio.current_time() >= since + milliseconds / 1000

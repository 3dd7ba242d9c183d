"""What becomes of instances when the simulator begins with a saved account: a host's restart.

The platform's reference does not say; assumed is what a host can do that lost its memory but not
its disk:

- standby instances stay there, with their volumes; those that kept their memory boot anew;
- an instance that was being stopped has stopped, one on its way to standby is there;
- one that ran has stopped, with the platform to blame (stop reason 4). If its restart policy is
  not ``never`` it is started again at once, as is one that waited for its next restart.
"""

from __future__ import annotations

from kraftlet_trio.cloud.objects import (
    DRAINING,
    STANDBY,
    STOP_KERNEL,
    STOP_PLATFORM,
    STOPPED,
    STOPPING,
)
from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.lifecycle import Lifecycle
from kraftlet_trio.simulators.cloud.records import Instance
from kraftlet_trio.simulators.cloud.stops import Stop, stop_into_standby

HOST_RESTARTED = Stop(STOP_PLATFORM)


def recover(account: Account, lifecycle: Lifecycle) -> None:
    """Bring instances to where a host's restart leaves them, and start those that go on."""
    going_on = [instance for instance in account.instances if _goes_on(instance)]
    for instance in list(account.instances):
        if instance.is_live:
            state, stop = _rest_of(instance)
            lifecycle.lose(instance, state, stop)
    for instance in going_on:
        instance.restart_count += 1
        lifecycle.start_if_possible(instance, origin="restart")


def _goes_on(instance: Instance) -> bool:
    if instance.state in (DRAINING, STOPPING):
        return False
    waits = instance.state == STOPPED and instance.restart is not None
    return waits or (instance.is_live and instance.restart_policy != "never")


def _rest_of(instance: Instance) -> tuple[str, Stop]:
    initiator = instance.stop.reason or 0
    if instance.is_falling_asleep:
        return STANDBY, stop_into_standby(initiator)
    if instance.state in (DRAINING, STOPPING):
        return STOPPED, Stop(initiator | STOP_KERNEL)
    return STOPPED, HOST_RESTARTED

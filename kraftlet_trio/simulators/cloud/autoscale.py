"""Endpoints under /v1/services that configure autoscale, which the account has no access to.

Limited access is the rule: whoever has none is told so for each service group that exists.
"""

from __future__ import annotations

from collections.abc import Callable

from kraftlet_trio.http.messages import Response
from kraftlet_trio.simulators.cloud.calls import Call, Cloud, perform_each
from kraftlet_trio.simulators.cloud.envelope import Outcome, envelope
from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.members import Members

_CONFIGURATION = (
    "min_size",
    "max_size",
    "warmup_time_ms",
    "cooldown_time_ms",
    "create_args",
    "policies",
)


async def refuse_configurations(cloud: Cloud, call: Call) -> Response:
    def read(members: Members) -> Identifier:
        if call.uuid is not None:
            members.text("uuid")  # the model of the body repeats it
        target = call.target(members)
        for name in _CONFIGURATION:
            members.raw(name)
        members.done()
        return target

    outcomes = await perform_each(call, call.items_or_query(), read, _refusing(cloud))
    return envelope("service_groups", outcomes, began=call.began)


async def refuse_policies(cloud: Cloud, call: Call) -> Response:
    """Of one service group; what the policies would be is not looked into."""

    def read(members: Members) -> Identifier:
        for name in ("name", "type"):
            members.raw(name)
        return call.only_target(members)

    outcomes = await perform_each(call, call.items(), read, _refusing(cloud))
    shown = [{key: value for key, value in each.items() if key != "uuid"} for each in outcomes]
    return envelope("policies", shown, began=call.began)


def _refusing(cloud: Cloud) -> Callable[[Identifier], Outcome]:
    def act(target: Identifier) -> Outcome:
        cloud.account.groups.find(target)
        raise ItemError(ErrorCode.AUTOSCALE_DISABLED, "Autoscale not enabled for your account")

    return act

"""Endpoints of the account and the node: quotas, health."""

from __future__ import annotations

import attrs
import trio

from kraftlet_trio import __version__
from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.simulators.cloud.calls import Call, Cloud
from kraftlet_trio.simulators.cloud.envelope import envelope, failure, success
from kraftlet_trio.simulators.cloud.errors import ErrorCode, ItemError
from kraftlet_trio.simulators.cloud.validation import valid_uuid


async def read_health(cloud: Cloud, call: Call) -> Response:
    """The licence is for administrators, which the account is not."""
    data = {"checks": cloud.account.health, "versions": {"simulator": __version__}}
    took = round((trio.current_time() - call.began) * 1e6)
    return json_response({"status": "success", "data": data, "op_time_us": took})


async def read_quotas(cloud: Cloud, call: Call) -> Response:
    """Of the token's user, who is the only one there is."""
    account = cloud.account
    if call.uuid is not None:
        try:
            known = valid_uuid(call.uuid) == account.uuid
        except ItemError as error:
            return envelope("quotas", [failure(error, uuid=call.uuid)], began=call.began)
        if not known:
            missing = ItemError(ErrorCode.NOT_FOUND, f"No user with uuid '{call.uuid}'")
            return envelope("quotas", [failure(missing, uuid=call.uuid)], began=call.began)
    live_instances = sum(instance.is_live for instance in account.instances)
    quotas = success(
        uuid=account.uuid,
        used={**attrs.asdict(account.used()), "live_instances": live_instances},
        # An alias kept for old clients.
        hard={**attrs.asdict(account.hard), "live_instances": account.hard.live_vcpus},
        limits={**attrs.asdict(account.limits), "min_autoscale_size": 0, "max_autoscale_size": 16},
    )
    return envelope("quotas", [quotas], began=call.began)

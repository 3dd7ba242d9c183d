"""``/simulator/v1/faults``: the fault rules at run time. The simulator's own, not the platform's.

``PUT`` replaces all rules by those of a document (see ``fault_rules``), ``GET`` shows them with
how often each has struck, ``DELETE`` removes them. No fault strikes here.
"""

from __future__ import annotations

from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.simulators.cloud.calls import Call, Cloud
from kraftlet_trio.simulators.cloud.errors import BadRequest
from kraftlet_trio.simulators.cloud.fault_rules import RulesError, parse_rules, shown_fault


async def read_faults(cloud: Cloud, _call: Call) -> Response:
    return _shown(cloud)


async def replace_faults(cloud: Cloud, call: Call) -> Response:
    try:
        rules = parse_rules(call.request.body)
    except RulesError as error:
        raise BadRequest(str(error)) from error
    cloud.faults.replace(rules.faults, seed=rules.seed)
    return _shown(cloud)


async def remove_faults(cloud: Cloud, _call: Call) -> Response:
    cloud.faults.clear()
    return _shown(cloud)


def _shown(cloud: Cloud) -> Response:
    return json_response({"faults": [shown_fault(fault) for fault in cloud.faults]})

"""``serviceaccounts/token``: what may be asked for, and for how long it is given.

Source: Kubernetes' pkg/registry/core/serviceaccount/storage/token.go.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from kraftlet_trio.clock import utc_now
from kraftlet_trio.kubernetes.serialization import timestamp
from kraftlet_trio.simulators.kubernetes.errors import Cause, bad_request, conflict, invalid
from kraftlet_trio.simulators.kubernetes.identities import API_AUDIENCE, Identities
from kraftlet_trio.simulators.kubernetes.registry import Registry
from kraftlet_trio.simulators.kubernetes.resources import PODS, SERVICE_ACCOUNTS, Json

_SHORTEST_SECONDS = 600
_USUAL_SECONDS = 3600
_AUTOMATIC_SECONDS = 3607
"""What admission asks for. Such a token lasts a year, and is only warned of after this time."""
_EXTENDED_SECONDS = 365 * 24 * 3600


def answer_token_request(
    registry: Registry, identities: Identities, account: Json, request: Json
) -> Json:
    """The TokenRequest with its status. Raises ``ApiError``."""
    spec: dict[str, Any] = request.get("spec") or {}
    audiences, seconds = spec.get("audiences") or (), spec.get("expirationSeconds")
    name = account["metadata"]["name"]
    if seconds is None:
        seconds = _USUAL_SECONDS
    if not isinstance(seconds, int) or seconds < _SHORTEST_SECONDS:
        why = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
        cause = Cause(field="spec.expirationSeconds", message=why, reason="FieldValueInvalid")
        raise invalid(SERVICE_ACCOUNTS, name, cause)
    bound = spec.get("boundObjectRef")
    if bound:
        _check_bound(registry, account, bound)
    lasts = seconds
    if bound and seconds == _AUTOMATIC_SECONDS and set(audiences) <= {API_AUDIENCE}:
        lasts = _EXTENDED_SECONDS
    now = utc_now()
    token = identities.issue(account, audiences, lasts, now)
    expires = timestamp(now + timedelta(seconds=seconds))
    spec = {**spec, "audiences": list(audiences) or [API_AUDIENCE], "expirationSeconds": seconds}
    return {**request, "spec": spec, "status": {"token": token, "expirationTimestamp": expires}}


def _check_bound(registry: Registry, account: Json, bound: Json) -> None:
    if bound.get("kind") == "Secret":
        raise bad_request("tokens bound to Secrets are not simulated; bind them to a Pod")
    if bound.get("kind") != "Pod":
        raise bad_request(f"cannot bind token to object of type {bound.get('kind')}")
    namespace, name = account["metadata"]["namespace"], bound.get("name", "")
    pod = registry.get(PODS, namespace, name).value
    if pod["spec"].get("serviceAccountName") != account["metadata"]["name"]:
        raise bad_request(
            f'cannot bind token for serviceaccount "{account["metadata"]["name"]}" to pod running '
            "with different serviceaccount name."
        )
    if (uid := bound.get("uid")) and uid != pod["metadata"]["uid"]:
        raise conflict(
            PODS,
            name,
            f"the UID in the bound object reference ({uid}) does not match the UID in record. The "
            "object might have been deleted and then recreated",
        )

"""Requests for certificates: what is refused, and what never changes."""

from __future__ import annotations

from kraftlet_trio.simulators.kubernetes.errors import invalid
from kraftlet_trio.simulators.kubernetes.kinds.rules import KindRules, required
from kraftlet_trio.simulators.kubernetes.resources import CERTIFICATE_SIGNING_REQUESTS, Json
from kraftlet_trio.simulators.kubernetes.storage import Storage


def _create(request: Json, storage: Storage) -> None:
    spec = request.setdefault("spec", {})
    for field in ("request", "signerName", "usages"):
        if not spec.get(field):
            name = request["metadata"]["name"]
            raise invalid(CERTIFICATE_SIGNING_REQUESTS, name, required(f"spec.{field}"))
    request["status"] = {}


def _update(old: Json, new: Json) -> None:
    # Silently, as the API server's own strategy.
    new["spec"] = old["spec"]


SIGNING_REQUEST_RULES = KindRules(create=_create, update=_update)

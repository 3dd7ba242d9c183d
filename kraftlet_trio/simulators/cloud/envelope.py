"""The platform's answer: one envelope around a list of items, each with an outcome of its own.

Logical failures are HTTP 200; the envelope says whether none, some or all items failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.simulators.cloud.errors import ItemError

Outcome = dict[str, Any]
"""One item of an answer."""


def success(**fields: Any) -> Outcome:
    return {"status": "success", **fields}


def failure(error: ItemError, **identity: str) -> Outcome:
    return {
        "status": "error",
        **identity,
        "message": error.message,
        "error": int(error.code),
    }


def timed_out(**fields: Any) -> Outcome:
    """A wait lapsed: an error without a code, the resource is still there."""
    return {"status": "error", **fields}


def envelope(
    kind: str, outcomes: Sequence[Outcome], *, began: float, warnings: Sequence[str] = ()
) -> Response:
    """The answer with *outcomes* under the key *kind*; *began* is on Trio's clock."""
    failed = [outcome for outcome in outcomes if outcome.get("status") == "error"]
    body: dict[str, Any] = {"status": "success"}
    if failed and len(failed) == len(outcomes):
        body["status"] = "error"
        if any("error" not in outcome for outcome in failed):
            body["message"] = "Operation timed out"
        else:
            body["message"] = failed[0]["message"]
    elif failed:
        body["status"] = "partial_success"
        body["message"] = "Failed to perform all operations"
    body["data"] = {kind: list(outcomes)}
    if warnings:
        body["warnings"] = [{"message": text} for text in warnings]
    body["op_time_us"] = _microseconds_since(began)
    return json_response(body)


def refusal(status: int, message: str) -> Response:
    """An answer to a request that was not looked into: no items, an HTTP status."""
    return json_response(
        {
            "status": "error",
            "message": message,
            "errors": [{"status": status, "message": message}],
            "op_time_us": 0,
        },
        status,
    )


def _microseconds_since(began: float) -> int:
    return round((trio.current_time() - began) * 1e6)

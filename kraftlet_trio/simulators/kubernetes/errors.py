"""Refusals of the API server, each a ``Status`` body with its code and reason.

Codes, reasons and sentences follow apimachinery's ``api/errors``: clients branch on ``reason``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kraftlet_trio.simulators.kubernetes.resources import Resource


@attrs.frozen(kw_only=True)
class Cause:
    """Why one field was refused; ``reason`` is ``FieldValueInvalid`` and its like."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def as_json(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "field": self.field}


class ApiError(Exception):
    """A request that is answered with a failure ``Status``."""

    def __init__(
        self, code: int, reason: str, message: str, *, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})

    @property
    def status(self) -> dict[str, Any]:
        """The body, a ``v1`` ``Status``."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        return body


def _details(resource: Resource, name: str) -> dict[str, Any]:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}


def not_found(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified_name} "{name}" not found'
    return ApiError(404, "NotFound", message, details=_details(resource, name))


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified_name} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=_details(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource.qualified_name} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(resource, name))


def stale(resource: Resource, name: str) -> ApiError:
    return conflict(
        resource,
        name,
        "the object has been modified; please apply your changes to the latest version "
        "and try again",
    )


def forbidden(resource: Resource, name: str, why: str, *, causes: Sequence[Cause] = ()) -> ApiError:
    details = _details(resource, name)
    if causes:
        details["causes"] = [cause.as_json() for cause in causes]
    message = f'{resource.qualified_name} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, details=details)


def invalid(resource: Resource, name: str, *causes: Cause) -> ApiError:
    """The object's fields are well formed but not acceptable (422)."""
    faults = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = _details(resource, name) | {
        "kind": resource.kind,
        "causes": [cause.as_json() for cause in causes],
    }
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {listed}', details=details)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_old(version: int, oldest: int) -> ApiError:
    return expired(f"too old resource version: {version} ({oldest})")


def from_the_future(version: int, current: int) -> ApiError:
    """The client has seen a version that this server has not reached (504)."""
    message = f"Too large resource version: {version}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiError(504, "Timeout", message, details={"causes": [cause], "retryAfterSeconds": 1})


def method_not_allowed() -> ApiError:
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def unsupported_media_type(given: str, *accepted: str) -> ApiError:
    message = (
        f"the body of the request was in an unknown format ({given}) - "
        f"accepted media types include: {', '.join(accepted)}"
    )
    return ApiError(415, "UnsupportedMediaType", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")

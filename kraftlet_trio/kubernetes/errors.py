"""What a caller may do about a failed call to the Kubernetes API."""

from __future__ import annotations

from typing import Any

import orjson

_LONGEST_MESSAGE = 500


class KubernetesError(Exception):
    """A call failed. The text names the request and repeats the server's message, cut short."""

    def __init__(self, message: str, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 when there was no answer."""
        self.reason = reason
        """``Status.reason``, the machine-readable word (``AlreadyExists``); empty from a proxy."""


class NotFound(KubernetesError):
    """404: the object, or the namespace it was to live in, does not exist."""


class AlreadyExists(KubernetesError):
    """409 on a create: the name is taken."""


class Conflict(KubernetesError):
    """409: the object changed (or was replaced) since it was read. Read it again."""


class Expired(KubernetesError):
    """410, or a version from the future: the server cannot go on from there. List again."""


class Unauthorized(KubernetesError):
    """401, or no credential could be obtained."""


class Forbidden(KubernetesError):
    """403: the identity lacks the right."""


class Invalid(KubernetesError):
    """400 or 422: the server rejects the body. The same body will not do later either."""


class KubernetesUnavailable(KubernetesError):
    """No answer, 429 or 5xx: the outcome of a write is unknown. Wait, look, then try again."""

    def __init__(
        self, message: str, status: int = 0, reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, status, reason)
        self.retry_after = retry_after
        """Seconds the server asked for, if it did."""


def error_from_answer(
    request: str, status: int, body: bytes, retry_after: float | None
) -> KubernetesError:
    """The error for a non-2xx answer to *request* (``GET https://…``, for the text)."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or document.get("kind") != "Status":
        # Proxies answer in plain text or HTML.
        text = body.decode("utf-8", "replace").strip()
        document = {"message": text or f"HTTP status {status}"}
    return error_from_status(request, status, document, retry_after)


def error_from_status(
    request: str, status: int, document: dict[str, Any], retry_after: float | None = None
) -> KubernetesError:
    """The error for a ``metav1.Status``, which also ends a watch as its ERROR event."""
    reason = str(document.get("reason") or "")
    message = f"{request}: {_shortened(str(document.get('message') or reason or status))}"
    causes = (document.get("details") or {}).get("causes") or ()
    if any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes):
        # The server's history was set back, as by a restored backup (504).
        return Expired(message, status, reason)
    if any(cause.get("field") == "metadata.uid" for cause in causes):
        # A patch meant for another object of this name; a PUT gets 409 for the same.
        return Conflict(message, status, reason)
    match status:
        case 401:
            return Unauthorized(message, status, reason)
        case 403:
            return Forbidden(message, status, reason)
        case 404:
            return NotFound(message, status, reason)
        case 409 if reason == "AlreadyExists":
            return AlreadyExists(message, status, reason)
        case 409:
            return Conflict(message, status, reason)
        case 410:
            return Expired(message, status, reason)
        case 400 | 422:
            return Invalid(message, status, reason)
        case 429:
            return KubernetesUnavailable(message, status, reason, retry_after)
        case _ if status >= 500:
            return KubernetesUnavailable(message, status, reason, retry_after)
        case _:
            return KubernetesError(message, status, reason)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "…"

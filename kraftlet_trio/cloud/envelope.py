"""The envelope around every answer, and the one place where failures become typed errors.

Most failures come as HTTP 200: each item of the answer's list tells its own outcome, beside the
resource's fields. Proxies in front of the platform answer for it in HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from kraftlet_trio.cloud.errors import (
    CloudError,
    CloudRefused,
    CloudUnauthorized,
    CloudUnavailable,
    NameTaken,
    QuotaExceeded,
    ResourceBusy,
    ResourceNotFound,
)

_LONGEST_MESSAGE = 300

_REFUSALS: Mapping[int, type[CloudRefused]] = {
    8: ResourceNotFound,
    15: ResourceBusy,
    19: QuotaExceeded,
    23: NameTaken,
}
_BUSY_TEXTS = ("EBUSY", "Unknown error -16")
"""How a transient hold reads; its codes (0, 10) mean other things too."""


@attrs.frozen(kw_only=True)
class Envelope:
    """An answer of the platform itself, whose items are still to be looked at."""

    about: str
    """What was asked for, to begin an error's text."""
    status: str = ""
    message: str = ""
    data: Mapping[str, Any] = attrs.field(factory=dict)

    def items(self, key: str) -> list[dict[str, Any]]:
        """The list under *key*, failed items included."""
        listed = self.data.get(key)
        if not isinstance(listed, list):
            return []
        return [item for item in listed if isinstance(item, dict)]

    def succeeded(self, key: str) -> list[dict[str, Any]]:
        """The list under *key*. Raises the ``CloudError`` of the first item that failed."""
        items = self.items(key)
        for item in items:
            if error := self.failure(item):
                raise error
        return items

    def failure(self, item: Mapping[str, Any]) -> CloudError | None:
        """Why *item* failed; None when it did not.

        A wait that lapsed is no failure although it looks like one: the resource is there, in the
        state shown.
        """
        code = _integer(item.get("error"))
        if (item.get("status") or self.status) != "error" and not code:
            return None
        message = str(item.get("message") or self.message or f"error code {code}")
        text = f"{self.about}: {_cut(message)}"
        if any(busy in message for busy in _BUSY_TEXTS):
            return ResourceBusy(text, code=code)
        if code is None and "timed out" in message.lower():
            return None if item.get("uuid") else CloudUnavailable(text)
        return _REFUSALS.get(code or 0, CloudRefused)(text, code=code)


def read_answer(
    status: int, content: bytes, *, about: str, retry_after: float | None = None
) -> Envelope:
    """The platform's answer to what *about* names.

    Raises:
        CloudUnauthorized: 401 or 403.
        CloudUnavailable: 429, 5xx, or a body that is not the platform's.
        CloudRefused: a failure of the request as a whole.
    """
    document = _document(content)
    message = _message(document) or f"HTTP status {status}"
    text = f"{about}: {_cut(message)}"
    errors = _error_statuses(document)
    if status in (401, 403) or not {401, 403}.isdisjoint(errors):
        raise CloudUnauthorized(text)
    if status in (408, 429) or status >= 500:
        raise CloudUnavailable(text, retry_after=retry_after)
    if document is None or (not 200 <= status < 300 and status < 400):
        raise CloudUnavailable(f"{about}: not an answer of the platform (HTTP status {status})")
    data = document.get("data")
    envelope = Envelope(
        about=about,
        status=str(document.get("status") or ""),
        message=_message(document),
        data=data if isinstance(data, dict) else {},
    )
    if any(isinstance(part, list) and part for part in envelope.data.values()):
        return envelope  # each item tells more than the whole
    if status >= 400 or envelope.status == "error":
        if any(error in (408, 429) or error >= 500 for error in errors):
            raise CloudUnavailable(text, retry_after=retry_after)
        if "timed out" in message.lower():
            raise CloudUnavailable(text)
        if any(busy in message for busy in _BUSY_TEXTS):
            raise ResourceBusy(text)
        raise CloudRefused(text)
    return envelope


def _document(content: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _message(document: Mapping[str, Any] | None) -> str:
    if document is None:
        return ""
    parts = [document.get("message"), *(error.get("message") for error in _errors(document))]
    # The whole often repeats the part.
    return "; ".join(dict.fromkeys(str(part) for part in parts if part))


def _error_statuses(document: Mapping[str, Any] | None) -> set[int]:
    found = (_integer(error.get("status")) for error in _errors(document or {}))
    return {status for status in found if status is not None}


def _errors(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    errors = document.get("errors")
    if not isinstance(errors, list):
        return ()
    return [error for error in errors if isinstance(error, dict)]


def _integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "…"

"""How the platform says no: item error codes, and requests that are no requests at all."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """Codes of failed items (platform reference, item error codes)."""

    UNKNOWN = 0
    NOT_SUPPORTED = 1
    INVALID_VALUE = 7
    NOT_FOUND = 8
    FAILED = 10
    WRONG_STATE = 11
    MISSING_IDENTIFIER = 13
    NOT_ALLOWED = 14
    ATTACHED = 15
    MALFORMED = 16
    NOT_BOTH = 17
    QUOTA_EXCEEDED = 19
    NOT_ATTACHED = 21
    TOO_LONG = 22
    ALREADY_EXISTS = 23
    AUTOSCALE_DISABLED = 28
    CERTIFICATE_MISMATCH = 30


class ItemError(Exception):
    """One item of a request failed; its siblings are not touched by that."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class BadRequest(Exception):
    """The whole request is malformed: answered 400, and nothing was done."""


def invalid(message: str) -> ItemError:
    return ItemError(ErrorCode.INVALID_VALUE, message)


def quota_exceeded() -> ItemError:
    return ItemError(ErrorCode.QUOTA_EXCEEDED, "Failed to create. Quota exceeded")

"""What a caller may do about a failed call to Unikraft Cloud."""

from __future__ import annotations


class CloudError(Exception):
    """A call failed. The text names the resource and repeats the platform's message."""


class CloudUnavailable(CloudError):
    """Transport failure, 429 or 5xx: a write may have happened. Wait, look, then try again."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds the platform asked for, if it did."""


class CloudUnauthorized(CloudError):
    """The token is missing, wrong or without rights (401, 403)."""


class CloudRefused(CloudError):
    """The platform understood and said no: tell the user, then retry slowly."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The platform's item error code, if it gave one."""


class ResourceNotFound(CloudRefused):
    """Item code 8: the resource, or one it names, does not exist."""


class NameTaken(CloudRefused):
    """Item code 23: a resource of that kind and name exists already."""


class QuotaExceeded(CloudRefused):
    """Item code 19: the account's quota does not allow it now."""


class ResourceBusy(CloudRefused):
    """EBUSY, or still attached (code 15): try again shortly."""

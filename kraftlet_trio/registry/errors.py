"""Why an image could not be looked up. No text repeats what a registry said, or a credential."""

from __future__ import annotations


class RegistryError(Exception):
    """The registry did not tell. The text names the host, and what it did."""


class Unreachable(RegistryError):
    """No connection, no answer in time, 429 or 5xx: another time it may work."""


class Unauthorized(RegistryError):
    """The registry wants another credential than it was shown."""


class NotFound(RegistryError):
    """It has no such image, or none for this architecture; or does not show it to us."""


class Malformed(RegistryError):
    """The answer makes no sense, is far too large, or leads astray."""

"""What one attempt at a container can find."""

from __future__ import annotations

import attrs


@attrs.frozen
class Healthy:
    """It passed; *warning* is what users should know all the same."""

    warning: str = ""


@attrs.frozen
class Unhealthy:
    """It failed. *message* follows "probe failed:" in the event."""

    message: str


Outcome = Healthy | Unhealthy


class CannotProbe(Exception):
    """The attempt could not be made, which says nothing about the container."""

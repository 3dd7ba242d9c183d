"""What is wrong with an object, said so that its owner can put it right."""

from __future__ import annotations

import attrs

_SHOWN_CHARACTERS = 80


class ConfigurationProblem(Exception):
    """A container cannot become an instance until somebody changes an object.

    Trying again helps only once the Pod, or an object it refers to, has changed.
    """

    def __init__(
        self, reason: str, message: str, *, waiting_reason: str = "CreateContainerConfigError"
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """Reason of the event, in Kubernetes' camel case."""
        self.message = message
        """What is wrong, with which value, and the cure."""
        self.waiting_reason = waiting_reason
        """Kubernetes' name for the state the container is in meanwhile."""


@attrs.frozen
class ConfigurationWarning:
    """A part of an object that has no effect, while the rest goes on: worth a Warning event."""

    reason: str
    message: str


def shown(text: str) -> str:
    """*text* in quotes on one line, cut short: anybody may have written it."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
    return '"' + "".join(char if char.isprintable() else "?" for char in cut) + '"'

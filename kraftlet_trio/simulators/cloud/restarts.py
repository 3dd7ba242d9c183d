"""When a stopped instance is started again (platform reference, restart policy)."""

from __future__ import annotations

from kraftlet_trio.simulators.cloud.runtime import Ending, Exited
from kraftlet_trio.simulators.cloud.settings import CloudSettings

_DELAY_SECONDS = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)


def restarts(policy: str, ending: Ending, settings: CloudSettings) -> bool:
    """Whether *policy* restarts an instance that ended by itself."""
    match policy, ending:
        case "always", _:
            return True
        case "on-failure", Exited(exit_code):
            return exit_code != 0 and settings.nonzero_exit_is_failure
        case "on-failure", _:
            return True
        case _:
            return False


def restart_delay_seconds(attempt: int) -> float:
    """Pause before the restart with that number, from 1, in one sequence."""
    return _DELAY_SECONDS[min(attempt, len(_DELAY_SECONDS)) - 1]

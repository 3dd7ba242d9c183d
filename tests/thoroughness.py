"""How hard properties of the whole daemon are tried: a few examples, or a campaign of them.

``HYPOTHESIS_PROFILE=thorough pytest tests/property`` is for a night, or after a deep change.
"""

from __future__ import annotations

import os

_THOROUGH_FACTOR = 25


def examples(usual: int) -> int:
    """Number of examples to try."""
    thorough = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
    return usual * _THOROUGH_FACTOR if thorough else usual

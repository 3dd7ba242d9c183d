"""The world in which the daemon is tested as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.world import World, a_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Both simulators, checked at the end for what was broken at any moment. No daemon yet.

    A test has to ask for ``autojump_clock``, too: pytest-trio does not see it behind a fixture.
    """
    async with a_world() as world:
        yield world

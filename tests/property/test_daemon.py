"""Whatever happens to a daemon and around it: once it is left alone, all is as asked for.

A history is a list of things that users, the platform, the network and the daemon's own death do
to the world, drawn at random. At every request of the daemon the monitor looks whether something
is broken that must never be. After the history nothing goes wrong any more, and the cloud has to
become what the manifests ask for, and then rest; then all is deleted, and nothing may be left.
"""

from __future__ import annotations

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.manifests import a_claim, a_pod, a_service
from tests.property.daemon_expectations import is_restless, shortcomings
from tests.property.daemon_histories import History, happenings, heal
from tests.property.daemon_shapes import DEPLOYMENT, SCRIPTS
from tests.thoroughness import examples
from tests.world import World, a_world

HEALING_SECONDS = 900.0
"""Longer than two times the longest back-off."""


async def live_through(world: World, happenings: list) -> None:
    for image, entry in SCRIPTS.items():
        world.script(image, **entry)
    world.keep_daemon_running()
    history = History(world)
    for happening in happenings:
        await happening.happen(history)
    heal(world)
    with trio.move_on_after(HEALING_SECONDS):
        while shortcomings(history):  # noqa: ASYNC110 (nothing rings when the world changes)
            await trio.sleep(1)
    assert not shortcomings(history), "\n".join((*shortcomings(history), world.describe()))
    if not is_restless(history):
        await trio.sleep(60)  # the provisioner may still wait for its predecessor's lease
        await world.check_quiet(seconds=300)
        assert not shortcomings(history)
    world.delete(DEPLOYMENT, *(a_pod(name) for name in world.pod_names()))
    world.delete(a_service("web"), a_service("shop"), a_claim())
    await world.eventually(world.is_empty, seconds=HEALING_SECONDS, every=1.0)


@given(st.random_module(), st.lists(happenings(), max_size=16))
@settings(max_examples=examples(60), deadline=None)
def test_world_becomes_what_is_asked_for_and_then_rests(seed, happenings):
    async def living() -> None:
        async with a_world() as world:
            await live_through(world, happenings)

    trio.run(living, clock=MockClock(autojump_threshold=0))

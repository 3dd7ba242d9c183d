"""What is told of tasks, and how it is drawn."""

from __future__ import annotations

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st

from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.task_tree import LastSteps, TaskTree
from kraftlet_trio.tree_command import drawn, of_pod


@pytest.fixture
async def tree(autojump_clock):
    last_steps = LastSteps()
    async with last_steps.noted():
        yield TaskTree(last_steps, lambda: {"u-1": "retrying"})


def flat(tasks):
    for task in tasks:
        yield task
        for nursery in task.get("nurseries", ()):
            yield from flat(nursery)


def found(tree, name):
    [task] = [one for one in flat(tree.read()["tasks"]) if one["name"] == name]
    return task


async def test_a_task_tells_where_it_waits_and_since_when(autojump_clock, nursery, tree):
    async def ring_later(bell):
        await trio.sleep(3)
        await bell.wait()

    nursery.start_soon(ring_later, Doorbell(), name="waiter")
    await trio.sleep(10)
    task = found(tree, "waiter")
    assert (task["state"], task["waitingFor"]) == ("waiting", "Event.wait")
    assert task["in"] == ["Doorbell.wait (doorbell.py:31)"] or task["in"][-1].startswith(
        "Doorbell.wait (doorbell.py:"
    )
    [line] = [line for line in drawn(tree.read()) if "waiter" in line]
    assert "  waiting  7.0s  Event.wait" in line


async def test_children_are_in_their_nurseries(autojump_clock, nursery, tree):
    async def parent():
        async with trio.open_nursery() as first, trio.open_nursery() as second:
            first.start_soon(trio.sleep_forever, name="b")
            first.start_soon(trio.sleep_forever, name="a")
            second.start_soon(trio.sleep_forever, name="c")

    nursery.start_soon(parent, name="parent")
    await trio.sleep(1)
    nurseries = found(tree, "parent")["nurseries"]
    assert [[task["name"] for task in each] for each in nurseries] == [["a", "b"], ["c"]]


async def test_a_pods_tasks_bear_its_name_and_its_actor_its_state(autojump_clock, nursery, tree):
    async def actor():
        structlog.contextvars.bind_contextvars(pod="web", namespace="default", pod_uid="u-1")
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.sleep_forever, name="probe")

    nursery.start_soon(actor, name="pod u-1")
    await trio.sleep(1)
    told = found(tree, "pod u-1")
    assert (told["pod"], told["state"]) == ("default/web", "retrying")
    assert found(tree, "probe")["pod"] == "default/web"
    assert found(tree, "probe")["state"] == "waiting"
    assert [task["name"] for task in of_pod(tree.read()["tasks"], "default/web")] == ["pod u-1"]


async def test_whoever_asks_is_running(autojump_clock, tree):
    assert [task["state"] for task in flat(tree.read()["tasks"])].count("running") == 1


shapes = st.recursive(st.just([]), lambda inner: st.lists(st.lists(inner, max_size=3), max_size=3))


@given(shapes)
def test_every_task_is_drawn_once(shape):
    names = []

    def task(nurseries):
        names.append(f"task-{len(names)}.")
        told = {"name": names[-1], "state": "waiting"}
        if nurseries:
            told["nurseries"] = [[task(each) for each in nursery] for nursery in nurseries]
        return told

    document = {"at": "2026-01-01T00:00:00+00:00", "tasks": [task(shape)]}
    lines = list(drawn(document))
    for name in names:
        assert sum(f"{name}  waiting" in line for line in lines) == 1

"""The tasks of the running daemon, nursery by nursery, as Trio knows them.

What a task is doing is read off its stack when somebody asks. Only since when it waits has to be
noted meanwhile: an instrument keeps the time of each task's last step.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import attrs
import trio
from trio.lowlevel import Task

from kraftlet_trio.clock import utc_now

POD_TASK = "pod "
"""What the names of Pods' actors begin with."""
MOST_PLACES = 3
"""Of the calls in our own code that a task is in, the innermost."""

_HERE = f"{Path(__file__).parent}{os.sep}"
_OF_LOGS = "structlog_"


class LastSteps(trio.abc.Instrument):
    """When each task last did something, on Trio's clock."""

    def __init__(self) -> None:
        self._times: WeakKeyDictionary[Task, float] = WeakKeyDictionary()
        self._began = trio.current_time()

    @asynccontextmanager
    async def noted(self) -> AsyncIterator[None]:
        """As long as the context lasts."""
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)

    def after_task_step(self, task: Task) -> None:
        self._times[task] = trio.current_time()

    def of(self, task: Task) -> float:
        """The time from which on they are noted, where it has done nothing since."""
        return self._times.get(task, self._began)


@attrs.frozen
class TaskTree:
    _last_steps: LastSteps
    _actor_states: Callable[[], Mapping[str, str]]
    """What the actors of Pods do, by the Pods' uids."""

    def read(self) -> dict[str, Any]:
        """For JSON: ``{"at": …, "tasks": [task, …]}``.

        A task has a ``name``; the ``pod`` that it is for (``namespace/name``), where it is for
        one; its ``state``, which is that of a Pod's actor (``working``, ``resting``,
        ``retrying``, ``crashed``), or else ``waiting`` or ``running``; ``since`` when it rests,
        at the latest; what of Trio's it is ``waitingFor``, and ``in`` which calls of ours, the
        outermost first; and its ``nurseries``, each a list of tasks.
        """
        root = trio.lowlevel.current_root_task()
        assert root is not None
        states = self._actor_states()
        return {
            "at": utc_now().isoformat(),
            "tasks": [
                self._task(task, states)
                for nursery in root.child_nurseries
                for task in sorted(nursery.child_tasks, key=_name)
                if not _is_trios_own(task)
            ],
        }

    def _task(self, task: Task, states: Mapping[str, str]) -> dict[str, Any]:
        told: dict[str, Any] = {"name": _name(task)}
        context = {variable.name: value for variable, value in task.context.items()}
        pod, uid = context.get(f"{_OF_LOGS}pod"), context.get(f"{_OF_LOGS}pod_uid")
        if isinstance(pod, str):
            told["pod"] = f"{context.get(f'{_OF_LOGS}namespace')}/{pod}"
        runs = task is trio.lowlevel.current_task()
        told["state"] = "running" if runs else "waiting"
        if isinstance(uid, str) and task.name == f"{POD_TASK}{uid}":
            told["state"] = states.get(uid, told["state"])
        if not runs:
            ago = timedelta(seconds=trio.current_time() - self._last_steps.of(task))
            told["since"] = (utc_now() - ago).isoformat()
            told |= _what_it_waits_for(task)
        if task.child_nurseries:
            told["nurseries"] = [
                [self._task(child, states) for child in sorted(nursery.child_tasks, key=_name)]
                for nursery in task.child_nurseries
            ]
        return told


def _name(task: Task) -> str:
    return task.name.removeprefix(f"{__package__}.")


def _is_trios_own(task: Task) -> bool:
    return task.name.startswith("<TrioToken")


def _what_it_waits_for(task: Task) -> dict[str, Any]:
    """The innermost calls that are ours, and what they called of Trio's."""
    places: list[str] = []
    waiting_for = ""
    for frame, line in task.iter_await_frames():
        if place := _place(frame, line):
            places.append(place)
            waiting_for = ""
        elif not waiting_for:
            waiting_for = frame.f_code.co_qualname
    return {"waitingFor": waiting_for, "in": places[-MOST_PLACES:]}


def _place(frame: FrameType, line: int | None) -> str:
    """Empty for code of others."""
    file = frame.f_code.co_filename
    if not file.startswith(_HERE):
        return ""
    return f"{frame.f_code.co_qualname} ({file.removeprefix(_HERE)}:{line})"

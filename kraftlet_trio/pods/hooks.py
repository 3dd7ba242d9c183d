"""Lifecycle hooks: what a container asks to have done after its start and before its stop.

Each runs once in its run of the container, in a task of its own. A failure may hold what a server
said: it is logged and kept for the actor, and only that a hook cannot be run goes into the event.

Source: kubelet's lifecycle/handlers.go, and executePreStopHook in kuberuntime_container.go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Literal

import attrs
import structlog
import trio

from kraftlet_trio.cloud.objects import STANDBY, Instance
from kraftlet_trio.kubernetes.pod import Container, LifecycleHandler
from kraftlet_trio.pods.probed_run import RunKey
from kraftlet_trio.pods.transitions import PodEvent
from kraftlet_trio.probes.handler import HookError, HookImpossible, run_handler
from kraftlet_trio.probes.means import ProbeMeans

log = structlog.get_logger()

HookKind = Literal["postStart", "preStop"]


@attrs.frozen
class HookRunning:
    """It is not over."""


@attrs.frozen
class HookDone:
    """It succeeded, or its time was up, or there was nothing awake to run it in."""


@attrs.frozen
class HookFailed:
    message: str


HookState = HookRunning | HookDone | HookFailed


class Hooks:
    """Runs the hooks of one Pod's containers; its tasks run in *nursery*."""

    def __init__(
        self,
        nursery: trio.Nursery,
        means: ProbeMeans,
        tell: Callable[[PodEvent], None],
        ring: Callable[[], None],
    ) -> None:
        """*tell* records an event on the Pod, *ring* has its actor ask for the states again."""
        self._nursery = nursery
        self._means = means
        self._tell = tell
        self._ring = ring
        self._hooks: dict[tuple[HookKind, RunKey], _Hook] = {}

    def start(
        self,
        kind: HookKind,
        run: RunKey,
        container: Container,
        instance: Instance,
        timeout_seconds: float | None,
    ) -> None:
        """Begin with the hook, unless it was begun before.

        One that takes longer than *timeout_seconds* is left where it is, and counts as done.
        """
        if (kind, run) in self._hooks:
            return
        hook = self._hooks[kind, run] = _Hook()
        handler = _handler(container, kind)
        if handler is None or (kind == "preStop" and instance.state == STANDBY):
            hook.state = HookDone()
            return
        self._nursery.start_soon(
            self._run, hook, kind, handler, container, instance, timeout_seconds
        )

    def state(self, kind: HookKind, run: RunKey) -> HookState | None:
        """None where it was not started."""
        hook = self._hooks.get((kind, run))
        return None if hook is None else hook.state

    def forget(self, runs: Collection[RunKey]) -> None:
        """Those runs are over: end what is still under way in them."""
        for key in [key for key in self._hooks if key[1] in runs]:
            self._hooks.pop(key).scope.cancel()

    async def _run(
        self,
        hook: _Hook,
        kind: HookKind,
        handler: LifecycleHandler,
        container: Container,
        instance: Instance,
        timeout_seconds: float | None,
    ) -> None:
        state: HookState = HookDone()
        with hook.scope:
            with trio.move_on_after(math.inf if timeout_seconds is None else timeout_seconds):
                try:
                    await run_handler(self._means, handler, container, instance)
                except HookError as error:
                    state = HookFailed(str(error))
                    self._tell_failure(kind, container, error)
            hook.state = state
            self._ring()

    def _tell_failure(self, kind: HookKind, container: Container, error: HookError) -> None:
        log.warning("hook failed", hook=kind, container=container.name, error=str(error))
        name = "PostStart" if kind == "postStart" else "PreStop"
        message = f"{name}Hook failed"
        if isinstance(error, HookImpossible):
            message += f": {error}"
        self._tell(PodEvent("Warning", f"Failed{name}Hook", message, container.name))


@attrs.define(eq=False)
class _Hook:
    state: HookState = attrs.field(factory=HookRunning)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


def _handler(container: Container, kind: HookKind) -> LifecycleHandler | None:
    if container.lifecycle is None:
        return None
    return container.lifecycle.post_start if kind == "postStart" else container.lifecycle.pre_stop

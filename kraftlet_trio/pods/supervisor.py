"""One actor a Pod, by uid: born at the Pod's first sight, gone when nothing of it is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs
import structlog
import trio

from kraftlet_trio.doorbell import Doorbell
from kraftlet_trio.kubernetes.pod import PodUID
from kraftlet_trio.pods.actor import PodActor
from kraftlet_trio.pods.context import PodContext
from kraftlet_trio.pods.metrics import ActorCensus
from kraftlet_trio.task_tree import POD_TASK

log = structlog.get_logger()

_RESTART_AFTER_BUG_SECONDS = 10.0


@attrs.define
class PodActors:
    """The tasks that tend Pods, and their bells."""

    _nursery: trio.Nursery
    _context: PodContext
    _bells: dict[PodUID, Doorbell] = attrs.field(factory=dict, init=False)
    _actors: dict[PodUID, PodActor] = attrs.field(factory=dict, init=False)

    def wake(self, uid: PodUID) -> None:
        """Make the Pod's actor look again, if there is one or the Pod exists."""
        bell = self._bells.get(uid)
        if bell is not None:
            bell.ring()
        elif self._context.pods.get(uid) is not None:
            self._bells[uid] = Doorbell()
            self._nursery.start_soon(self._run, uid, name=f"{POD_TASK}{uid}")

    def note_change(self, uid: PodUID) -> None:
        """An object that the Pod refers to has come, changed or gone."""
        actor = self._actors.get(uid)
        if actor is not None:
            actor.note_change()
            self.wake(uid)

    def wake_namespaces(self, namespaces: Iterable[str]) -> None:
        """Wake all Pods there: one of their Services or claims changed."""
        touched = frozenset(namespaces)
        for uid in tuple(self._bells):
            pod = self._context.pods.get(uid)
            if pod is None or pod.metadata.namespace in touched:
                self.wake(uid)

    def states(self) -> dict[str, str]:
        """What each actor does, by the Pod's uid."""
        return {
            uid: self._actors[uid].state if uid in self._actors else "crashed"
            for uid in self._bells
        }

    def census(self) -> ActorCensus:
        now = trio.current_time()
        states = Counter(dict.fromkeys(("working", "resting", "retrying", "crashed"), 0))
        states.update(self.states().values())
        rung = (bell.rung_at for bell in self._bells.values() if bell.rung_at is not None)
        return ActorCensus(states, now - min(rung, default=now))

    async def _run(self, uid: PodUID) -> None:
        pod = self._context.pods.get(uid)
        if pod is not None:
            structlog.contextvars.bind_contextvars(
                pod=pod.metadata.name, namespace=pod.metadata.namespace, pod_uid=uid
            )
        while True:
            actor = self._actors[uid] = PodActor(self._context, uid, self._bells[uid])
            try:
                await actor.run()
            except Exception:  # a bug stays in its Pod, the others go on
                log.exception("pod actor crashed")
                self._context.metrics.crashes.inc()
                del self._actors[uid]
                await trio.sleep(_RESTART_AFTER_BUG_SECONDS)
            else:
                break
        # No await since the actor's last look: no wake() can be lost here.
        del self._bells[uid], self._actors[uid]
        self._context.consoles.forget(uid)
        self._context.means.measurements.forget(uid)

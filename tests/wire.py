"""The daemon's way to a simulator: written down, watched, disturbed, and cut when it is killed."""

from __future__ import annotations

import math
from enum import Enum
from typing import Protocol

import attrs
import trio

from kraftlet_trio.http.messages import ConnectionDropped, Handler, Request, Response
from kraftlet_trio.simulators.cloud.faults import Effect, Faults


class Moment(Enum):
    """When a planned kill strikes."""

    BEFORE = "before the request"
    AFTER = "after it was committed, its answer lost"


@attrs.frozen
class Exchange:
    """One request of the daemon, and what became of it."""

    api: str
    request: Request
    at: float
    status: int | None
    """None where no answer reached the daemon."""

    @property
    def line(self) -> str:
        return f"{self.request.method} {self.request.path}"

    @property
    def is_write(self) -> bool:
        return is_write(self.request)


def is_write(request: Request) -> bool:
    """Whether the request changes what a Pod, Service or claim has: no lease, no event."""
    return (
        request.method != "GET"
        and not request.path.endswith("/events")
        and ("/leases" not in request.path and "/events/" not in request.path)
    )


@attrs.frozen
class LateAnswer:
    """Do what was asked at once, and answer so much later: it is old news by then."""

    seconds: float


class Disturbances(Faults):
    """The simulators' faults, and answers that come late."""

    async def _strike(
        self, effect: Effect | LateAnswer, request: Request, handler: Handler
    ) -> Response:
        if not isinstance(effect, LateAnswer):
            return await super()._strike(effect, request, handler)
        response = await handler(request)
        await trio.sleep(effect.seconds)
        return response


class Watcher(Protocol):
    """Is told of every request, before it is carried out and after that."""

    def before(self, api: str, request: Request) -> None: ...

    def after(self) -> None: ...

    def broken(self, what: str) -> None: ...


@attrs.define
class Life:
    """One life of the daemon, from its start to its kill."""

    watcher: Watcher
    exchanges: list[Exchange]
    writes: int = 0
    """Requests so far that ``is_write``."""
    kill_at: float = math.inf
    """The number of the write that it does not survive; the first is 1."""
    kill_moment: Moment = Moment.BEFORE
    dead: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    killed: trio.Event = attrs.field(factory=trio.Event)

    def kill(self) -> None:
        """End it where it is: nothing more of it reaches a simulator, no clean-up either."""
        self.dead = True
        self.scope.cancel()
        self.killed.set()

    async def survive(self) -> None:
        """Return at once while alive, never when dead."""
        if self.dead:
            await trio.sleep_forever()


@attrs.frozen
class Wire:
    """A handler in front of a simulator's own."""

    api: str
    handler: Handler
    faults: Disturbances
    life: Life

    async def handle(self, request: Request) -> Response:
        life = self.life
        await life.survive()
        strikes = False
        if is_write(request):
            life.writes += 1
            strikes = life.writes == life.kill_at
        if strikes and life.kill_moment is Moment.BEFORE:
            life.kill()
            await life.survive()
        status = None
        try:
            response = await self.faults.handle(request, self._commit)
            if strikes:
                life.kill()
                await life.survive()
            status = response.status
        finally:
            life.exchanges.append(Exchange(self.api, request, trio.current_time(), status))
        return response

    async def _commit(self, request: Request) -> Response:
        await self.life.survive()  # a fault may have held it up
        watcher = self.life.watcher
        watcher.before(self.api, request)
        try:
            return await self.handler(request)
        except ConnectionDropped:
            raise
        except Exception as error:
            watcher.broken(
                f"{self.api} simulator failed at {request.method} {request.path}: {error!r}"
            )
            raise
        finally:
            watcher.after()


@attrs.frozen
class Death:
    """Plan for a life: to end at the write number *count*."""

    count: int
    moment: Moment

    def __call__(self, life: Life) -> None:
        life.kill_at, life.kill_moment = self.count, self.moment

"""Scripted faults: what goes wrong with which requests, and how often."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import trio

from kraftlet_trio.http.messages import ConnectionDropped, Handler, Request, Response
from kraftlet_trio.simulators.cloud.distortions import skewed, truncated, unfamiliar
from kraftlet_trio.simulators.cloud.envelope import refusal

_LONGEST_SECONDS = 10.0**9


def _is_status(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not 200 <= value <= 599:
        raise ValueError(f"{attribute.name} {value} is not from 200 to 599")


def _is_duration(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= _LONGEST_SECONDS:
        raise ValueError(f"{attribute.name} {value} is not a number of seconds from 0 on")


@attrs.frozen
class AnswerStatus:
    """Answer with this status, in the platform's envelope, instead of doing anything."""

    status: int = attrs.field(validator=_is_status)
    message: str = "injected fault"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Such as ``retry-after``."""


@attrs.frozen
class AnswerHtml:
    """Answer as the metro's proxy does when what is behind it does not."""

    status: int = attrs.field(default=502, validator=_is_status)


@attrs.frozen
class DropBefore:
    """Cut the connection, with nothing done."""


@attrs.frozen
class CommitThenDrop:
    """Do what was asked, then cut the connection instead of answering."""


@attrs.frozen
class Delay:
    """Wait, then go on as usual."""

    seconds: float = attrs.field(validator=_is_duration)


@attrs.frozen
class Duplicate:
    """Do what was asked twice, as after a proxy's repetition; the second answer counts."""


@attrs.frozen
class Truncate:
    """Answer with the beginning of the body only, as a complete response."""

    keep: float = attrs.field(default=0.5)
    """The part that is left."""

    @keep.validator
    def _is_part(self, _attribute: attrs.Attribute[float], value: float) -> None:
        if not 0 <= value < 1:
            raise ValueError(f"keep {value} is not from 0 to below 1")


@attrs.frozen
class Unfamiliar:
    """Answer like a later release: with fields, states and codes that nobody knows yet."""

    fields: Mapping[str, Any] = attrs.field(factory=lambda: {"x_unfamiliar": {"is": ["new"]}})
    """Added to the envelope and to each item."""
    state: str | None = None
    """Instead of each item's."""
    code: int | None = None
    """Instead of each failed item's."""


@attrs.frozen
class SkewClock:
    """Answer with all times of the platform moved; negative: into the past."""

    seconds: float = attrs.field()

    @seconds.validator
    def _is_finite(self, _attribute: attrs.Attribute[float], value: float) -> None:
        if not abs(value) <= _LONGEST_SECONDS:
            raise ValueError(f"seconds {value} is too far away")


@attrs.frozen
class SetQuotas:
    """From then on these hard quotas hold, then go on as usual. What exists stays."""

    hard: Mapping[str, int] = attrs.field()
    """By name, as in ``live_vcpus``."""


Effect = (
    AnswerStatus
    | AnswerHtml
    | DropBefore
    | CommitThenDrop
    | Delay
    | Duplicate
    | Truncate
    | Unfamiliar
    | SkewClock
    | SetQuotas
)


def _is_pattern(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{attribute.name} {value!r} is no regular expression: {error}") from error


@attrs.define(eq=False)
class Fault:
    """*effect* strikes the next *times* requests that match."""

    effect: Effect
    method: str = attrs.field(default=".*", validator=_is_pattern)
    """A regular expression for the whole of it."""
    path: str = attrs.field(default=".*", validator=_is_pattern)
    """Likewise, percent-encoded and without the query."""
    times: float = 1
    """``math.inf``: until it is removed."""
    body: str = attrs.field(default="", validator=_is_pattern)
    """A regular expression for any part of it."""
    skip: int = 0
    """So many matching requests are let through first."""
    probability: float = 1.0
    """Of striking one that matches; the others do not count."""
    struck: int = attrs.field(default=0, init=False)
    """How many requests, so far."""

    def __attrs_post_init__(self) -> None:
        if not (self.times >= 1 and (self.times == math.inf or self.times == int(self.times))):
            raise ValueError(f"times {self.times} is not a number from 1 on, or without end")
        if self.skip < 0:
            raise ValueError(f"skip {self.skip} is negative")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability {self.probability} is not from 0 to 1")

    def strikes(self, request: Request, chance: random.Random) -> bool:
        """Whether it strikes *request*, which is counted then."""
        if self.struck >= self.times or not self._matches(request):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.probability < 1 and chance.random() >= self.probability:
            return False
        self.struck += 1
        return True

    def _matches(self, request: Request) -> bool:
        return bool(
            re.fullmatch(self.method, request.method)
            and re.fullmatch(self.path, request.path)
            and (not self.body or re.search(self.body, request.body.decode(errors="replace")))
        )


def _no_quotas(_hard: Mapping[str, int]) -> None:
    raise ValueError("there are no quotas to set")


class Faults:
    """The faults in force. All that strike a request do so, the first one outermost."""

    def __init__(self, set_quotas: Callable[[Mapping[str, int]], None] = _no_quotas) -> None:
        self._faults: list[Fault] = []
        self._chance = random.Random()
        self._set_quotas = set_quotas

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(
        self,
        effect: Effect,
        *,
        method: str = ".*",
        path: str = ".*",
        body: str = "",
        times: float = 1,
        skip: int = 0,
        probability: float = 1.0,
    ) -> Fault:
        """Raises ``ValueError`` where *method*, *path* or another does not make sense."""
        fault = Fault(effect, method, path, times, body, skip, probability)
        self._faults.append(fault)
        return fault

    def replace(self, faults: Sequence[Fault], *, seed: int | None = None) -> None:
        """Only *faults* from now on; whom they strike by chance follows from *seed*."""
        self._faults = list(faults)
        self._chance = random.Random(seed)

    def clear(self) -> None:
        self._faults.clear()

    async def handle(self, request: Request, handler: Handler) -> Response:
        """Answer *request* by *handler*, unless faults have it otherwise."""
        return await self._handle_with(list(self._faults), request, handler)

    async def _handle_with(
        self, faults: Sequence[Fault], request: Request, handler: Handler
    ) -> Response:
        striking = next(
            (at for at, fault in enumerate(faults) if fault.strikes(request, self._chance)), None
        )
        if striking is None:
            return await handler(request)
        rest = faults[striking + 1 :]
        return await self._strike(
            faults[striking].effect,
            request,
            lambda request: self._handle_with(rest, request, handler),
        )

    async def _strike(self, effect: Effect, request: Request, handler: Handler) -> Response:
        match effect:
            case AnswerStatus(status, message, headers):
                answer = refusal(status, message)
                return attrs.evolve(answer, headers={**answer.headers, **headers})
            case AnswerHtml(status):
                return Response(
                    status=status,
                    headers={"content-type": "text/html"},
                    body=f"<html><body><h1>{status}</h1></body></html>".encode(),
                )
            case DropBefore():
                raise ConnectionDropped
            case CommitThenDrop():
                await handler(request)
                raise ConnectionDropped
            case Delay(seconds):
                await trio.sleep(seconds)
            case Duplicate():
                await handler(request)
            case Truncate(keep):
                return truncated(await handler(request), keep)
            case Unfamiliar(fields, state, code):
                return unfamiliar(await handler(request), fields, state, code)
            case SkewClock(seconds):
                return skewed(await handler(request), seconds)
            case SetQuotas(hard):
                self._set_quotas(hard)
        return await handler(request)

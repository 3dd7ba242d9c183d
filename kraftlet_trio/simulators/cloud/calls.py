"""Requests to the simulated API, and the one way in which their items are worked through.

By-UUID forms and bulk forms differ only in where the items come from: the path and one object,
or a list of objects that name their resources.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

import attrs
import trio

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.cloud.account import Account
from kraftlet_trio.simulators.cloud.audit import Audit
from kraftlet_trio.simulators.cloud.envelope import Outcome, failure, success
from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError
from kraftlet_trio.simulators.cloud.faults import Faults
from kraftlet_trio.simulators.cloud.gateway import Gateway
from kraftlet_trio.simulators.cloud.identifiers import Identifier, read_identifier
from kraftlet_trio.simulators.cloud.images import ImageCatalogue
from kraftlet_trio.simulators.cloud.lifecycle import Lifecycle
from kraftlet_trio.simulators.cloud.members import Members
from kraftlet_trio.simulators.cloud.operations import Operation, read_operation
from kraftlet_trio.simulators.cloud.records import Collection, Record
from kraftlet_trio.simulators.cloud.runtime import Runtime
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.validation import valid_uuid

T = TypeVar("T")
R = TypeVar("R", bound=Record)


@attrs.frozen(kw_only=True)
class Cloud:
    """What endpoints work on."""

    account: Account
    audit: Audit
    faults: Faults
    images: ImageCatalogue
    runtime: Runtime
    lifecycle: Lifecycle
    nursery: trio.Nursery
    """For what goes on behind an answer."""
    gateway: Gateway | None
    """None where service groups do not listen."""
    settings: CloudSettings


@attrs.frozen(kw_only=True)
class Query:
    """The parameters of a request, decoded but for the plus sign, which tags may have."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, query_string: str) -> Query:
        pairs = (part.partition("=") for part in query_string.split("&") if part)
        return cls(pairs=tuple((unquote(name), value) for name, _, value in pairs))

    def all(self, name: str) -> list[str]:
        return [unquote(value) for key, value in self.pairs if key == name]

    def last(self, name: str) -> str | None:
        values = self.all(name)
        return values[-1] if values else None

    def flag(self, name: str, *, default: bool) -> bool:
        match self.last(name):
            case None:
                return default
            case "true":
                return True
            case "false":
                return False
            case value:
                raise BadRequest(f"Invalid value '{value}' for '{name}'")

    def last_list(self, name: str) -> list[str]:
        """Items of the last parameter with that name, parted by literal commas."""
        values = [value for key, value in self.pairs if key == name]
        return [unquote(item) for item in values[-1].split(",") if item] if values else []

    def literal_list(self, name: str) -> list[str]:
        """Items parted by literal commas: an encoded one belongs to its item."""
        return [
            unquote(item)
            for key, value in self.pairs
            if key == name
            for item in value.split(",")
            if item
        ]


@attrs.frozen(kw_only=True)
class Call:
    """A request on its way to an endpoint."""

    request: Request
    query: Query
    uuid: str | None
    """Of a by-UUID form, as it stands in the path."""
    name: str = ""
    """Another word of the path, decoded."""
    rest: str = ""
    """What follows the path of a plugin, percent-encoded, without a slash before it."""
    authorized: bool = True
    """Whether it has the platform's token."""
    began: float
    """On Trio's clock."""

    def body(self) -> Any:
        """The JSON body, None if there is none. Raises ``BadRequest``."""
        if not self.request.body:
            return None
        try:
            return self.request.json()
        except ValueError as error:
            raise BadRequest("The request body is not JSON") from error

    def object(self) -> dict[str, Any]:
        """The body of a request that takes one object. Raises ``BadRequest``."""
        body = self.body()
        if not isinstance(body, dict):
            raise BadRequest("Expected an object")
        return body

    def items(self) -> list[Any]:
        """The objects to work on, still unread: an object stands for a list of one."""
        body = self.body()
        if self.uuid is not None:
            return [{} if body is None else body]
        if body is None:
            raise BadRequest("A request body is needed")
        return body if isinstance(body, list) else [body]

    def items_or_query(self) -> list[Any]:
        """Like :meth:`items`, but without a body those that the query identifies."""
        if self.uuid is not None or self.request.body:
            return self.items()
        uuids = [{"uuid": uuid} for uuid in self.query.literal_list("uuid")]
        return [*uuids, *({"name": name} for name in self.query.all("name"))]

    def target(self, members: Members) -> Identifier:
        """The resource that an item is about."""
        if self.uuid is not None:
            return Identifier(uuid=valid_uuid(self.uuid))
        return read_identifier(members)

    def only_target(self, members: Members) -> Identifier:
        """The resource that an item is about, where the item says nothing else."""
        target = self.target(members)
        members.done()
        return target


Waiting = Callable[[], Awaitable[Outcome | list[Outcome]]]
"""The rest of an action that takes time; its outcome comes at the end. Raises ``ItemError``."""


async def perform_each(
    call: Call,
    items: Sequence[Any],
    read: Callable[[Members], T],
    act: Callable[[T], Outcome | Waiting | list[Outcome]],
) -> list[Outcome]:
    """Read all *items*, act on one after the other, then wait for all that takes time together.

    Outcomes are in the order of the items, which fail one by one. Raises ``BadRequest`` if reading
    finds any item malformed: then nothing was done. An item whose fault shows only when it is
    acted on fails alone.
    """
    ready: list[T | ItemError] = []
    for item in items:
        members = Members(item, "an item")
        try:
            ready.append(read(members))
        except ItemError as error:
            ready.append(error)
    results: list[Outcome | Waiting | list[Outcome]] = []
    for item, prepared in zip(items, ready, strict=True):
        try:
            if isinstance(prepared, ItemError):
                raise prepared
            results.append(act(prepared))
        except ItemError as error:
            results.append(failure(error, **_identity(call, item)))
        except BadRequest as error:
            malformed = ItemError(ErrorCode.MALFORMED, str(error))
            results.append(failure(malformed, **_identity(call, item)))
    return await _all_outcomes(results, [_identity(call, item) for item in items])


async def perform_operations(
    call: Call, records: Collection[R], update: Callable[[R, Operation], None]
) -> list[Outcome]:
    """Carry out a PATCH."""

    def read(members: Members) -> Operation:
        operation = read_operation(call.target(members), members)
        members.done()
        return operation

    def act(operation: Operation) -> Outcome:
        record = records.find(operation.target)
        update(record, operation)
        echoed = {} if operation.id is None else {"id": operation.id}
        return success(uuid=record.uuid, name=record.name, **echoed)

    return await perform_each(call, call.items(), read, act)


async def _all_outcomes(
    results: list[Outcome | Waiting | list[Outcome]], identities: list[dict[str, str]]
) -> list[Outcome]:
    outcomes: list[list[Outcome]] = [[] for _ in results]

    async def wait(index: int, waiting: Waiting) -> None:
        try:
            outcome = await waiting()
        except ItemError as error:
            outcome = failure(error, **identities[index])
        outcomes[index] = outcome if isinstance(outcome, list) else [outcome]

    async with trio.open_nursery() as nursery:
        for index, result in enumerate(results):
            match result:
                case dict():
                    outcomes[index] = [result]
                case list():
                    outcomes[index] = result
                case _:
                    nursery.start_soon(wait, index, result)
    return [outcome for group in outcomes for outcome in group]


def _identity(call: Call, item: dict[str, Any]) -> dict[str, str]:
    if call.uuid is not None:
        return {"uuid": call.uuid}
    return {key: item[key] for key in ("uuid", "name") if isinstance(item.get(key), str)}


def wait_seconds(timeout_s: int, settings: CloudSettings) -> float:
    """What a timeout in a request amounts to; -1 is as long as the platform allows."""
    return settings.longest_wait_seconds if timeout_s < 0 else float(timeout_s)


def drain_seconds(drain_timeout_ms: int | None, settings: CloudSettings) -> float:
    """How long a guest may take to stop; without a drain, the platform's own grace."""
    if not drain_timeout_ms:
        return settings.stop_grace_seconds
    if drain_timeout_ms < 0:
        return settings.longest_wait_seconds
    return drain_timeout_ms / 1000

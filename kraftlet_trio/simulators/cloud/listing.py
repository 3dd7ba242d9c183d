"""Which resources a read is about: filters, pages, order (platform reference, conventions)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from kraftlet_trio.simulators.cloud.calls import Call
from kraftlet_trio.simulators.cloud.envelope import Outcome, failure, success
from kraftlet_trio.simulators.cloud.errors import BadRequest, ItemError
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.records import Record
from kraftlet_trio.simulators.cloud.settings import CloudSettings
from kraftlet_trio.simulators.cloud.validation import valid_uuid

R = TypeVar("R", bound=Record)
R_co = TypeVar("R_co", bound=Record, covariant=True)


class Readable(Protocol[R_co]):
    """Records of one kind, in the order of their creation."""

    def __iter__(self) -> Iterator[R_co]: ...

    def find(self, identifier: Identifier) -> R_co:
        """Raises ``ItemError``: not found."""


_PARAMETERS = frozenset({"uuid", "name", "details", "count", "from", "order", "sortby"})


def read_records(
    call: Call,
    records: Readable[R],
    details: Callable[[R], dict[str, Any]],
    settings: CloudSettings,
    *,
    tags: Callable[[R], Sequence[str]] | None = None,
    single_in_full: bool = False,
) -> list[Outcome]:
    """Outcomes for a by-UUID read, a read of certain resources, or one page of a list.

    *tags* are a record's, for kinds that can be filtered by them. *single_in_full*: a by-UUID read
    needs no asking for details. Raises ``BadRequest``.
    """
    allowed = _PARAMETERS if tags is None else _PARAMETERS | {"tags"}
    for name, _ in call.query.pairs:
        if name not in allowed:
            raise BadRequest(f"Unknown parameter '{name}'")
    in_full = settings.default_details or (single_in_full and call.uuid is not None)
    show_details = call.query.flag("details", default=in_full)

    def shown(record: R) -> Outcome:
        reference = {"uuid": record.uuid, "name": record.name}
        return success(**(details(record) if show_details else reference))

    wanted = _identified(call)
    if wanted:
        return [_found(identity, records, shown) for identity in wanted]
    asked = set(call.query.literal_list("tags")) if tags is not None else set()
    matching = [record for record in records if not tags or asked <= set(tags(record))]
    return [shown(record) for record in _page(call, matching, settings)]


def _identified(call: Call) -> list[dict[str, str]]:
    if call.uuid is not None:
        return [{"uuid": call.uuid}]
    uuids = [{"uuid": uuid} for uuid in call.query.all("uuid")]
    return [*uuids, *({"name": name} for name in call.query.all("name"))]


def _found(
    identity: dict[str, str], records: Readable[R], shown: Callable[[R], Outcome]
) -> Outcome:
    try:
        if "uuid" in identity:
            return shown(records.find(Identifier(uuid=valid_uuid(identity["uuid"]))))
        return shown(records.find(Identifier(name=identity["name"])))
    except ItemError as error:
        return failure(error, **identity)


def _page(call: Call, matching: list[R], settings: CloudSettings) -> list[R]:
    """The page begins with the cursor itself; a cursor that is gone begins an empty one."""
    match call.query.last("order") or "asc":
        case "asc":
            pass
        case "desc":
            matching.reverse()
        case order:
            raise BadRequest(f"Invalid value '{order}' for 'order'")
    if (key := call.query.last("sortby")) not in (None, "create_time"):
        raise BadRequest(f"Invalid value '{key}' for 'sortby'")
    if cursor := call.query.last("from"):
        begin = next(
            (index for index, record in enumerate(matching) if record.uuid == cursor.lower()),
            len(matching),
        )
        matching = matching[begin:]
    return matching[: _count(call, settings)]


def _count(call: Call, settings: CloudSettings) -> int:
    text = call.query.last("count")
    if text is None:
        return settings.most_items_a_page
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < 1:
        raise BadRequest(f"Invalid value '{text[:80]}' for 'count'")
    return min(int(text), settings.most_items_a_page)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, as the platform writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

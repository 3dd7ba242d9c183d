"""The platform API in typed calls: instances, service groups, volumes, an account's quotas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import attrs
import httpx

from kraftlet_trio.cloud.access import CloudAccess
from kraftlet_trio.cloud.audit_stream import LONGEST_SILENCE_SECONDS
from kraftlet_trio.cloud.console import (
    CONSOLE_PAGE_BYTES,
    ConsolePage,
    ConsolePart,
    ConsoleReading,
    console_page,
)
from kraftlet_trio.cloud.envelope import Envelope
from kraftlet_trio.cloud.errors import CloudUnavailable, ResourceNotFound
from kraftlet_trio.cloud.listing import Listing
from kraftlet_trio.cloud.objects import (
    DELETED,
    Certificate,
    DomainRequest,
    Health,
    Image,
    Instance,
    InstanceMetrics,
    InstancePatch,
    InstanceRequest,
    Quotas,
    Service,
    ServiceGroup,
    ServiceGroupRequest,
    Volume,
    VolumeRequest,
)
from kraftlet_trio.cloud.sandbox import SandboxClient
from kraftlet_trio.cloud.serialization import structure, unstructure
from kraftlet_trio.cloud.session import Call, CloudSession, Stream

T = TypeVar("T")

INSTANCES_A_READ = 50
"""Keeps the query within what proxies accept (some 2 KB)."""


@attrs.frozen
class InstanceReading:
    """What a read of certain instances found. One that could not be told about is in neither."""

    found: tuple[Instance, ...]
    missing: frozenset[str]
    """UUIDs of those that do not exist."""


class CloudClient:
    """Typed calls to one metro. Use as an async context manager.

    Every call ends within a few minutes even if nobody answers, and raises ``CloudError``:
    ``CloudUnavailable`` where nothing is known, ``CloudUnauthorized`` for the token, else a
    ``CloudRefused``. Instances that the platform retains after their deletion do not exist here.
    """

    def __init__(
        self, access: CloudAccess, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.base_url = access.base_url
        self._session = CloudSession(access, transport)
        self.requests = self._session.requests
        """Those made, counted and timed."""
        self.sandbox = SandboxClient(self._session)
        """For instances with the sandbox plugin."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.aclose()

    async def create_instance(self, request: InstanceRequest) -> Instance:
        """The new instance; what the short answer leaves out is taken from *request*.

        Not repeated when the answer is lost (``CloudUnavailable``): look it up by name first.

        Raises:
            NameTaken: an instance has that name, perhaps one that this daemon made before.
            ResourceNotFound: a volume or service group that *request* names does not exist.
            QuotaExceeded: not allowed now.
        """
        return await self._create(_INSTANCES, request.name, request)

    async def get_instances(
        self, *, uuids: Sequence[str] = (), names: Sequence[str] = ()
    ) -> list[Instance]:
        """Those of the instances that exist, with details."""
        wanted = [("uuid", uuid) for uuid in uuids] + [("name", name) for name in names]
        instances: list[Instance] = []
        for chunk in _chunks(wanted):
            envelope = await self._read_instances(chunk)
            instances += _instances(_existing(envelope, "instances"))
        return instances

    async def read_instances(self, uuids: Sequence[str]) -> InstanceReading:
        """Read *uuids* so that one that does not exist is told from one that could not be read."""
        found: list[Instance] = []
        missing: set[str] = set()
        for chunk in _chunks(uuids):
            envelope = await self._read_instances([("uuid", uuid) for uuid in chunk])
            items = envelope.items("instances")
            existing: list[dict[str, Any]] = []
            unreadable: set[str] = set()
            for position, item in enumerate(items):
                failure = envelope.failure(item)
                if failure is None:
                    existing.append(item)
                elif not isinstance(failure, ResourceNotFound):
                    # Items come in the order asked for; a failed one may not repeat its uuid.
                    in_order = chunk[position] if len(items) == len(chunk) else ""
                    unreadable.add(item.get("uuid") or in_order)
            instances = _instances(existing)
            found += instances
            if "" not in unreadable:
                missing |= set(chunk) - unreadable - {instance.uuid for instance in instances}
        return InstanceReading(tuple(found), frozenset(missing))

    async def read_metrics(self, uuids: Sequence[str]) -> list[InstanceMetrics]:
        """What those of *uuids* use that can be read, in one request, however many they are.

        It wakes none of them.
        """
        wanted = set(uuids)
        # The platform answers about the whole account where none is named.
        named = uuids if len(uuids) <= INSTANCES_A_READ else ()
        envelope = await self._session.answer(
            Call(
                about="read metrics",
                method="GET",
                path=f"{_INSTANCES.path}/metrics",
                query=_query([("uuid", uuid) for uuid in named]),
            )
        )
        return [
            structure(item, InstanceMetrics)
            for item in envelope.items(_INSTANCES.key)
            if envelope.failure(item) is None and item.get("uuid") in wanted
        ]

    async def list_instances(self, *, tags: Sequence[str]) -> list[Instance]:
        """All instances that carry every one of *tags*, with details."""
        instances = await self._list(_INSTANCES, tags)
        return [instance for instance in instances if instance.state != DELETED]

    @asynccontextmanager
    async def audit_stream(self, *, tags: Sequence[str]) -> AsyncGenerator[Stream, None]:
        """What happens to instances that carry every one of *tags*, for ``EventStreamParser``.

        Raises ``CloudRefused`` where the account has no such stream, ``CloudUnavailable``.
        """
        query = "tags=" + ",".join(map(_quoted, tags))
        call = Call(about="follow events", method="GET", path="/v1/audit", query=query)
        async with self._session.stream(
            call, longest_silence_seconds=LONGEST_SILENCE_SECONDS
        ) as stream:
            yield stream

    async def start_instance(self, uuid: str) -> None:
        """Nothing happens to one that runs. Raises ``ResourceNotFound``, ``QuotaExceeded``."""
        await self._session.perform(
            Call(
                about=f"start instance {uuid}",
                method="PUT",
                path=f"/v1/instances/{_quoted(uuid)}/start",
            ),
            "instances",
        )

    async def stop_instance(
        self, uuid: str, *, drain_timeout_ms: int = 0, force: bool = False
    ) -> None:
        """Ask it to stop; returns before it has. *force* kills it, and then nothing is drained.

        Raises ``ResourceNotFound``.
        """
        options: dict[str, Any] = {}
        if force:
            options["force"] = True
        elif drain_timeout_ms:
            options["drain_timeout_ms"] = drain_timeout_ms
        await self._session.perform(
            Call(
                about=f"stop instance {uuid}",
                method="PUT",
                path=f"/v1/instances/{_quoted(uuid)}/stop",
                body=options,
            ),
            "instances",
        )

    async def delete_instance(self, uuid: str) -> None:
        """Kill it if it runs, and delete it for good: a namesake may follow at once.

        One that does not exist is deleted already.
        """
        await self._delete(_INSTANCES, uuid, {"dont_retain": True})

    async def update_instance(self, uuid: str, patch: InstancePatch) -> None:
        """Set those of its properties that *patch* names, all or none of them before its next run.

        Raises ``ResourceNotFound``; ``CloudRefused`` for a value that cannot be.
        """
        changes = unstructure(patch)
        await self._session.perform(
            Call(
                about=f"update instance {uuid}",
                method="PATCH",
                path=_INSTANCES.path,
                body=[
                    {"uuid": uuid, "prop": prop, "op": "set", "value": value}
                    for prop, value in changes.items()
                ],
            ),
            _INSTANCES.key,
        )

    async def read_console(
        self, uuid: str, *, offset: int, limit: int = CONSOLE_PAGE_BYTES
    ) -> ConsolePage:
        """At most *limit* bytes of what it wrote, from *offset* on (negative: from the end).

        Raises ``ResourceNotFound``.
        """
        items = await self._session.perform(
            Call(
                about=f"read console of instance {uuid}",
                method="GET",
                path=f"{_INSTANCES.path}/{_quoted(uuid)}/log",
                body={"offset": offset, "limit": limit},
            ),
            _INSTANCES.key,
        )
        return console_page(items[0] if items else {})

    async def read_consoles(self, wanted: Sequence[ConsolePart]) -> ConsoleReading:
        """Parts of many consoles, one of each, in few requests."""
        pages: dict[str, ConsolePage] = {}
        missing: set[str] = set()
        for chunk in _chunks(wanted):
            envelope = await self._session.answer(
                Call(
                    about="read consoles",
                    method="GET",
                    path=f"{_INSTANCES.path}/log",
                    body=[attrs.asdict(part) for part in chunk],
                )
            )
            items = envelope.items(_INSTANCES.key)
            for position, item in enumerate(items):
                # Items come in the order asked for; a failed one may not repeat its uuid.
                in_order = chunk[position].uuid if len(items) == len(chunk) else ""
                uuid = item.get("uuid") or in_order
                failure = envelope.failure(item)
                if failure is None and uuid:
                    pages[uuid] = console_page(item)
                elif isinstance(failure, ResourceNotFound):
                    missing.add(uuid)
        return ConsoleReading(pages, frozenset(missing))

    async def create_service_group(self, request: ServiceGroupRequest) -> ServiceGroup:
        """The new group, which persists without instances. Read it again for its domains.

        Not repeated when the answer is lost (``CloudUnavailable``). Raises ``NameTaken``.
        """
        return await self._create(_SERVICE_GROUPS, request.name or "", request)

    async def get_service_group(self, name: str) -> ServiceGroup | None:
        return await self._get(_SERVICE_GROUPS, "name", name)

    async def list_service_groups(self) -> list[ServiceGroup]:
        """All of the account: groups carry no tags."""
        return await self._list(_SERVICE_GROUPS, ())

    async def update_service_group(
        self,
        uuid: str,
        *,
        services: tuple[Service, ...] | None = None,
        domains: tuple[DomainRequest, ...] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """Replace the group's ports, its domains, its limits, each where it is given.

        *limits* are ``soft_limit`` and ``hard_limit``, in an order in which each step is possible:
        the platform never lets the soft one be above the hard one.

        Raises ``ResourceNotFound``.
        """
        changes: dict[str, Any] = {"services": services, "domains": domains, **(limits or {})}
        await self._session.perform(
            Call(
                about=f"update service group {uuid}",
                method="PATCH",
                path="/v1/services",
                body=[
                    {"uuid": uuid, "prop": prop, "op": "set", "value": unstructure(value)}
                    for prop, value in changes.items()
                    if value is not None
                ],
            ),
            "service_groups",
        )

    async def delete_service_group(self, uuid: str) -> None:
        """One that does not exist is deleted already."""
        await self._delete(_SERVICE_GROUPS, uuid)

    async def read_certificate(self, uuid: str) -> Certificate | None:
        return await self._get(_CERTIFICATES, "uuid", uuid)

    async def delete_certificate(self, uuid: str) -> None:
        """One that does not exist is deleted already. Raises ``CloudRefused`` while it is used."""
        await self._delete(_CERTIFICATES, uuid)

    async def create_volume(self, request: VolumeRequest) -> Volume:
        """The new volume, perhaps not formatted yet; what the answer leaves out is *request*'s.

        Not repeated when the answer is lost (``CloudUnavailable``).
        Raises ``NameTaken``, ``QuotaExceeded``.
        """
        return await self._create(_VOLUMES, request.name, request)

    async def get_volume(self, name: str) -> Volume | None:
        return await self._get(_VOLUMES, "name", name)

    async def read_volume(self, uuid: str) -> Volume | None:
        return await self._get(_VOLUMES, "uuid", uuid)

    async def list_volumes(self, *, tags: Sequence[str]) -> list[Volume]:
        """All volumes that carry every one of *tags*, with details."""
        return await self._list(_VOLUMES, tags)

    async def grow_volume(self, uuid: str, size_mb: int) -> None:
        """Give it *size_mb* MiB. Raises ``ResourceNotFound``, ``QuotaExceeded``."""
        await self._session.perform(
            Call(
                about=f"grow volume {uuid}",
                method="PATCH",
                path=_VOLUMES.path,
                body=[{"uuid": uuid, "prop": "size_mb", "op": "set", "value": size_mb}],
            ),
            _VOLUMES.key,
        )

    async def delete_volume(self, uuid: str) -> None:
        """One that does not exist is deleted already. Raises ``ResourceBusy`` while attached."""
        await self._delete(_VOLUMES, uuid)

    async def list_images(self) -> list[Image]:
        """The images that the metro's machines have at hand."""
        call = Call(about="list images", method="GET", path="/v1/images")
        return [structure(item, Image) for item in await self._session.perform(call, "images")]

    async def quotas(self) -> Quotas:
        """The token owner's; all zero where the platform keeps none for them."""
        call = Call(about="read quotas", method="GET", path="/v1/users/quotas")
        items = await self._session.perform(call, "quotas")
        return structure(items[0], Quotas) if items else Quotas()

    async def health(self) -> Health:
        envelope = await self._session.answer(
            Call(about="read platform health", method="GET", path="/v1/healthz")
        )
        return structure(dict(envelope.data), Health)

    async def _create(self, kind: _Kind[T], name: str, request: Any) -> T:
        about = f"create {kind.noun} {name}"
        body = unstructure(request)
        items = await self._session.perform(
            Call(about=about, method="POST", path=kind.path, body=body, repeatable=False),
            kind.key,
        )
        if not items or not items[0].get("uuid"):
            raise CloudUnavailable(f"{about}: the answer does not name the {kind.noun}")
        told = {field: value for field, value in items[0].items() if value is not None}
        return structure({**_as_read(body), **told}, kind.cls)

    async def _get(self, kind: _Kind[T], key: str, value: str) -> T | None:
        """The one whose *key* (``name`` or ``uuid``) is *value*."""
        envelope = await self._session.answer(
            Call(
                about=f"read {kind.noun} {value}",
                method="GET",
                path=kind.path,
                query=_query([("details", "true"), (key, value)]),
            )
        )
        items = _existing(envelope, kind.key)
        return structure(items[0], kind.cls) if items else None

    async def _read_instances(self, wanted: Sequence[tuple[str, str]]) -> Envelope:
        return await self._session.answer(
            Call(
                about="read instances",
                method="GET",
                path=_INSTANCES.path,
                query=_query([("details", "true"), *wanted]),
            )
        )

    async def _list(self, kind: _Kind[T], tags: Sequence[str]) -> list[T]:
        about = f"list {kind.noun}s"
        # Oldest first: what is created meanwhile comes at the end and moves nothing.
        fixed = "details=true&sortby=create_time&order=asc"
        if tags:
            # Commas part the tags only when they are literal.
            fixed += "&tags=" + ",".join(_quoted(tag) for tag in tags)
        listing: Listing[T] = Listing()
        while not listing.finished:
            if listing.stuck:
                raise CloudUnavailable(f"{about}: the pages do not fit together")
            call = Call(about=about, method="GET", path=kind.path, query=f"{fixed}&{listing.query}")
            page = await self._session.perform(call, kind.key)
            # Page by page: the decoded JSON of thousands would keep the garbage collector busy.
            listing.adopt(
                [(item["uuid"], structure(item, kind.cls)) for item in page if item.get("uuid")]
            )
        return listing.items

    async def _delete(
        self, kind: _Kind[Any], uuid: str, options: Mapping[str, Any] | None = None
    ) -> None:
        call = Call(
            about=f"delete {kind.noun} {uuid}",
            method="DELETE",
            path=f"{kind.path}/{_quoted(uuid)}",
            body=options,
        )
        with suppress(ResourceNotFound):
            await self._session.perform(call, kind.key)


@attrs.frozen
class _Kind(Generic[T]):
    noun: str
    path: str
    key: str
    """Of the list in answers."""
    cls: type[T]


_INSTANCES = _Kind("instance", "/v1/instances", "instances", Instance)
_SERVICE_GROUPS = _Kind("service group", "/v1/services", "service_groups", ServiceGroup)
_CERTIFICATES = _Kind("certificate", "/v1/certificates", "certificates", Certificate)
_VOLUMES = _Kind("volume", "/v1/volumes", "volumes", Volume)


def _existing(envelope: Envelope, key: str) -> list[dict[str, Any]]:
    """The items that exist. Raises the ``CloudError`` of one that could not be read."""
    existing = []
    for item in envelope.items(key):
        failure = envelope.failure(item)
        if failure is None:
            existing.append(item)
        elif not isinstance(failure, ResourceNotFound):
            raise failure
    return existing


def _instances(items: Iterable[dict[str, Any]]) -> list[Instance]:
    instances = (structure(item, Instance) for item in items)
    return [instance for instance in instances if instance.state != DELETED]


def _as_read(request: dict[str, Any]) -> dict[str, Any]:
    """A create's body in the form in which a read shows the same resource."""
    read = {name: value for name, value in request.items() if name != "domains"}
    if isinstance(image := request.get("image"), dict):
        read["image"] = image["url"]
    if group := request.get("service_group"):
        read["service_group"] = {key: group[key] for key in ("uuid", "name") if key in group}
    return read


def _chunks(wanted: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(wanted), INSTANCES_A_READ):
        yield wanted[start : start + INSTANCES_A_READ]


def _query(parameters: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{name}={_quoted(value)}" for name, value in parameters)


def _quoted(text: str) -> str:
    return quote(text, safe="")

"""Typed calls to the Kubernetes API."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import attrs
import cattrs
import httpx
import orjson

from kraftlet_trio.kubernetes.config import ClusterAccess
from kraftlet_trio.kubernetes.connection import ApiConnection, Call
from kraftlet_trio.kubernetes.errors import Expired, KubernetesUnavailable
from kraftlet_trio.kubernetes.resources import LEASES, KubernetesObject, Resource
from kraftlet_trio.kubernetes.serialization import structure
from kraftlet_trio.kubernetes.watch import (
    LineSplitter,
    WatchEvent,
    log_unreadable,
    read_watch_line,
)

T = TypeVar("T", bound=KubernetesObject)

MergePatch = Mapping[str, Any]
JsonPatch = Sequence[Mapping[str, Any]]

PAGE_SIZE = 500
WATCH_SECONDS = (300, 600)
"""A watch is asked to end after a random time between these, as client-go does."""


class PatchKind(Enum):
    """How a patch's body is read; the value is its content type."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    JSON = "application/json-patch+json"


@attrs.frozen
class Listing(Generic[T]):
    items: tuple[T, ...]
    resource_version: str
    """Where a watch that misses nothing goes on from."""


class KubernetesClient:
    """Calls to the API server of *access*. An async context manager.

    Every call raises ``KubernetesError`` and ends within about a minute and a half. Reads,
    patches, replacements and deletions by uid are repeated while the server is unavailable, so
    one that succeeded unheard may end in ``Conflict`` or ``NotFound``. A create that ends in
    ``KubernetesUnavailable`` may have happened.
    """

    def __init__(
        self, access: ClusterAccess, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._api = ApiConnection(access, transport)
        self.requests = self._api.requests
        """Those made, counted and timed."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._api.aclose()

    async def get(self, resource: Resource[T], name: str, *, namespace: str = "") -> T:
        call = Call(
            method="GET",
            path=resource.object_path(name, namespace),
            repeatable=True,
            limited=resource is not LEASES,
        )
        return await self._object(call, resource)

    async def list(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
        resource_version: str | None = None,
    ) -> Listing[T]:
        """All objects that match, read in pages.

        Without *resource_version* the present state; ``"0"`` takes what the server has at hand,
        which may be older than what was seen before; another one asks for at least that.
        Objects that cannot be read are logged and left out.
        """
        selection = _selection(field_selector, label_selector)
        query = {**selection, "limit": str(PAGE_SIZE)}
        if resource_version is not None:
            query["resourceVersion"] = resource_version
            query["resourceVersionMatch"] = "NotOlderThan"
        objects: tuple[T, ...] = ()
        while True:
            call = Call(
                method="GET",
                path=resource.collection_path(namespace),
                query=query,
                repeatable=True,
            )
            try:
                page = await self._document(call)
            except Expired:
                if "continue" not in query:
                    raise
                # Paging took longer than the server's history reaches back: all at once.
                objects, query = (), selection
                continue
            objects += tuple(_readable(page.get("items") or (), resource))
            metadata = page.get("metadata") or {}
            if not (rest := metadata.get("continue")):
                return Listing(objects, str(metadata.get("resourceVersion", "")))
            query = {**selection, "limit": str(PAGE_SIZE), "continue": rest}

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource[T],
        *,
        resource_version: str,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
    ) -> AsyncGenerator[AsyncIterator[WatchEvent[T]], None]:
        """Changes since *resource_version*, for 5 to 10 minutes or until the server ends it.

        Raises on entry and while iterating: ``Expired`` when the server's history does not
        reach back so far, ``KubernetesUnavailable`` when the connection fails or is silent for
        3 minutes. Never repeated.
        """
        call = Call(
            method="GET",
            path=resource.collection_path(namespace),
            query={
                **_selection(field_selector, label_selector),
                "watch": "1",
                "allowWatchBookmarks": "true",
                "resourceVersion": resource_version,
                "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),
            },
            repeatable=True,
            limited=False,
        )
        async with self._api.stream(call) as pieces:
            yield _WatchEvents(pieces, resource, call)

    async def create(
        self, resource: Resource[T], body: Mapping[str, Any], *, namespace: str = ""
    ) -> T:
        """Raises ``AlreadyExists``, among others."""
        call = Call(
            method="POST",
            path=resource.collection_path(namespace),
            content=_typed(body, resource),
            repeatable=False,
            limited=resource is not LEASES,
        )
        return await self._object(call, resource)

    async def create_subresource(
        self,
        resource: Resource[T],
        name: str,
        subresource: str,
        body: Mapping[str, Any],
        *,
        namespace: str,
    ) -> dict[str, Any]:
        """POST to ``…/<name>/<subresource>``; *body* names its own kind. The answer as it comes."""
        call = Call(
            method="POST",
            path=resource.object_path(name, namespace, subresource),
            content=orjson.dumps(body),
            repeatable=False,
        )
        return await self._document(call)

    async def review(self, path: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """POST a question that is answered and not stored; the answer's ``status`` as it comes.

        *path* is such as ``apis/authentication.k8s.io/v1/tokenreviews``.
        """
        group_and_version = path.removeprefix("apis/").rpartition("/")[0]
        body = {"apiVersion": group_and_version, "kind": kind, "spec": spec}
        # A question may be asked twice.
        call = Call(method="POST", path=f"/{path}", content=orjson.dumps(body), repeatable=True)
        status = (await self._document(call)).get("status")
        if not isinstance(status, dict):
            raise KubernetesUnavailable(f"{call}: the answer is no {kind} with a status")
        return status

    async def list_as_sent(self, resource: Resource[T], *, field_selector: str = "") -> bytes:
        """The JSON of a list, with fields that are modelled here and those that are not.

        It is what the server has at hand, in one piece, perhaps a little older than what was seen.
        """
        query = {**_selection(field_selector, ""), "resourceVersion": "0"}
        path = resource.collection_path()
        return await self._api.answer(Call(method="GET", path=path, query=query, repeatable=True))

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        body: MergePatch | JsonPatch,
        *,
        namespace: str = "",
        kind: PatchKind = PatchKind.MERGE,
        subresource: str = "",
    ) -> T:
        """``metadata.uid`` or ``resourceVersion`` in *body* hold it to one object or one state.

        ``Conflict`` when they do not match. A JSON patch is repeated only where it begins with
        a ``test``.
        """
        call = Call(
            method="PATCH",
            path=resource.object_path(name, namespace, subresource),
            query=_leniently(subresource),
            content=orjson.dumps(body),
            content_type=kind.value,
            repeatable=_repeatable(body),
            limited=resource is not LEASES,
        )
        return await self._object(call, resource)

    async def replace(
        self,
        resource: Resource[T],
        name: str,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        subresource: str = "",
    ) -> T:
        """Put *body* in the object's place.

        ``Conflict`` when *body* has a ``metadata.resourceVersion`` that is not the present one.
        """
        call = Call(
            method="PUT",
            path=resource.object_path(name, namespace, subresource),
            query=_leniently(subresource),
            content=_typed(body, resource),
            repeatable=True,
            limited=resource is not LEASES,
        )
        return await self._object(call, resource)

    async def delete(
        self,
        resource: Resource[T],
        name: str,
        *,
        namespace: str = "",
        uid: str | None = None,
        grace_seconds: int | None = None,
    ) -> None:
        """Ask for the deletion; finalizers and grace may delay it.

        Raises ``NotFound``, and ``Conflict`` when *uid* is not that of the present object.
        """
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        call = Call(
            method="DELETE",
            path=resource.object_path(name, namespace),
            content=orjson.dumps(options),
            # Without a uid the second request could meet a namesake.
            repeatable=uid is not None,
            limited=resource is not LEASES,
        )
        await self._api.answer(call)

    async def server_version(self) -> str:
        """As the server writes it: ``v1.37.2``, perhaps with a suffix."""
        document = await self._document(Call(method="GET", path="/version", repeatable=True))
        return str(document.get("gitVersion", ""))

    async def _object(self, call: Call, resource: Resource[T]) -> T:
        document = await self._document(call)
        try:
            return structure(document, resource.cls)
        except cattrs.BaseValidationError as error:
            faults = "; ".join(cattrs.transform_error(error))
            raise KubernetesUnavailable(
                f"{call}: the answer is not a {resource.kind}: {faults}"
            ) from error

    async def _document(self, call: Call) -> dict[str, Any]:
        answer = await self._api.answer(call)
        try:
            document = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise KubernetesUnavailable(f"{call}: the answer is not JSON") from error
        if not isinstance(document, dict):
            raise KubernetesUnavailable(f"{call}: the answer is not an object")
        return document


class _WatchEvents(Generic[T]):
    def __init__(self, pieces: AsyncIterator[bytes], resource: Resource[T], call: Call) -> None:
        self._pieces = pieces
        self._resource = resource
        self._request = str(call)
        self._splitter = LineSplitter()
        self._lines: deque[bytes] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent[T]:
        while not self._lines:
            self._lines.extend(self._splitter.feed(await anext(self._pieces)))
        return read_watch_line(self._lines.popleft(), self._resource, self._request)


def _selection(field_selector: str, label_selector: str) -> dict[str, str]:
    selectors = {"fieldSelector": field_selector, "labelSelector": label_selector}
    return {key: value for key, value in selectors.items() if value}


def _typed(body: Mapping[str, Any], resource: Resource[T]) -> bytes:
    return orjson.dumps({"apiVersion": resource.api_version, "kind": resource.kind, **body})


def _leniently(subresource: str) -> dict[str, str]:
    # Older servers would warn about each status field they do not know yet.
    return {"fieldValidation": "Ignore"} if subresource == "status" else {}


def _repeatable(patch: MergePatch | JsonPatch) -> bool:
    if isinstance(patch, Mapping):
        return True
    return bool(patch) and patch[0].get("op") == "test"


def _readable(values: Iterable[Any], resource: Resource[T]) -> Iterable[T]:
    for value in values:
        try:
            yield structure(value, resource.cls)
        except cattrs.BaseValidationError as error:
            log_unreadable(resource, value, error)

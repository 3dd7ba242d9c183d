"""Requests for resources: from HTTP to the registry's verbs and back."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.simulators.kubernetes import errors, patches
from kraftlet_trio.simulators.kubernetes.bodies import decoded_body
from kraftlet_trio.simulators.kubernetes.deletion import DeleteOptions
from kraftlet_trio.simulators.kubernetes.identities import Identities
from kraftlet_trio.simulators.kubernetes.metadata import check_name
from kraftlet_trio.simulators.kubernetes.registry import Deletion, Registry, Subresource
from kraftlet_trio.simulators.kubernetes.representations import Representation
from kraftlet_trio.simulators.kubernetes.resources import (
    CERTIFICATE_SIGNING_REQUESTS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    Json,
    Resource,
)
from kraftlet_trio.simulators.kubernetes.routes import Target
from kraftlet_trio.simulators.kubernetes.selectors import All, parse_selectors
from kraftlet_trio.simulators.kubernetes.storage import Stored
from kraftlet_trio.simulators.kubernetes.subresources import bind, evict, scale_of, scaled
from kraftlet_trio.simulators.kubernetes.token_requests import answer_token_request
from kraftlet_trio.simulators.kubernetes.versions import (
    list_page,
    parse_list_query,
    parse_number,
    watch_start,
)
from kraftlet_trio.simulators.kubernetes.watches import Watch

_JSON = {"content-type": "application/json"}


@attrs.frozen
class Exchange:
    """One request for a resource, with what its headers and query ask for."""

    registry: Registry
    identities: Identities
    target: Target
    request: Request
    representation: Representation

    @property
    def resource(self) -> Resource:
        return self.target.resource

    @property
    def query(self) -> Mapping[str, str]:
        return dict(self.request.query)

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"

    async def answer(self) -> Response:
        """Raises ``ApiError`` for what the server refuses."""
        match self.request.method, self.target:
            case "GET", Target(name="") if self.query.get("watch") in ("1", "true"):
                return await self._watch()
            case "GET", Target(name=""):
                return await self._list()
            case "POST", Target(name=""):
                return self._create()
            case "DELETE", Target(name=""):
                return self._delete_collection()
            case _, Target(name=""):
                raise errors.method_not_allowed()
            case "DELETE", Target(subresource=""):
                return self._delete()
            case method, Target(subresource="resize" | "ephemeralcontainers" as part) if (
                self.resource is PODS
            ):
                return self._read_or_update(method, part)
            case method, Target(subresource="approval" as part) if (
                self.resource is CERTIFICATE_SIGNING_REQUESTS
            ):
                return self._read_or_update(method, part)
            case method, Target(subresource="" | "status" | "finalize" as part):
                if part == "finalize" and self.resource is not NAMESPACES:
                    raise errors.no_such_path()
                if part and not self.resource.has_status:
                    raise errors.no_such_path()
                return self._read_or_update(method, part)
            case method, Target(subresource="scale") if self.resource.has_scale:
                return self._scale(method)
            case "POST", Target(subresource=subresource):
                return self._act(subresource)
            case _:
                raise errors.no_such_path()

    # Reading

    def _one(self, stored: Stored, status: int = 200) -> Response:
        return Response(status=status, headers=_JSON, body=self.representation.one(stored))

    def _selector(self) -> All:
        return parse_selectors(
            self.resource,
            fields=self.query.get("fieldSelector", ""),
            labels=self.query.get("labelSelector", ""),
        )

    async def _list(self) -> Response:
        page = await list_page(
            self.registry.storage,
            self.resource,
            self.target.namespace,
            self._selector(),
            parse_list_query(self.query),
        )
        body = self.representation.several(self.resource, page.items, page.metadata)
        return Response(headers=_JSON, body=body)

    async def _watch(self) -> Response:
        selector = self._selector()
        since = await watch_start(self.registry.storage, self.query)
        watch = Watch(
            storage=self.registry.storage,
            resource=self.resource,
            namespace=self.target.namespace,
            selector=selector,
            representation=self.representation,
            since=since,
            initial_events_end=self.query.get("sendInitialEvents") == "true",
            bookmarks=self.query.get("allowWatchBookmarks") in ("1", "true"),
            timeout_seconds=parse_number("timeoutSeconds", self.query.get("timeoutSeconds", "")),
        )
        return Response(headers=_JSON, stream=watch.stream)

    # Writing

    def _create(self) -> Response:
        stored = self.registry.create(
            self.resource, self._body(), namespace=self.target.namespace, dry_run=self.dry_run
        )
        return self._one(stored, 201)

    def _read_or_update(self, method: str, subresource: Subresource) -> Response:
        match method:
            case "GET":
                return self._one(self._stored())
            case "PUT":
                return self._replace(subresource)
            case "PATCH":
                return self._patch(subresource)
            case _:
                raise errors.method_not_allowed()

    def _stored(self) -> Stored:
        return self.registry.get(self.resource, self.target.namespace, self.target.name)

    def _replace(self, subresource: Subresource) -> Response:
        body, target = self._body(), self.target
        check_name(body, target.name)
        exists = self.registry.storage.get(self.resource, target.namespace, target.name)
        if not exists and self.resource.put_creates and not subresource:
            return self._create()
        if self.resource.put_needs_version and not body.get("metadata", {}).get("resourceVersion"):
            message = "Invalid value: 0: must be specified for an update"
            cause = errors.Cause(field="metadata.resourceVersion", message=message)
            raise errors.invalid(self.resource, target.name, cause)
        return self._update(lambda _: body, subresource)

    def _patch(self, subresource: Subresource) -> Response:
        content_type = self.request.headers.get("content-type", "")
        change = patches.patch_function(self.resource, content_type, self.request.body)
        exists = self.registry.storage.get(self.resource, self.target.namespace, self.target.name)
        if not exists and patches.media_type(content_type) == patches.APPLY_PATCH:
            value = patches.applied_configuration(self.request.body)
            stored = self.registry.create(
                self.resource, value, namespace=self.target.namespace, dry_run=self.dry_run
            )
            return self._one(stored, 201)
        return self._update(lambda value: self._same_uid(value, change), subresource)

    def _same_uid(self, value: Json, change: patches.Change) -> Json:
        """Where a PUT for a namesake conflicts, a patch is invalid. Source: the real server."""
        uid = value["metadata"]["uid"]
        patched = change(value)
        metadata = patched.get("metadata")
        given = metadata.get("uid") if isinstance(metadata, dict) else None
        if given not in (None, uid):
            message = f'Invalid value: "{given}": field is immutable'
            cause = errors.Cause(field="metadata.uid", message=message)
            raise errors.invalid(self.resource, self.target.name, cause)
        return patched

    def _update(self, change: patches.Change, subresource: Subresource) -> Response:
        stored = self.registry.update(
            self.resource,
            self.target.namespace,
            self.target.name,
            change,
            subresource=subresource,
            dry_run=self.dry_run,
        )
        return self._one(stored)

    def _delete(self) -> Response:
        deletion = self.registry.delete(
            self.resource,
            self.target.namespace,
            self.target.name,
            self._delete_options(self._optional_body()),
            dry_run=self.dry_run,
        )
        if deletion.gone and not self.resource.returns_deleted:
            return json_response(_deleted(deletion))
        return self._one(deletion.stored)

    def _delete_collection(self) -> Response:
        selector, options = self._selector(), self._delete_options(self._optional_body())
        if self.resource.namespaced and not self.target.namespace:
            raise errors.method_not_allowed()
        matching = [
            stored
            for stored in self.registry.storage.objects(self.resource, self.target.namespace)
            if selector.matches(stored.value)
        ]
        for stored in matching:
            self.registry.delete(
                self.resource, stored.namespace, stored.name, options, dry_run=self.dry_run
            )
        body = self.representation.several(
            self.resource, matching, {"resourceVersion": str(self.registry.storage.version)}
        )
        return Response(headers=_JSON, body=body)

    def _delete_options(self, body: Json) -> DeleteOptions:
        given: Json = {**self.query, **body}
        grace, preconditions = given.get("gracePeriodSeconds"), given.get("preconditions") or {}
        propagation = given.get("propagationPolicy") or None
        if propagation not in (None, "Background", "Foreground", "Orphan"):
            raise errors.bad_request(f"invalid propagationPolicy: {propagation}")
        return DeleteOptions(
            grace_seconds=None if grace is None else parse_number("gracePeriodSeconds", str(grace)),
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
            propagation=propagation,
        )

    # Subresources that are no part of the object

    def _scale(self, method: str) -> Response:
        def rescaled(workload: Json) -> Json:
            scale = scale_of(workload)
            return scaled(workload, self._body() if method == "PUT" else self._patched(scale))

        match method:
            case "GET":
                stored = self._stored()
            case "PUT" | "PATCH":
                target = self.target
                stored = self.registry.update(
                    self.resource, target.namespace, target.name, rescaled, dry_run=self.dry_run
                )
            case _:
                raise errors.method_not_allowed()
        return json_response(scale_of(stored.value))

    def _patched(self, value: Json) -> Json:
        content_type = self.request.headers.get("content-type", "")
        return patches.patch_function(self.resource, content_type, self.request.body)(value)

    def _act(self, subresource: str) -> Response:
        namespace, name, body = self.target.namespace, self.target.name, self._body()
        match subresource, self.resource:
            case "binding", resource if resource is PODS:
                bind(self.registry, namespace, name, body.get("target", {}).get("name", ""))
            case "eviction", resource if resource is PODS:
                options = self._delete_options(body.get("deleteOptions") or {})
                evict(self.registry, namespace, name, options)
            case "token", resource if resource is SERVICE_ACCOUNTS:
                account = self._stored().value
                answer = answer_token_request(self.registry, self.identities, account, body)
                return json_response(answer, 201)
            case _:
                raise errors.no_such_path()
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return json_response({**success, "code": 201}, 201)

    # Bodies

    def _optional_body(self) -> Json:
        return self._body() if self.request.body else {}

    def _body(self) -> Json:
        return decoded_body(self.request)


def _deleted(deletion: Deletion) -> Json:
    stored = deletion.stored
    details = {
        "name": stored.name,
        "group": stored.resource.group,
        "kind": stored.resource.plural,
        "uid": stored.uid,
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: text for key, text in details.items() if text},
    }

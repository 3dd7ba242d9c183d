"""An API server in memory, with the few controllers that make a cluster of it."""

from __future__ import annotations

from collections.abc import Callable

import trio

from kraftlet_trio.clock import utc_now
from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.simulators.kubernetes.api import Exchange
from kraftlet_trio.simulators.kubernetes.columns import columns_of
from kraftlet_trio.simulators.kubernetes.controllers.deployments import deployment_controller
from kraftlet_trio.simulators.kubernetes.controllers.ephemeral import ephemeral_controller
from kraftlet_trio.simulators.kubernetes.controllers.expiry import expire_events_forever
from kraftlet_trio.simulators.kubernetes.controllers.garbage import garbage_collector
from kraftlet_trio.simulators.kubernetes.controllers.loop import run_controller
from kraftlet_trio.simulators.kubernetes.controllers.namespaces import namespace_controller
from kraftlet_trio.simulators.kubernetes.controllers.replicasets import replica_set_controller
from kraftlet_trio.simulators.kubernetes.controllers.scheduling import scheduler
from kraftlet_trio.simulators.kubernetes.controllers.volumes import volume_controller
from kraftlet_trio.simulators.kubernetes.deletion import DeleteOptions
from kraftlet_trio.simulators.kubernetes.discovery import discovery_document
from kraftlet_trio.simulators.kubernetes.errors import ApiError, no_such_path
from kraftlet_trio.simulators.kubernetes.identities import Identities
from kraftlet_trio.simulators.kubernetes.node_relay import find_relayed
from kraftlet_trio.simulators.kubernetes.registry import Registry, Subresource
from kraftlet_trio.simulators.kubernetes.representations import (
    PlainJson,
    Representation,
    asks_for_table,
)
from kraftlet_trio.simulators.kubernetes.resources import (
    NAMESPACES,
    SERVICES,
    Json,
    Resource,
    resource_named,
    resource_of,
)
from kraftlet_trio.simulators.kubernetes.reviews import answer_review
from kraftlet_trio.simulators.kubernetes.routes import find_target
from kraftlet_trio.simulators.kubernetes.storage import Storage
from kraftlet_trio.simulators.kubernetes.tables import TableRepresentation

_HISTORY_LIMIT = 5_000
_HEALTH_PATHS = ("/healthz", "/livez", "/readyz")
_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class KubernetesSimulator:
    """Made inside ``trio.run``, whose clock it lives by; holds the usual namespaces from the start.

    ``handle`` serves requests at once; the controllers (Deployments, scheduling, volumes, garbage
    collection …) work only while ``run`` does. The other methods are for tests and demos: they
    are synchronous, go the way a client's request would, raise ``ApiError`` where that would be
    refused, and hand out copies.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        history_limit: int = _HISTORY_LIMIT,
    ) -> None:
        """*token*: bearer token that requests need, if any; *history_limit*: changes of a kind
        after which a watcher that lags behind gets 410."""
        self.storage = Storage(history_limit=history_limit)
        self.registry = Registry(self.storage)
        self.identities = Identities(token)
        for name in _NAMESPACES:
            self.registry.create(NAMESPACES, {"metadata": {"name": name}})
        self.registry.create(SERVICES, _own_service(), namespace="default")

    @property
    def token(self) -> str | None:
        """What the administrator's requests need as bearer token, if anything."""
        return self.identities.administrator_token

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the controllers until cancelled; ``started`` once all of them watch."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expire_events_forever, self.registry)
            await nursery.start(run_controller, deployment_controller(self.registry), self.storage)
            await nursery.start(run_controller, replica_set_controller(self.registry), self.storage)
            await nursery.start(run_controller, scheduler(self.registry), self.storage)
            await nursery.start(run_controller, volume_controller(self.registry), self.storage)
            await nursery.start(run_controller, ephemeral_controller(self.registry), self.storage)
            await nursery.start(run_controller, garbage_collector(self.registry), self.storage)
            await nursery.start(run_controller, namespace_controller(self.registry), self.storage)
            task_status.started()

    async def handle(self, request: Request) -> Response:
        """Answer one request; refusals are answers too."""
        try:
            return await self._answer(request)
        except ApiError as error:
            return json_response(error.status, error.code)

    async def _answer(self, request: Request) -> Response:
        if request.path in _HEALTH_PATHS:
            return Response(headers={"content-type": "text/plain"}, body=b"ok")
        now = utc_now()
        user = self.identities.authenticate(request.headers, now)
        if review := answer_review(request, self.identities, user, now):
            return review
        if document := discovery_document(request.path):
            return json_response(document)
        if relayed := find_relayed(self.registry, self.identities, request.path):
            return await relayed(request)
        target = find_target(request.path)
        if target is None:
            raise no_such_path()
        representation = _representation(target.resource, request)
        exchange = Exchange(self.registry, self.identities, target, request, representation)
        return await exchange.answer()

    def create(self, value: Json) -> Json:
        """Without a namespace a namespaced object goes to ``default``."""
        resource = resource_of(value)
        namespace = _namespace_of(resource, value)
        return self.registry.create(resource, value, namespace=namespace).thawed()

    def get(self, plural: str, name: str, namespace: str = "default") -> Json:
        resource = resource_named(plural)
        place = namespace if resource.namespaced else ""
        return self.registry.get(resource, place, name).thawed()

    def objects(self, plural: str, namespace: str = "") -> list[Json]:
        """In the order of namespaces and names; of all namespaces unless one is given."""
        stored = self.storage.objects(resource_named(plural), namespace)
        return [one.thawed() for one in stored]

    def change(
        self,
        plural: str,
        name: str,
        change: Callable[[Json], Json],
        namespace: str = "default",
        *,
        subresource: Subresource = "",
    ) -> Json:
        """Replace an object by what *change* makes of a copy of it."""
        resource = resource_named(plural)
        place = namespace if resource.namespaced else ""
        return self.registry.update(resource, place, name, change, subresource=subresource).thawed()

    def delete(self, value: Json, *, grace_seconds: int | None = None) -> None:
        """Of *value* only kind, name and namespace matter."""
        resource = resource_of(value)
        options = DeleteOptions(grace_seconds=grace_seconds)
        namespace, name = _namespace_of(resource, value), value["metadata"]["name"]
        self.registry.delete(resource, namespace, name, options)

    def publish_root_certificate(self, pem: str) -> None:
        """Put the certificate by which Pods know the server into every namespace."""
        self.registry.publish_root_certificate(pem)

    def expire_history(self) -> None:
        """Make the server forget the past, so that watchers that are not up to date get 410."""
        self.storage.expire_history()


def _representation(resource: Resource, request: Request) -> Representation:
    if request.method != "GET" or not asks_for_table(request.headers.get("accept", "")):
        return PlainJson()
    match dict(request.query).get("includeObject"):
        case "Object" | "None" as include:
            return TableRepresentation(columns_of(resource), include)
        case _:
            return TableRepresentation(columns_of(resource))


def _namespace_of(resource: Resource, value: Json) -> str:
    if not resource.namespaced:
        return ""
    namespace: str = value["metadata"].get("namespace", "default")
    return namespace


def _own_service() -> Json:
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return {
        "metadata": {"name": "kubernetes", "labels": labels},
        "spec": {"clusterIP": "10.96.0.1", "ports": [port]},
    }

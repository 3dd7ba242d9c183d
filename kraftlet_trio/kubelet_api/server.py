"""What the node answers on its kubelet port, to whom it may.

Every request says who asks and is checked for the right to ask, before anything else is said of its
path: without credentials no path can be told from another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import structlog
import trio

from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.kubelet_api.answers import method_not_allowed, not_found, text
from kraftlet_trio.kubelet_api.authentication import Authenticator
from kraftlet_trio.kubelet_api.authorization import Authorizer, Rights, needed_rights
from kraftlet_trio.kubelet_api.commands import Commands
from kraftlet_trio.kubelet_api.configz import configuration
from kraftlet_trio.kubelet_api.container_logs import ContainerLogs
from kraftlet_trio.kubelet_api.health import Health
from kraftlet_trio.kubelet_api.metric_pages import MetricPages
from kraftlet_trio.kubelet_api.pod_lists import PodLists
from kraftlet_trio.kubelet_api.port_forward import PortForward
from kraftlet_trio.kubelet_api.review_cache import ReviewFailed
from kraftlet_trio.kubelet_api.served_requests import ServedRequests, known_method, known_path
from kraftlet_trio.kubelet_api.settings import KubeletAPISettings
from kraftlet_trio.kubernetes.errors import KubernetesError
from kraftlet_trio.kubernetes.reviews import UserInfo

log = structlog.get_logger()

MAX_BODY_BYTES = 64 * 1024
"""No endpoint reads a body; it comes before the credentials are looked at."""

_STREAMING = ("GET", "POST")
"""A WebSocket is opened by GET, SPDY by POST."""


@attrs.frozen
class Endpoint:
    handler: Callable[[Request], Awaitable[Response]]
    methods: tuple[str, ...] = ("GET",)


@attrs.frozen
class KubeletAPI:
    authenticator: Authenticator
    authorizer: Authorizer
    pod_lists: PodLists
    health: Health
    metric_pages: MetricPages
    logs: ContainerLogs
    commands: Commands
    port_forward: PortForward
    settings: KubeletAPISettings

    served: ServedRequests = attrs.field(factory=ServedRequests)

    async def answer(self, request: Request) -> Response:
        began, status = trio.current_time(), 500
        try:
            response = await self._answer(request)
            status = response.status
            return response
        finally:
            seconds = trio.current_time() - began
            method, path = known_method(request.method), known_path(request.path)
            self.served.note(method, path, status, seconds)

    async def _answer(self, request: Request) -> Response:
        user = await self.authenticator.authenticate(request)
        if user is None:
            return text("Unauthorized", 401)
        refusal = await self._refusal(user, needed_rights(request.method, request.path))
        if refusal is not None:
            return refusal
        endpoint = self._endpoint(request.path)
        if endpoint is None:
            return not_found()
        if request.method not in endpoint.methods:
            return method_not_allowed(*endpoint.methods)
        return await endpoint.handler(request)

    async def _refusal(self, user: UserInfo, rights: Rights) -> Response | None:
        wanted = (
            f"(user={user.username}, verb={rights.verb}, resource=nodes, "
            f"subresource(s)=[{' '.join(rights.subresources)}])"
        )
        try:
            allowed = await self.authorizer.allows(user, rights)
        except ReviewFailed as failure:
            log.warning("rights not reviewed", user=user.username, error=str(failure))
            return text(f"Authorization error {wanted}", 500)
        return None if allowed else text(f"Forbidden {wanted}\n", 403)

    def _endpoint(self, path: str) -> Endpoint | None:
        match path.removeprefix("/").split("/"):
            case ["pods"]:
                return Endpoint(self._pods)
            case ["runningpods"] | ["runningpods", ""]:
                return Endpoint(self._running_pods)
            case ["metrics"]:
                return Endpoint(self._metrics)
            case ["metrics", "resource"]:
                return Endpoint(self.metric_pages.resource)
            case ["metrics", "cadvisor"]:
                return Endpoint(self.metric_pages.cadvisor)
            case ["metrics", "probes"]:
                return Endpoint(self.metric_pages.probes)
            case ["stats", "summary"] | ["stats", "summary", ""]:
                return Endpoint(self.metric_pages.summary, ("GET", "POST"))
            case ["configz"]:
                return Endpoint(self._configz)
            case ["healthz", *_]:
                return Endpoint(self._healthz)
            case ["containerLogs", namespace, pod, container]:
                return Endpoint(partial(self.logs.answer, namespace, pod, container))
            case ["exec", namespace, pod, *uid, container] if len(uid) <= 1:
                exec_there = partial(self.commands.exec, namespace, pod, "".join(uid), container)
                return Endpoint(exec_there, _STREAMING)
            case ["attach", namespace, pod, *uid, container] if len(uid) <= 1:
                attach = partial(self.commands.attach, namespace, pod, "".join(uid), container)
                return Endpoint(attach, _STREAMING)
            case ["run", namespace, pod, *uid, container] if len(uid) <= 1:
                run = partial(self.commands.run, namespace, pod, "".join(uid), container)
                return Endpoint(run, ("POST",))
            case ["portForward", namespace, pod, *uid] if len(uid) <= 1:
                forward = partial(self.port_forward.answer, namespace, pod, "".join(uid))
                return Endpoint(forward, _STREAMING)
            case _:
                return None

    async def _pods(self, _request: Request) -> Response:
        try:
            body = await self.pod_lists.assigned()
        except KubernetesError as error:
            return text(f"the API server does not tell the node's Pods: {error}\n", 503)
        return Response(headers={"content-type": "application/json"}, body=body)

    async def _running_pods(self, _request: Request) -> Response:
        return json_response(self.pod_lists.running())

    async def _metrics(self, _request: Request) -> Response:
        return await self.metric_pages.metrics(self.served)

    async def _configz(self, _request: Request) -> Response:
        return json_response(configuration(self.settings))

    async def _healthz(self, request: Request) -> Response:
        return self.health.answer(request)

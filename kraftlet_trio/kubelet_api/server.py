"""What the node answers on its kubelet port, to whom it may.

Every request says who asks and is checked for the right to ask, before anything else is said of its
path: without credentials no path can be told from another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

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
from kraftlet_trio.task_tree import TaskTree

log = structlog.get_logger()

MAX_BODY_BYTES = 64 * 1024
"""No endpoint reads a body; it comes before the credentials are looked at."""

_STREAMING = ("GET", "POST")
"""A WebSocket is opened by GET, SPDY by POST."""


@attrs.frozen
class Route:
    pattern: str
    """A path of which a word in braces stands for any one, and ``*`` at the end for any number."""
    handler: Callable[..., Awaitable[Response]]
    """Gets the request and these words, percent-encoded still."""
    methods: tuple[str, ...] = ("GET",)

    def words(self, path: str) -> list[str] | None:
        """What stands in *path* for the braces; None where it is another path."""
        pattern, given = self.pattern.split("/"), path.split("/")
        if pattern[-1] == "*":
            given = [*given[: len(pattern) - 1], "*"]
        if len(pattern) != len(given):
            return None
        pairs = list(zip(pattern, given, strict=True))
        if any(word != there for word, there in pairs if not word.startswith("{")):
            return None
        return [there for word, there in pairs if word.startswith("{")]


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
    task_tree: TaskTree
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
        for route in self.routes:
            if (words := route.words(request.path)) is not None:
                if request.method not in route.methods:
                    return method_not_allowed(*route.methods)
                return await route.handler(request, *words)
        return not_found()

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

    @property
    def routes(self) -> Sequence[Route]:
        """All there is behind the port."""
        commands, pages = self.commands, self.metric_pages
        return (
            Route("/pods", self._pods),
            Route("/runningpods", self._running_pods),
            Route("/runningpods/", self._running_pods),
            Route("/metrics", self._metrics),
            Route("/metrics/resource", pages.resource),
            Route("/metrics/cadvisor", pages.cadvisor),
            Route("/metrics/probes", pages.probes),
            Route("/stats/summary", pages.summary, ("GET", "POST")),
            Route("/stats/summary/", pages.summary, ("GET", "POST")),
            Route("/configz", self._configz),
            Route("/debug/tree", self._task_tree),
            Route("/healthz/*", self._healthz),
            Route("/containerLogs/{namespace}/{pod}/{container}", self.logs.answer),
            Route("/exec/{namespace}/{pod}/{container}", commands.exec, _STREAMING),
            Route("/exec/{namespace}/{pod}/{uid}/{container}", commands.exec, _STREAMING),
            Route("/attach/{namespace}/{pod}/{container}", commands.attach, _STREAMING),
            Route("/attach/{namespace}/{pod}/{uid}/{container}", commands.attach, _STREAMING),
            Route("/run/{namespace}/{pod}/{container}", commands.run, ("POST",)),
            Route("/run/{namespace}/{pod}/{uid}/{container}", commands.run, ("POST",)),
            Route("/portForward/{namespace}/{pod}", self.port_forward.answer, _STREAMING),
            Route("/portForward/{namespace}/{pod}/{uid}", self.port_forward.answer, _STREAMING),
        )

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

    async def _task_tree(self, _request: Request) -> Response:
        return json_response(self.task_tree.read())

    async def _healthz(self, request: Request) -> Response:
        return self.health.answer(request)

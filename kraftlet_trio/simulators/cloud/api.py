"""Routes of the simulated v1 platform API."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import unquote

import attrs
import trio

from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.simulators.cloud import (
    certificates,
    checkpoints,
    image_endpoints,
    instance_runs,
    instances,
    service_groups,
    templates,
    volume_copies,
    volumes,
)
from kraftlet_trio.simulators.cloud.account_endpoints import read_health, read_quotas
from kraftlet_trio.simulators.cloud.audit_endpoint import subscribe_to_audit
from kraftlet_trio.simulators.cloud.autoscale import refuse_configurations as refuse_autoscale
from kraftlet_trio.simulators.cloud.autoscale import refuse_policies
from kraftlet_trio.simulators.cloud.calls import Call, Cloud, Query
from kraftlet_trio.simulators.cloud.envelope import refusal
from kraftlet_trio.simulators.cloud.errors import BadRequest
from kraftlet_trio.simulators.cloud.expiry import delete_expired
from kraftlet_trio.simulators.cloud.fault_endpoints import (
    read_faults,
    remove_faults,
    replace_faults,
)
from kraftlet_trio.simulators.cloud.gateway_endpoints import read_authority, read_gateways
from kraftlet_trio.simulators.cloud.plugin_routes import forward_to_plugin

Endpoint = Callable[[Cloud, Call], Awaitable[Response]]
ANY_METHOD = "*"

OWN_PATHS = "/simulator/"
"""What lies below is the simulator's own; the platform has nothing there."""


@attrs.frozen
class Route:
    """One path with the endpoint for each method.

    In the path ``{u}`` stands for a UUID, ``{name}`` for another word, ``{rest}`` for what may
    follow.
    """

    path: str
    endpoints: dict[str, Endpoint]
    decides_access: bool = False
    """Whether its endpoint judges who may call it."""


def _routes() -> list[Route]:
    """Routes in order of precedence: literal words go before UUIDs."""
    routes = [
        Route("/simulator/v1/gateways", {"GET": read_gateways}),
        Route("/simulator/v1/ca.pem", {"GET": read_authority}),
        Route(
            OWN_PATHS + "v1/faults",
            {"GET": read_faults, "PUT": replace_faults, "DELETE": remove_faults},
        ),
        Route("/v1/audit", {"GET": subscribe_to_audit}),
        Route("/v1/healthz", {"GET": read_health}),
        Route(
            "/v1/images",
            {
                "GET": image_endpoints.read_images,
                "POST": image_endpoints.pin_images,
                "DELETE": image_endpoints.unpin_images,
            },
        ),
        Route("/v1/image-store", {"GET": image_endpoints.read_images}),
        Route("/v1/users/quotas", {"GET": read_quotas}),
        Route("/v1/users/{u}/quotas", {"GET": read_quotas}),
    ]
    plugins = "/v1/instances/{u}/plugins/{name}/{rest}"
    routes.append(Route(plugins, {ANY_METHOD: forward_to_plugin}, decides_access=True))
    bulk_and_single: list[tuple[str, str, dict[str, Endpoint]]] = [
        ("/v1/instances", "/start", {"PUT": instance_runs.start_instances}),
        ("/v1/instances", "/stop", {"PUT": instance_runs.stop_instances}),
        ("/v1/instances", "/suspend", {"PUT": instance_runs.suspend_instances}),
        ("/v1/instances", "/wait", {"GET": instance_runs.wait_for_instances}),
        ("/v1/instances", "/log", {"GET": instance_runs.read_logs}),
        ("/v1/instances", "/metrics", {"GET": instance_runs.read_metrics}),
        ("/v1/instances/checkpoints", "/history", {"GET": checkpoints.read_checkpoint_history}),
        ("/v1/instances", "/history", {"GET": checkpoints.read_instance_history}),
        ("/v1/services", "/autoscale", dict.fromkeys(("POST", "GET", "DELETE"), refuse_autoscale)),
        ("/v1/volumes", "/attach", {"PUT": volumes.attach_volumes}),
        ("/v1/volumes", "/detach", {"PUT": volumes.detach_volumes}),
        ("/v1/volumes", "/clone", {"POST": volume_copies.clone_volumes}),
    ]
    for base, action, endpoints in bulk_and_single:
        routes.append(Route(base + action, endpoints))
        routes.append(Route(f"{base}/{{u}}{action}", endpoints))
    policies = "/v1/services/{u}/autoscale/policies"
    routes.append(Route(policies, dict.fromkeys(("POST", "GET", "DELETE"), refuse_policies)))
    routes.append(
        Route(policies + "/{name}", dict.fromkeys(("GET", "DELETE"), refuse_policies)),
    )
    resources: list[tuple[str, Endpoint, dict[str, Endpoint]]] = [
        (
            "/v1/instances/templates",
            templates.create_templates,
            {
                "GET": templates.read_templates,
                "PATCH": templates.update_templates,
                "DELETE": templates.delete_templates,
            },
        ),
        (
            "/v1/instances/checkpoints",
            checkpoints.create_checkpoints,
            {
                "GET": templates.read_checkpoints,
                "PATCH": templates.update_checkpoints,
                "DELETE": templates.delete_checkpoints,
            },
        ),
        (
            "/v1/volumes/templates",
            volume_copies.create_volume_templates,
            {
                "GET": volume_copies.read_volume_templates,
                "PATCH": volume_copies.update_volume_templates,
                "DELETE": volume_copies.delete_volume_templates,
            },
        ),
        (
            "/v1/certificates",
            certificates.create_certificate,
            {
                "GET": certificates.read_certificates,
                "PUT": certificates.update_certificates,
                "DELETE": certificates.delete_certificates,
            },
        ),
        (
            "/v1/instances",
            instances.create_instances,
            {
                "GET": instances.read_instances,
                "PATCH": instances.update_instances,
                "DELETE": instances.delete_instances,
            },
        ),
        (
            "/v1/services",
            service_groups.create_groups,
            {
                "GET": service_groups.read_groups,
                "PATCH": service_groups.update_groups,
                "DELETE": service_groups.delete_groups,
            },
        ),
        (
            "/v1/volumes",
            volumes.create_volumes,
            {
                "GET": volumes.read_volumes,
                "PATCH": volumes.update_volumes,
                "DELETE": volumes.delete_volumes,
            },
        ),
    ]
    for base, create, endpoints in resources:
        routes.append(Route(base, {"POST": create, **endpoints}))
        routes.append(Route(f"{base}/{{u}}", endpoints))
    return routes


ROUTES = tuple(_routes())
_PATTERNS = [
    (
        re.compile(
            re.escape(route.path)
            .replace(r"\{u\}", "(?P<uuid>[^/]+)")
            .replace(r"\{name\}", "(?P<name>[^/]+)")
            .replace(r"/\{rest\}", "(?:/(?P<rest>.*))?")
        ),
        route,
    )
    for route in ROUTES
]


@attrs.frozen
class Routed:
    """Where a request leads."""

    route: Route
    uuid: str | None
    name: str
    rest: str


def find_route(path: str) -> Routed | None:
    for pattern, route in _PATTERNS:
        if match := pattern.fullmatch(path):
            words = match.groupdict()
            return Routed(route, words.get("uuid"), words.get("name", ""), words.get("rest") or "")
    return None


async def answer(
    cloud: Cloud, request: Request, routed: Routed | None, *, authorized: bool
) -> Response:
    """Answer a request. *authorized*: it has the platform's token. Only plugins do without."""
    if not (authorized or (routed is not None and routed.route.decides_access)):
        return refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized")
    if routed is None:
        return refusal(HTTPStatus.NOT_FOUND, "No such API endpoint")
    endpoints = routed.route.endpoints
    endpoint = endpoints.get(request.method) or endpoints.get(ANY_METHOD)
    if endpoint is None:
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Wrong method")
    call = Call(
        request=request,
        query=Query.parse(request.query_string),
        uuid=routed.uuid,
        name=unquote(routed.name),
        rest=routed.rest,
        authorized=authorized,
        began=trio.current_time(),
    )
    delete_expired(cloud)
    try:
        return await endpoint(cloud, call)
    except BadRequest as error:
        return refusal(HTTPStatus.BAD_REQUEST, str(error))

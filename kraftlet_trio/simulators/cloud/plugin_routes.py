"""Requests that the metro's proxy passes on to a plugin inside an instance (reference, plugins).

The proxy's own answers are HTML, as nothing behind it speaks then.
"""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import Any

import attrs
import trio

from kraftlet_trio.cloud.objects import RUNNING, STANDBY, STARTING
from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.simulators.cloud.calls import Call, Cloud
from kraftlet_trio.simulators.cloud.envelope import refusal
from kraftlet_trio.simulators.cloud.errors import ItemError
from kraftlet_trio.simulators.cloud.identifiers import Identifier
from kraftlet_trio.simulators.cloud.images import ImageName
from kraftlet_trio.simulators.cloud.records import Instance
from kraftlet_trio.simulators.cloud.validation import valid_uuid


async def forward_to_plugin(cloud: Cloud, call: Call) -> Response:
    """Pass a request on, waking the instance for it, for as long as the proxy allows."""
    instance = _instance(cloud, call)
    plugin = _plugin(instance, call.name) if instance is not None else None
    if not _is_allowed(call, plugin):
        return refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized")
    if instance is None or plugin is None:
        return _by_proxy(HTTPStatus.NOT_FOUND)
    with trio.move_on_after(cloud.settings.plugin_request_seconds):
        return await _forward(cloud, instance, plugin, call)
    return _by_proxy(HTTPStatus.GATEWAY_TIMEOUT)


def _instance(cloud: Cloud, call: Call) -> Instance | None:
    try:
        return cloud.account.instances.find(Identifier(uuid=valid_uuid(call.uuid or "")))
    except ItemError:
        return None


def _plugin(instance: Instance, name: str) -> dict[str, Any] | None:
    return next((each for each in instance.plugins if each["name"] == name), None)


def _is_allowed(call: Call, plugin: dict[str, Any] | None) -> bool:
    """A plugin with a token of its own refuses the platform's."""
    authorization = (plugin or {}).get("authorization", {})
    if authorization.get("type") != "bearer":
        return call.authorized
    expected = f"Bearer {authorization['token']}".encode()
    given = call.request.headers.get("authorization", "").encode()
    return hmac.compare_digest(given, expected)


async def _forward(
    cloud: Cloud, instance: Instance, plugin: dict[str, Any], call: Call
) -> Response:
    if instance.state == STANDBY or instance.is_falling_asleep:
        with instance.traffic.queued():
            if not await _woken(cloud, instance):
                return _by_proxy(HTTPStatus.BAD_GATEWAY)
    if instance.state != RUNNING:
        return _by_proxy(HTTPStatus.NOT_FOUND)
    is_sandbox = ImageName.parse(plugin["image"]).repository.rpartition("/")[2] == "sandbox"
    handler = cloud.runtime.sandbox(instance.uuid) if is_sandbox else None
    if handler is None:
        return _by_proxy(HTTPStatus.NOT_FOUND)
    with instance.traffic.connection(request=True):
        return await handler(_stripped(call))


async def _woken(cloud: Cloud, instance: Instance) -> bool:
    """Whether it runs again in the end; a refused start leaves it where it is."""
    while instance.is_falling_asleep:
        await instance.changed.wait()
    cloud.lifecycle.wake(instance)
    while instance.state == STARTING:
        await instance.changed.wait()
    return instance.state == RUNNING


def _stripped(call: Call) -> Request:
    """What the plugin sees: its own path, and nobody's token."""
    headers = {
        name: value for name, value in call.request.headers.items() if name != "authorization"
    }
    return attrs.evolve(call.request, path=f"/{call.rest}", headers=headers)


def _by_proxy(status: HTTPStatus) -> Response:
    return Response(
        status=status,
        headers={"content-type": "text/html"},
        body=f"<html><body><h1>{status.value} {status.phrase}</h1></body></html>".encode(),
    )

"""Endpoints of the simulator's own: where its service groups can be reached, and whom to trust."""

from __future__ import annotations

from http import HTTPStatus

from kraftlet_trio.http.messages import Response, json_response
from kraftlet_trio.simulators.cloud.calls import Call, Cloud
from kraftlet_trio.simulators.cloud.envelope import refusal


async def read_gateways(cloud: Cloud, _call: Call) -> Response:
    """By group and public port, such as ``{"web": {"443": "127.0.0.1:40001"}}``.

    All groups are listening once this answers.
    """
    if cloud.gateway is None:
        return _not_serving()
    return json_response(await cloud.gateway.addresses())


async def read_authority(cloud: Cloud, _call: Call) -> Response:
    """Certificate of the authority that all public names have theirs from, as PEM."""
    if cloud.gateway is None:
        return _not_serving()
    headers = {"content-type": "application/x-pem-file"}
    return Response(headers=headers, body=cloud.gateway.ca_pem.encode())


def _not_serving() -> Response:
    return refusal(HTTPStatus.NOT_FOUND, "Service groups are not served")

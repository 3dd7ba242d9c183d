"""Request bodies in each of the formats that clients send objects in."""

from __future__ import annotations

from typing import Any

import orjson
import yaml

from kraftlet_trio.http.messages import Request
from kraftlet_trio.simulators.kubernetes import protobuf
from kraftlet_trio.simulators.kubernetes.errors import bad_request, unsupported_media_type
from kraftlet_trio.simulators.kubernetes.patches import media_type
from kraftlet_trio.simulators.kubernetes.resources import Json

_JSON = "application/json"
_YAML = "application/yaml"


def decoded_body(request: Request) -> Json:
    """The object sent. Raises ``ApiError``: 415 for another format, 400 if not an object."""
    kind = media_type(request.headers.get("content-type", _JSON))
    value: Any
    try:
        match kind:
            case "application/json" | "*/*" | "":
                value = orjson.loads(request.body)
            case "application/yaml":
                value = yaml.safe_load(request.body)
            case protobuf.MEDIA_TYPE:
                value = protobuf.decode(request.body)
            case _:
                raise unsupported_media_type(kind, _JSON, _YAML, protobuf.MEDIA_TYPE)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"couldn't get version/kind; parse error: {error}") from error
    if not isinstance(value, dict):
        raise bad_request("the body of the request is not an object")
    return value

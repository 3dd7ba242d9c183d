"""ConfigMaps and Secrets: plain text folded into data, and immutability."""

from __future__ import annotations

import base64
import binascii

from kraftlet_trio.simulators.kubernetes.errors import bad_request, invalid
from kraftlet_trio.simulators.kubernetes.kinds.rules import KindRules, fixed
from kraftlet_trio.simulators.kubernetes.resources import Json, resource_of
from kraftlet_trio.simulators.kubernetes.storage import Storage


def _check_config_map(config_map: Json) -> None:
    for key, text in config_map.get("data", {}).items():
        if not isinstance(text, str):
            raise bad_request(
                f"json: cannot unmarshal {type(text).__name__} into Go struct field "
                f"ConfigMap.data.{key} of type string"
            )


def _fold_text(secret: Json) -> None:
    secret.setdefault("type", "Opaque")
    plain = secret.pop("stringData", {})
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
    if encoded:
        secret["data"] = secret.get("data", {}) | encoded
    for key, text in secret.get("data", {}).items():
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError) as error:
            raise bad_request(f"illegal base64 data in Secret.data.{key}") from error


def _keep_immutable(old: Json, new: Json) -> None:
    name = new["metadata"]["name"]
    if new.get("type") != old.get("type"):
        raise invalid(resource_of(new), name, fixed("type"))
    if old.get("immutable") and any(
        old.get(field) != new.get(field) for field in ("data", "binaryData", "immutable")
    ):
        why = "field is immutable when `immutable` is set"
        raise invalid(resource_of(new), name, fixed("data", why))


def _create_config_map(config_map: Json, storage: Storage) -> None:
    _check_config_map(config_map)


def _update_config_map(old: Json, new: Json) -> None:
    _check_config_map(new)
    _keep_immutable(old, new)


def _create_secret(secret: Json, storage: Storage) -> None:
    _fold_text(secret)


def _update_secret(old: Json, new: Json) -> None:
    _fold_text(new)
    _keep_immutable(old, new)


CONFIG_MAP_RULES = KindRules(create=_create_config_map, update=_update_config_map)
SECRET_RULES = KindRules(create=_create_secret, update=_update_secret)

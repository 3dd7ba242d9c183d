"""The pull secrets of a Pod, and which of their credentials an image may be pulled with.

Source: the kubelet's keyring (pkg/credentialprovider). Credentials are kept by what they are for:
a host, perhaps with a port and a path. A host may have wildcards, label by label; a path is a
prefix, as text. The more particular go first, and the puller tries all that match in turn.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

import attrs
import orjson

from kraftlet_trio.kubernetes.objects import Secret
from kraftlet_trio.mapping.problems import ConfigurationWarning, shown
from kraftlet_trio.registry.objects import Credential
from kraftlet_trio.registry.reference import DOCKER_HUB, ImageReference

_KEYS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
_HUB_HOSTS = ("index.docker.io", "registry-1.docker.io")
"""Docker Hub's hosts besides the one that references name."""
_LOCATION = re.compile(
    r"(?:https?://)?(?:[^/?#@]*@)?(?P<host>[^/?#@]*)(?P<path>[^?#]*)(?:[?#].*)?", re.DOTALL
)
_REASON = "FailedToRetrieveImagePullSecret"


@attrs.frozen
class Credentials:
    """What to pull an image with."""

    candidates: tuple[Credential, ...]
    """To be tried in turn; with none, the image is pulled anonymously."""
    warnings: tuple[ConfigurationWarning, ...] = ()


def pull_credentials(reference: ImageReference, secrets: Sequence[Secret]) -> Credentials:
    """The credentials in *secrets* for the image *reference*.

    A secret that cannot be read is a warning that names it, and never tells what it holds.
    """
    warnings = []
    by_key: dict[str, list[Credential]] = {}
    for secret in secrets:
        try:
            for key, credential in _entries(secret):
                by_key.setdefault(key, []).append(credential)
        except _Malformed as error:
            warnings.append(_unusable(secret, str(error)))
    matching = [key for key in sorted(by_key, reverse=True) if _matches(key, reference)]
    if not matching and reference.domain == DOCKER_HUB:
        matching = [host for host in _HUB_HOSTS if host in by_key]
    candidates = dict.fromkeys(each for key in matching for each in by_key[key])
    return Credentials(tuple(candidates), tuple(warnings))


def missing_pull_secrets(names: Iterable[str]) -> ConfigurationWarning:
    """Said of Secrets that the Pod names and that do not exist, in the kubelet's words."""
    return ConfigurationWarning(
        _REASON,
        f"Unable to retrieve some image pull secrets ({', '.join(names)}); attempting to pull the "
        "image may not succeed.",
    )


def refused_pull_secrets(reference: ImageReference, why: str) -> ConfigurationWarning:
    """Said where a registry was asked, and took none of the credentials that there are."""
    return ConfigurationWarning(
        "ImagePullSecretRefused",
        f"No credential in the image pull secrets opens {reference}: {why}; correct them, or the "
        "name of the image",
    )


class _Malformed(Exception):
    """The text says what is wrong, without any of the secret's content."""


def _unusable(secret: Secret, why: str) -> ConfigurationWarning:
    return ConfigurationWarning(
        _REASON,
        f"Unable to use image pull secret {shown(secret.metadata.name)}: {why}; attempting to pull "
        "the image may not succeed.",
    )


def _entries(secret: Secret) -> Iterator[tuple[str, Credential]]:
    """What each credential of *secret* is for, and itself. Raises ``_Malformed``."""
    data_key = _KEYS.get(secret.type)
    if data_key is None:
        raise _Malformed(f"its type is {shown(secret.type)} and not one of {', '.join(_KEYS)}")
    encoded = secret.data.get(data_key)
    if not encoded:
        raise _Malformed(f"it has no key {data_key}")
    try:
        document = orjson.loads(base64.b64decode(encoded, validate=True))
    except ValueError as error:  # orjson's and binascii's are
        raise _Malformed(f"{data_key} is not JSON") from error
    if not isinstance(document, dict):
        raise _Malformed(f"{data_key} is not a JSON object")
    if data_key == ".dockerconfigjson":
        document = document.get("auths")
        if document is None:
            return
    if not isinstance(document, dict):
        raise _Malformed(f"auths in {data_key} is not a JSON object")
    entries = [(_key(location), _credential(entry)) for location, entry in document.items()]
    yield from ((key, each) for key, each in entries if key is not None and each is not None)


def _key(location: str) -> str | None:
    """The host and path that an entry's *location* is for; None if it is no URL.

    A scheme is dropped, and so is the version of the registry's API that Docker once wrote.
    """
    parts = _LOCATION.fullmatch(location)
    if parts is None:
        return None
    host, path = parts["host"], unquote(parts["path"])
    if path.startswith(("/v1/", "/v2/")):
        path = path[len("/v1") :]
    return host if path == "/" else host + path


def _credential(entry: Any) -> Credential | None:
    """None for an entry without any. Raises ``_Malformed``."""
    if not isinstance(entry, dict):
        raise _Malformed("an entry of it is not a JSON object")
    username, password = _text(entry, "username"), _text(entry, "password")
    identity_token = _text(entry, "identitytoken")
    auth = _text(entry, "auth")
    if auth:
        username, password = _user_and_password(auth)
    if not (username or password or identity_token):
        return None
    return Credential(username=username, password=password, identity_token=identity_token)


def _text(entry: Mapping[str, Any], field: str) -> str:
    value = entry.get(field) or ""
    if not isinstance(value, str):
        raise _Malformed(f"{field} in an entry of it is not text")
    return value


def _user_and_password(auth: str) -> tuple[str, str]:
    try:
        # Written with and without padding, and with line breaks.
        text = "".join(auth.split()).rstrip("=")
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _Malformed("auth in an entry of it is not base64") from error
    username, colon, password = decoded.partition(":")
    if not colon:
        raise _Malformed("auth in an entry of it is not a user and a password")
    return username, password


def _matches(key: str, reference: ImageReference) -> bool:
    host, _, path = key.partition("/")
    name, port = _split_port(host)
    domain, domain_port = _split_port(reference.domain)
    labels, domain_labels = name.split("."), domain.split(".")
    return (
        port == domain_port
        and len(labels) == len(domain_labels)
        and reference.path.startswith(path)
        and all(map(_label_matches, labels, domain_labels))
    )


def _label_matches(pattern: str, label: str) -> bool:
    """Go's patterns negate a class by ``^``, Python's by ``!``."""
    return fnmatchcase(label, pattern.replace("[^", "[!"))


def _split_port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and not host.endswith("]") else (host, "")

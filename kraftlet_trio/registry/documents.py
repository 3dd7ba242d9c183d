"""Manifests and image configurations, as OCI and Docker write them.

Sources: OCI image-spec (index, manifest, config), Docker's image manifest version 2, schema 2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from kraftlet_trio.registry.errors import Malformed, NotFound
from kraftlet_trio.registry.objects import ImageConfig

ACCEPTED = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
"""What a manifest is asked for as."""

MOST_CHARACTERS = 128 * 1024
"""Of a configuration's texts together; they are kept in memory, and whole images need less."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_ALIASES = {"amd64": ("amd64", "x86_64"), "arm64": ("arm64", "aarch64")}


@attrs.frozen(kw_only=True)
class Manifest:
    """One image's."""

    config: str
    """Digest of its configuration."""


@attrs.frozen(kw_only=True)
class Listed:
    """An image in an index."""

    digest: str
    architecture: str
    os: str


@attrs.frozen(kw_only=True)
class Index:
    """Images for several platforms under one name."""

    images: tuple[Listed, ...]

    def choose(self, architecture: str) -> str:
        """Digest of the manifest for *architecture*, of Linux if there are several.

        Images built for Unikraft Cloud name another system than Linux. Raises ``NotFound``.
        """
        names = _ALIASES.get(architecture, (architecture,))
        fitting = [image for image in self.images if image.architecture in names]
        fitting.sort(key=lambda image: image.os != "linux")
        if not fitting and len(self.images) == 1 and not self.images[0].architecture:
            fitting = list(self.images)
        if not fitting:
            raise NotFound(f"the image is not for {architecture}")
        return fitting[0].digest


def check_digest(body: bytes, digest: str) -> None:
    """Raises ``Malformed`` if *body* is not what *digest* stands for."""
    algorithm, _, expected = digest.partition(":")
    if hashlib.new(algorithm, body).hexdigest() != expected:
        raise Malformed(f"the content is not that of its digest {digest}")


def read_manifest(body: bytes) -> Manifest | Index:
    """Raises ``Malformed``."""
    document = _object(_parsed(body, "the manifest"), "the manifest")
    if isinstance(document.get("manifests"), list):
        return Index(images=tuple(filter(None, map(_listed, document["manifests"]))))
    config = document.get("config")
    if not isinstance(config, dict):
        raise Malformed("the manifest has no config: it is not one of an image, or a very old one")
    return Manifest(config=_digest(config.get("digest")))


def read_config(body: bytes) -> ImageConfig:
    """Raises ``Malformed``."""
    document = _object(_parsed(body, "the image's configuration"), "the image's configuration")
    config = _object(document.get("config") or {}, "config of the image")
    read = ImageConfig(
        entrypoint=_texts(config, "Entrypoint"),
        cmd=_texts(config, "Cmd"),
        env=dict(variable.partition("=")[::2] for variable in _texts(config, "Env")),
        working_dir=_text(config, "WorkingDir"),
        user=_text(config, "User"),
    )
    environment = (*read.env.keys(), *read.env.values())
    texts = (*read.entrypoint, *read.cmd, *environment, read.working_dir, read.user)
    if sum(map(len, texts)) + len(texts) > MOST_CHARACTERS:
        raise Malformed(f"the image's configuration has more than {MOST_CHARACTERS} characters")
    return read


def _listed(entry: object) -> Listed | None:
    """None for what is no image, such as an attestation."""
    if not isinstance(entry, dict):
        raise Malformed("an image in the index is not an object")
    platform = _object(entry.get("platform") or {}, "platform of an image in the index")
    architecture, os = _text(platform, "architecture"), _text(platform, "os")
    if "unknown" in (architecture, os):
        return None
    return Listed(digest=_digest(entry.get("digest")), architecture=architecture, os=os)


def _parsed(body: bytes, what: str) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"{what} is not JSON") from error


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{what} is not a JSON object")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise Malformed("the manifest names a digest of no known form")
    return value


def _text(document: Mapping[str, Any], field: str) -> str:
    value = document.get(field) or ""
    if not isinstance(value, str):
        raise Malformed(f"{field} of the image is not text")
    return value


def _texts(document: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = document.get(field) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Malformed(f"{field} of the image is not a list of texts")
    return tuple(value)

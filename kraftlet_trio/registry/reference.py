"""Image references, read as Docker and every container runtime read them.

Source: the grammar and the normalisation of github.com/distribution/reference.
"""

from __future__ import annotations

import re

import attrs

DOCKER_HUB = "docker.io"

_LEGACY_DOCKER_HUB = "index.docker.io"
_OFFICIAL = "library/"
_LONGEST_PATH = 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


class InvalidReference(ValueError):
    """Not an image reference. The text says what is wrong with it, without repeating it."""


@attrs.frozen(kw_only=True)
class ImageReference:
    """An image's full name: ``docker.io/library/nginx:1`` where ``nginx:1`` was written."""

    domain: str
    """The registry's host, perhaps with a port; Docker Hub's is ``docker.io``."""
    path: str
    tag: str = ""
    digest: str = ""
    domain_written: bool = attrs.field(default=True, eq=False)
    """False where Docker would fill in its Hub, and others may fill in theirs."""

    @property
    def repository(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return self.repository + tag + digest


def parse_reference(text: str) -> ImageReference:
    """The image that *text* names.

    Raises:
        InvalidReference: it names none.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InvalidReference("64 hexadecimal digits are an image's id and not its name")
    first, slash, rest = text.partition("/")
    written = bool(slash) and _is_domain(first)
    domain, remainder = (first, rest) if written else (DOCKER_HUB, text)
    if domain == _LEGACY_DOCKER_HUB:
        domain = DOCKER_HUB
    name, at, digest = remainder.partition("@")
    path, colon, tag = name.partition(":")
    if domain == DOCKER_HUB and "/" not in path:
        path = _OFFICIAL + path
    if not _DOMAIN.fullmatch(domain):
        raise InvalidReference("its registry is not a host name")
    if len(path) > _LONGEST_PATH:
        raise InvalidReference(f"its repository's name is longer than {_LONGEST_PATH} characters")
    if not _PATH.fullmatch(path):
        raise InvalidReference(_what_is_wrong_with(path))
    if colon and not _TAG.fullmatch(tag):
        raise InvalidReference("its tag may have letters, digits, _, . and -, 128 of them at most")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidReference("its digest is not sha256: and 64 lower-case hexadecimal digits")
    return ImageReference(domain=domain, path=path, tag=tag, digest=digest, domain_written=written)


def _is_domain(first: str) -> bool:
    return first == "localhost" or "." in first or ":" in first or first.lower() != first


def _what_is_wrong_with(path: str) -> str:
    if path in ("", _OFFICIAL):
        return "it has no repository"
    if path.lower() != path:
        return "its repository's name has upper-case letters"
    return (
        "its repository's name may have lower-case letters and digits, with single ., _, / or "
        "any - between them"
    )

"""The platform's rules for names, tags, annotations, paths and sizes (reference, names and tags).

Each function returns what it was given, or raises ``ItemError`` (where the reference documents
a 400, ``BadRequest``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from uuid import UUID

from kraftlet_trio.simulators.cloud.errors import BadRequest, ErrorCode, ItemError, invalid

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_PLUGIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_TAG = re.compile(r"[A-Za-z0-9+_.:=-]+")
_ANNOTATION_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_ANNOTATION_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")

_LONGEST_LABEL = 63
_LONGEST_DOMAIN = 253
_LONGEST_TAG = 256
_MOST_TAGS = 16
_MOST_ANNOTATIONS = 256


def valid_uuid(text: str) -> str:
    try:
        canonical = str(UUID(text))
    except ValueError:
        canonical = ""
    if canonical != text.lower():
        raise invalid(f"Invalid uuid '{text}'")
    return canonical


def valid_name(text: str) -> str:
    """A name that can be a DNS label, since host names are made of it.

    The reference leaves the character set open; this is the strictest that its examples allow.
    """
    if len(text) > _LONGEST_LABEL:
        raise ItemError(ErrorCode.TOO_LONG, f"Name is too long: '{text[:80]}'")
    if not _NAME.fullmatch(text):
        raise invalid(f"Invalid name '{text}'")
    return text


def valid_plugin_name(text: str) -> str:
    if not _PLUGIN_NAME.fullmatch(text):
        raise invalid(f"Invalid plugin name '{text[:80]}'")
    return text


def valid_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags without repetitions."""
    unique = tuple(dict.fromkeys(tags))
    if len(unique) > _MOST_TAGS:
        raise invalid(f"Too many tags: at most {_MOST_TAGS}")
    for tag in unique:
        if len(tag) > _LONGEST_TAG or not _TAG.fullmatch(tag):
            raise invalid(f"Invalid tag '{tag[:80]}'")
    return unique


def valid_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    if len(annotations) > _MOST_ANNOTATIONS:
        raise invalid(f"Too many annotations: at most {_MOST_ANNOTATIONS}")
    for key, value in annotations.items():
        prefix, slash, name = key.rpartition("/")
        if slash and not (len(prefix) <= _LONGEST_DOMAIN and _ANNOTATION_PREFIX.fullmatch(prefix)):
            raise invalid(f"Invalid annotation key '{key[:80]}'")
        if len(name) > _LONGEST_LABEL or not _ANNOTATION_NAME.fullmatch(name):
            raise invalid(f"Invalid annotation key '{key[:80]}'")
        if _CONTROL.search(value):
            raise BadRequest(f"Control character in the value of annotation '{key}'")
    return dict(annotations)


def valid_environment(env: Mapping[str, str]) -> dict[str, str]:
    for key, value in env.items():
        if not key or "=" in key or "\0" in key or "\0" in value:
            raise invalid(f"Invalid environment variable '{key[:80]}'")
    return dict(env)


def valid_arguments(args: Iterable[str]) -> tuple[str, ...]:
    args = tuple(args)
    if any("\0" in arg for arg in args):
        raise invalid("Invalid argument: it has a NUL character")
    return args


def valid_mount_path(path: str) -> str:
    """Absolute, below the root, without ``.``, ``..``, colons or NUL."""
    parts = path.split("/")
    if (
        not path.startswith("/")
        or path.strip("/") == ""
        or any(part in (".", "..") for part in parts)
        or ":" in path
        or "\0" in path
    ):
        raise invalid(f"Invalid mount path '{path}'")
    return path


def valid_host_label(text: str) -> str:
    if len(text) > _LONGEST_LABEL or not _HOST_LABEL.fullmatch(text):
        raise invalid(f"Invalid hostname '{text[:80]}'")
    return text


def valid_domain(text: str, zone: str) -> str:
    """The domain in full, without a trailing dot: *text* if that has one, else below *zone*."""
    fqdn = text[:-1] if text.endswith(".") else f"{text}.{zone}"
    labels = fqdn.removeprefix("*.").split(".")
    if len(fqdn) > _LONGEST_DOMAIN or not all(
        len(label) <= _LONGEST_LABEL and _HOST_LABEL.fullmatch(label) for label in labels
    ):
        raise invalid(f"Invalid domain name '{text[:80]}'")
    return fqdn.lower()


def valid_image(url: str) -> str:
    if not url or not url.isprintable() or " " in url:
        raise invalid(f"Invalid image '{url[:80]}'")
    return url

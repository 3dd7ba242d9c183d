"""The ``WWW-Authenticate`` headers of an answer 401, as RFC 9110 has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import attrs

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A parameter, or the scheme that begins the next challenge.
_PART = re.compile(
    rf"\s*,*\s*(?:(?P<name>{_TOKEN})\s*=\s*"
    rf'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))'
    rf"|(?P<scheme>{_TOKEN})(?=\s|,|$))"
)


@attrs.frozen
class Challenge:
    scheme: str
    """In lower case."""
    parameters: Mapping[str, str]
    """By names in lower case."""


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """What *headers* offer, up to where one cannot be read any further."""
    found = []
    for header in headers:
        parameters: dict[str, str] = {}
        position = 0
        while match := _PART.match(header, position):
            position = match.end()
            if match["scheme"]:
                parameters = {}
                found.append(Challenge(match["scheme"].lower(), parameters))
            else:
                quoted = match["quoted"]
                value = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                parameters.setdefault(match["name"].lower(), value)
    return found

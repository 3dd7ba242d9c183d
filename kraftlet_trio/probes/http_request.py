"""The request of an httpGet action, and where its redirects lead: purely.

Source: kubelet's probe/http/request.go, and Go's net/http for what happens at a redirect.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit

import attrs

from kraftlet_trio.kubernetes.pod import Container, HTTPGetAction
from kraftlet_trio.probes.means import KUBERNETES_MINOR, address
from kraftlet_trio.probes.ports import container_port

Purpose = Literal["probe", "lifecycle"]

_REDIRECTS = (301, 302, 303, 307, 308)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OWN_HEADERS = ("host", "connection", "content-length", "transfer-encoding", "trailer")
"""Those that say how it is sent, whatever is asked for."""
_UNESCAPED = "/!$&'()*+,;=:@~-._?%"
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A GET."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query, escaped."""
    headers: tuple[tuple[str, str], ...]
    host_header: str = ""
    """Where it differs from the URL's."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{address(self.host, self.port)}{self.target}"

    @property
    def sent_headers(self) -> list[tuple[str, str]]:
        host = self.host_header or self._url_host
        return [("Host", host), *self.headers, ("Connection", "close")]

    @property
    def _url_host(self) -> str:
        return address(self.host, self.port)

    def over_http(self) -> HttpRequest:
        """The same without TLS, and so without what only TLS would have kept secret."""
        headers = [one for one in self.headers if one[0].lower() != "authorization"]
        return attrs.evolve(self, scheme="http", headers=tuple(headers))

    def leads_elsewhere(self, other: HttpRequest) -> bool:
        return self.host.lower() != other.host.lower()


def http_request(
    action: HTTPGetAction, container: Container, private_ip: str, purpose: Purpose
) -> HttpRequest:
    """Raises ``CannotProbe`` where the port's name is unknown."""
    given = [(header.name, header.value.strip()) for header in action.http_headers]
    host_header = next((value for name, value in given if name.lower() == "host"), "")
    names = {name.lower() for name, _ in given}
    headers = [
        (name, value)
        for name, value in given
        if name.lower() not in _OWN_HEADERS
        and (value or name.lower() not in ("accept", "user-agent"))
    ]
    if "user-agent" not in names:
        headers.append(("User-Agent", f"kube-{purpose}/{KUBERNETES_MINOR}"))
    if "accept" not in names:
        headers.append(("Accept", "*/*"))
    return HttpRequest(
        scheme=action.scheme.lower() or "http",
        host=action.host or private_ip,
        port=container_port(action.port, container),
        target=_target(action.path),
        headers=tuple(headers),
        host_header=host_header,
    )


def redirected(request: HttpRequest, status: int, location: str) -> HttpRequest | None:
    """The request that follows an answer of *status*; None where none does.

    Raises ``ValueError`` where *location* makes no sense.
    """
    if status not in _REDIRECTS or not location:
        return None
    parts = urlsplit(urljoin(request.url, location))
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"unsupported protocol scheme {parts.scheme!r}")
    if not parts.hostname:
        raise ValueError(f"failed to parse Location header {location!r}")
    headers = [one for one in request.headers if one[0].lower() != "referer"]
    if (request.scheme, parts.scheme) != ("https", "http"):
        headers.append(("Referer", request.url))
    return HttpRequest(
        scheme=parts.scheme,
        host=parts.hostname,
        port=parts.port or _DEFAULT_PORTS[parts.scheme],
        target=_target(parts.path + (f"?{parts.query}" if parts.query else "")),
        headers=tuple(headers),
        # A name asked for under another one's address is still meant after a relative redirect.
        host_header="" if urlsplit(location).scheme else request.host_header,
    )


def _target(path: str) -> str:
    """*path*, query included, as it stands in a request line."""
    if _BROKEN_ESCAPE.search(path):
        target = quote(path, safe="/")  # no URL: all of it is a path
    else:
        target = quote(path.partition("#")[0], safe=_UNESCAPED + "[]")
    return target if target.startswith("/") else f"/{target}"

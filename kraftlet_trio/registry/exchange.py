"""One request to a host that somebody named in a Pod: bounded in time, size and redirects.

No proxy, no cookie, no compression and no retry; what it leads to is as little trusted as itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import aclosing

import attrs
import httpx
import trio

from kraftlet_trio import __version__
from kraftlet_trio.registry.errors import Malformed, Unreachable

REQUEST_SECONDS = 10.0
"""For an answer whole, with each redirect counted anew."""
MOST_REDIRECTS = 4
MOST_BYTES = 1024 * 1024
"""Of a body. Manifests and configurations have some kilobytes."""

_AUTHORITY = re.compile(
    r"(?:[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
_REDIRECTS = (301, 302, 303, 307, 308)


@attrs.frozen
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes = attrs.field(repr=False)
    from_another: bool = False
    """Whether it comes from another host than the one that was asked."""


@attrs.frozen
class Exchange:
    transport: httpx.AsyncBaseTransport
    plain_hosts: Collection[str]
    """Hosts in lower case, with their port unless it is 80, that are spoken to without TLS."""

    def registry_url(self, host: str) -> str:
        """Where the registry *host* is."""
        plain = host.lower().removesuffix(":80") in self.plain_hosts
        return f"{'http' if plain else 'https'}://{host}"

    async def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Ask *url*, and whom it sends us to; another host than the first is shown no credential.

        Raises:
            Unreachable: no answer, or not in time.
            Malformed: too large an answer, too many redirects, or one to where we do not go.
        """
        first = target = self._checked(url)
        shown = dict(headers)
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._ask(httpx.Request("GET", target, headers=self._headers(shown)))
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or location is None:
                return attrs.evolve(answer, from_another=_origin(target) != _origin(first))
            following = self._checked(location, target)
            if _origin(following) != _origin(first):
                shown.pop("authorization", None)
            target = following
        raise Malformed(f"{target.host} redirects again and again")

    async def post_form(self, url: str, form: Mapping[str, str]) -> Answer:
        """Send *form* to *url*; a redirect is the answer. Raises as ``get``."""
        target = self._checked(url)
        return await self._ask(
            httpx.Request("POST", target, data=dict(form), headers=self._headers({}))
        )

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        # Whatever is compressed may be small now and huge then.
        own = {"accept-encoding": "identity", "user-agent": f"kraftlet-trio/{__version__}"}
        return {**own, **headers}

    def _checked(self, url: str, base: httpx.URL | None = None) -> httpx.URL:
        try:
            checked = httpx.URL(url) if base is None else base.join(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise Malformed("the registry sends us to what is no URL") from error
        authority = checked.netloc.decode("ascii")
        if not _is_authority(authority):
            raise Malformed("no registry can be at a host of that form")
        plain = checked.scheme == "http" and authority in self.plain_hosts
        if checked.userinfo or not (plain or checked.scheme == "https"):
            raise Malformed("the registry sends us to where there is no TLS")
        return checked

    async def _ask(self, request: httpx.Request) -> Answer:
        host = request.url.host
        with trio.move_on_after(REQUEST_SECONDS):
            try:
                response = await self.transport.handle_async_request(request)
                async with aclosing(response):
                    return Answer(response.status_code, response.headers, await _body(response))
            except httpx.RemoteProtocolError as error:
                raise Malformed(f"{host} does not speak HTTP as it should") from error
            except httpx.HTTPError as error:
                raise Unreachable(f"{host}: {str(error) or type(error).__name__}") from error
        raise Unreachable(f"{host} does not answer within {REQUEST_SECONDS:.0f} s")


async def _body(response: httpx.Response) -> bytes:
    pieces = []
    size = 0
    assert isinstance(response.stream, httpx.AsyncByteStream)  # so transports promise
    async for piece in response.stream:
        size += len(piece)
        if size > MOST_BYTES:
            raise Malformed(f"the answer has more than {MOST_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _is_authority(text: str) -> bool:
    """Whether a resolver can be asked for it: some break, rather than fail, over other texts."""
    parts = _AUTHORITY.fullmatch(text)
    return parts is not None and len(text) <= 253 and 0 < int(parts["port"] or 1) < 65536


def _origin(url: httpx.URL) -> tuple[str, bytes]:
    return url.scheme, url.netloc

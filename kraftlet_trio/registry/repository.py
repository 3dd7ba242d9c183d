"""One repository of a registry, opened with one credential or with none.

Sources: OCI distribution-spec (pull), Docker's token authentication (its GET for a password, its
OAuth 2 POST for an identity token).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs
import httpx
import orjson

from kraftlet_trio.registry.challenges import Challenge, parse_challenges
from kraftlet_trio.registry.documents import (
    ACCEPTED,
    Index,
    Manifest,
    check_digest,
    read_config,
    read_manifest,
)
from kraftlet_trio.registry.errors import Malformed, NotFound, Unauthorized, Unreachable
from kraftlet_trio.registry.exchange import Answer, Exchange
from kraftlet_trio.registry.objects import Credential, ImageConfig
from kraftlet_trio.registry.reference import DOCKER_HUB, ImageReference

_DOCKER_HUB_REGISTRY = "registry-1.docker.io"
_CLIENT_ID = "kraftlet-trio"
_DEEPEST_INDEX = 3
_TOKEN = re.compile(r"[!-~]{1,32768}")


@attrs.define
class Repository:
    """What *reference* names, as its registry shows it to the bearer of *credential*."""

    _exchange: Exchange
    _reference: ImageReference
    _credential: Credential | None
    _authorization: str | None = attrs.field(default=None, init=False, repr=False)
    """Kept for the requests that follow the first."""

    async def manifest(self, architecture: str) -> Manifest:
        """The image's manifest, the one for *architecture* if there are several.

        Raises ``RegistryError``.
        """
        version = self._reference.version
        for _ in range(_DEEPEST_INDEX):
            answer = await self._get(f"manifests/{version}", accept=ACCEPTED)
            if ":" in version:
                check_digest(answer.body, version)
            manifest = read_manifest(answer.body)
            if not isinstance(manifest, Index):
                return manifest
            version = manifest.choose(architecture)
        raise Malformed("the image's index leads to another, and that one to yet another")

    async def config(self, digest: str) -> ImageConfig:
        """The configuration that *digest* stands for. Raises ``RegistryError``."""
        answer = await self._get(f"blobs/{digest}", accept="*/*")
        check_digest(answer.body, digest)
        return read_config(answer.body)

    async def _get(self, path: str, *, accept: str) -> Answer:
        host = self._reference.domain
        if host == DOCKER_HUB:
            host = _DOCKER_HUB_REGISTRY
        url = f"{self._exchange.registry_url(host)}/v2/{self._reference.path}/{path}"
        answer = await self._exchange.get(url, self._headers(accept))
        if answer.status == httpx.codes.UNAUTHORIZED and not (
            self._authorization or answer.from_another
        ):
            self._authorization = await self._authorize(answer.headers)
            answer = await self._exchange.get(url, self._headers(accept))
        return _checked(answer, host)

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {"accept": accept}
        if self._authorization is not None:
            headers["authorization"] = self._authorization
        return headers

    async def _authorize(self, headers: httpx.Headers) -> str:
        """What to show to a registry that answered 401 with *headers*."""
        challenges = {
            challenge.scheme: challenge
            for challenge in parse_challenges(headers.get_list("www-authenticate"))
        }
        if bearer := challenges.get("bearer"):
            return f"Bearer {await self._token(bearer)}"
        if self._credential is None:
            raise Unauthorized(f"{self._reference.domain} asks for a credential")
        if "basic" in challenges:
            return f"Basic {self._credential.basic}"
        raise Malformed(f"{self._reference.domain} asks for an authentication of no known kind")

    async def _token(self, challenge: Challenge) -> str:
        realm = challenge.parameters.get("realm", "")
        wanted = {
            "service": challenge.parameters.get("service", ""),
            "scope": challenge.parameters.get("scope") or f"repository:{self._reference.path}:pull",
        }
        answer = await self._ask_for_token(realm, {key: v for key, v in wanted.items() if v})
        if 400 <= answer.status < 404:
            raise Unauthorized(f"{self._reference.domain} refuses the credential")
        document = _json(_checked(answer, f"{self._reference.domain}'s token server").body)
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise Malformed(f"{self._reference.domain}'s token server gives no token")
        return token

    async def _ask_for_token(self, realm: str, wanted: dict[str, str]) -> Answer:
        credential = self._credential
        if credential is not None and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "client_id": _CLIENT_ID,
                "refresh_token": credential.identity_token,
            }
            return await self._exchange.post_form(realm, {**wanted, **form})
        try:
            url = httpx.URL(realm).copy_merge_params(wanted)
        except (httpx.InvalidURL, ValueError) as error:
            raise Malformed(f"{self._reference.domain} names no URL to authenticate at") from error
        headers = {"accept": "application/json"}
        if credential is not None:
            headers["authorization"] = f"Basic {credential.basic}"
        return await self._exchange.get(str(url), headers)


def _checked(answer: Answer, host: str) -> Answer:
    """*answer* if it is one. Raises ``RegistryError``."""
    match answer.status:
        case 200:
            return answer
        case 401 | 403:
            raise Unauthorized(f"{host} refuses the credential, or asks for one")
        case 404:
            raise NotFound(f"{host} has no such image, or does not show it")
        case 429:
            raise Unreachable(f"{host} asks for fewer requests (status 429)")
        case status if status >= 500:
            raise Unreachable(f"{host} is out of order (status {status})")
        case status:
            raise Malformed(f"{host} answers with status {status}")


def _json(body: bytes) -> Mapping[str, object]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    return document if isinstance(document, dict) else {}

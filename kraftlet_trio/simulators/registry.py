"""An OCI registry in memory: what a puller reads, and the authentication in front of it.

A handler for the HTTP server or the transport in memory. Sources: OCI distribution-spec, the
token authentication of Docker's registry.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qs

import attrs
import orjson
import trio

from kraftlet_trio.http.messages import Request, Response, json_response

Authentication = Literal["bearer", "basic"]

_OCI = "application/vnd.oci.image"
_DOCKER = "application/vnd.docker.distribution"


@attrs.frozen
class _Blob:
    body: bytes
    media_type: str

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.body).hexdigest()

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.body)}


@attrs.define
class _Repository:
    readers: frozenset[str] | None
    """Users that may pull; None for anybody."""
    manifests: dict[str, _Blob] = attrs.field(factory=dict)
    """By tag and by digest."""
    blobs: dict[str, _Blob] = attrs.field(factory=dict)


@attrs.define(eq=False)
class RegistrySimulator:
    """A registry at *url*; everybody is asked to authenticate, be it as nobody."""

    url: str = "https://registry.test"
    authentication: Authentication = "bearer"
    passwords: dict[str, str] = attrs.field(factory=dict)
    """By user."""
    identity_tokens: dict[str, str] = attrs.field(factory=dict)
    """The users by their identity tokens."""
    answer_seconds: float = 0.0
    """How long each answer takes."""
    requests: list[Request] = attrs.field(factory=list, init=False)
    """All of them so far."""
    _repositories: dict[str, _Repository] = attrs.field(factory=dict, init=False)
    _grants: dict[str, tuple[str, str]] = attrs.field(factory=dict, init=False)
    """By bearer token: the user, empty for nobody, and the repository it may be shown to."""

    def put_image(
        self,
        repository: str,
        tag: str = "latest",
        *,
        config: Mapping[str, Any] | None = None,
        platforms: Sequence[str] = ("linux/amd64",),
        readers: Collection[str] | None = None,
        docker: bool = False,
    ) -> str:
        """Push an image and return its digest; with several *platforms* that of an index.

        *config* is what its configuration has under that name (``Entrypoint``, ``Cmd`` …).
        *docker* writes Docker's media types and not OCI's.
        """
        place = self._repositories.setdefault(repository, _Repository(None))
        place.readers = None if readers is None else frozenset(readers)
        entries = []
        for platform in platforms:
            os, _, architecture = platform.partition("/")
            manifest = _put_manifest(place, os, architecture, config or {}, docker=docker)
            described = {"os": os, "architecture": architecture}
            entries.append({**manifest.descriptor(), "platform": described})
        top = manifest if len(entries) == 1 else _index(entries, docker=docker)
        place.manifests[tag] = place.manifests[top.digest] = top
        return top.digest

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        await trio.sleep(self.answer_seconds)
        if request.path == "/token":
            return self._token(request)
        if request.method not in ("GET", "HEAD"):
            return _error(405, "UNSUPPORTED")
        name, _, rest = request.path.removeprefix("/v2/").rpartition("/")
        repository, _, kind = name.rpartition("/")
        user = self._user(request, repository)
        place = self._repositories.get(repository)
        if user is None or (place and place.readers is not None and user not in place.readers):
            return self._challenge(repository)
        if kind not in ("manifests", "blobs"):
            return json_response({})
        found = place and (place.manifests if kind == "manifests" else place.blobs).get(rest)
        if not found:
            return _error(404, f"{kind.removesuffix('s').upper()}_UNKNOWN")
        headers = {"content-type": found.media_type, "docker-content-digest": found.digest}
        return Response(headers=headers, body=found.body)

    def _challenge(self, repository: str) -> Response:
        if self.authentication == "basic":
            return _error(401, "UNAUTHORIZED", {"www-authenticate": 'Basic realm="registry"'})
        challenge = (
            f'Bearer realm="{self.url}/token",service="registry",'
            f'scope="repository:{repository}:pull"'
        )
        return _error(401, "UNAUTHORIZED", {"www-authenticate": challenge})

    def _user(self, request: Request, repository: str) -> str | None:
        """Whoever asks, empty for nobody in particular; None if that is not shown."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if self.authentication == "basic":
            return self._login(shown) if scheme == "Basic" else None
        user, granted = self._grants.get(shown, ("", None)) if scheme == "Bearer" else ("", None)
        return user if granted == repository else None

    def _login(self, basic: str) -> str | None:
        try:
            user, _, password = base64.b64decode(basic, validate=True).decode().partition(":")
        except ValueError:
            return None
        if self.identity_tokens.get(password):
            return self.identity_tokens[password]
        return user if password and self.passwords.get(user) == password else None

    def _token(self, request: Request) -> Response:
        user: str | None = ""
        if request.method == "POST":
            form = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
            user = self.identity_tokens.get(form.get("refresh_token", ""))
        else:
            form = dict(request.query)
            scheme, _, basic = request.headers.get("authorization", "").partition(" ")
            if scheme:
                user = self._login(basic)
        kind, _, rest = form.get("scope", "").partition(":")
        if user is None or kind != "repository" or form.get("service") != "registry":
            return _error(401, "UNAUTHORIZED")
        token = secrets.token_urlsafe()
        self._grants[token] = (user, rest.rpartition(":")[0])
        return json_response({"token": token, "expires_in": 60})


def _put_manifest(
    place: _Repository, os: str, architecture: str, config: Mapping[str, Any], *, docker: bool
) -> _Blob:
    described = {"os": os, "architecture": architecture, "config": config, "rootfs": {}}
    kind = "application/vnd.docker.container.image.v1+json" if docker else f"{_OCI}.config.v1+json"
    blob = _Blob(orjson.dumps(described), kind)
    place.blobs[blob.digest] = blob
    media_type = f"{_DOCKER}.manifest.v2+json" if docker else f"{_OCI}.manifest.v1+json"
    manifest = _document(media_type, {"config": blob.descriptor(), "layers": []})
    place.manifests[manifest.digest] = manifest
    return manifest


def _index(entries: Sequence[Mapping[str, Any]], *, docker: bool) -> _Blob:
    media_type = f"{_DOCKER}.manifest.list.v2+json" if docker else f"{_OCI}.index.v1+json"
    return _document(media_type, {"manifests": entries})


def _document(media_type: str, content: Mapping[str, Any]) -> _Blob:
    return _Blob(orjson.dumps({"schemaVersion": 2, "mediaType": media_type, **content}), media_type)


def _error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Response:
    response = json_response({"errors": [{"code": code, "message": ""}]}, status)
    return attrs.evolve(response, headers={**response.headers, **(headers or {})})

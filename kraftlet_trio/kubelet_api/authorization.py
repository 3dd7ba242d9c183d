"""What a caller of the kubelet port may do: its rights on subresources of the Node.

Source of the table: kubelet, pkg/kubelet/server/auth.go, with the finer subresources that it tries
before ``proxy`` since 1.32. One rule is ours: whoever runs commands, or reaches into a Pod, needs
the verb ``create``, by whatever method. The kubelet takes the verb from the method, so that there
a right to read (``get nodes/proxy``) opens an exec over WebSocket.
"""

from __future__ import annotations

from functools import partial

import attrs
import orjson

from kraftlet_trio.kubelet_api.review_cache import ReviewCache
from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.reviews import (
    ResourceAttributes,
    UserInfo,
    access_review_spec,
    review_access,
)

ALLOWED_SECONDS = 300.0
"""The kubelet's ``authorization.webhook.cacheAuthorizedTTL``."""
DENIED_SECONDS = 30.0
"""Its ``cacheUnauthorizedTTL``."""

_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES = {
    "/stats": ("stats",),
    "/metrics": ("metrics",),
    "/logs": ("log",),
    "/checkpoint": ("checkpoint",),
    "/statusz": ("statusz",),
    "/flagz": ("configz",),
    "/pods": ("pods", "proxy"),
    "/runningpods": ("pods", "proxy"),
    "/healthz": ("healthz", "proxy"),
    "/configz": ("configz", "proxy"),
}
_ELSEWHERE = ("proxy",)
_ACTS = ("/exec", "/attach", "/run", "/portForward")


@attrs.frozen
class Rights:
    """Any one of the subresources suffices."""

    verb: str
    subresources: tuple[str, ...]


def needed_rights(method: str, path: str) -> Rights:
    """*path* as it came in, percent-encoded: what is encoded names no endpoint here."""
    verb = "create" if any(_is_under(path, act) for act in _ACTS) else _VERBS.get(method, "")
    for prefix, subresources in _SUBRESOURCES.items():
        if _is_under(path, prefix):
            return Rights(verb, subresources)
    return Rights(verb, _ELSEWHERE)


def _is_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


@attrs.define
class Authorizer:
    _kubernetes: KubernetesClient
    _node_name: str
    _answers: ReviewCache[bool] = attrs.field(
        factory=lambda: ReviewCache(
            no=False, yes_seconds=ALLOWED_SECONDS, no_seconds=DENIED_SECONDS
        ),
        init=False,
    )

    async def allows(self, user: UserInfo, rights: Rights) -> bool:
        """Raises ``ReviewFailed``."""
        for subresource in rights.subresources:
            attributes = ResourceAttributes(
                verb=rights.verb,
                version="v1",
                resource="nodes",
                subresource=subresource,
                name=self._node_name,
            )
            spec = access_review_spec(user, attributes)
            key = orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)
            ask = partial(review_access, self._kubernetes, user, attributes)
            if await self._answers.answer(key, ask):
                return True
        return False

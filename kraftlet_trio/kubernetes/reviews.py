"""Questions to the API server that it answers and does not store: whose token, and who may what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import cattrs

from kraftlet_trio.kubernetes.client import KubernetesClient
from kraftlet_trio.kubernetes.errors import KubernetesUnavailable
from kraftlet_trio.kubernetes.serialization import structure, unstructure

TOKEN_REVIEWS = "apis/authentication.k8s.io/v1/tokenreviews"
SUBJECT_ACCESS_REVIEWS = "apis/authorization.k8s.io/v1/subjectaccessreviews"


@attrs.frozen(kw_only=True)
class UserInfo:
    """Who asks, in the API server's eyes."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ResourceAttributes:
    """What is asked for. Empty fields are left out."""

    verb: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


@attrs.frozen(kw_only=True)
class _TokenReviewStatus:
    authenticated: bool = False
    user: UserInfo = UserInfo()


async def review_token(client: KubernetesClient, token: str) -> UserInfo | None:
    """Whose *token* is; None where it is nobody's, or no longer. Raises ``KubernetesError``."""
    answer = await client.review(TOKEN_REVIEWS, "TokenReview", {"token": token})
    try:
        status = structure(answer, _TokenReviewStatus)
    except cattrs.BaseValidationError as error:
        faults = "; ".join(cattrs.transform_error(error))
        raise KubernetesUnavailable(f"the answer is not a TokenReview: {faults}") from error
    return status.user if status.authenticated and status.user.username else None


async def review_access(
    client: KubernetesClient, user: UserInfo, attributes: ResourceAttributes
) -> bool:
    """Whether *user* may do that. Raises ``KubernetesError``."""
    answer = await client.review(
        SUBJECT_ACCESS_REVIEWS, "SubjectAccessReview", access_review_spec(user, attributes)
    )
    return answer.get("allowed") is True


def access_review_spec(user: UserInfo, attributes: ResourceAttributes) -> dict[str, Any]:
    # A review calls "user" what a user's description calls "username".
    described = unstructure(user)
    named = {"user": described.pop("username", ""), **described}
    return {**named, "resourceAttributes": unstructure(attributes)}

"""Questions to the API server that are posted and never stored: tokens and permissions."""

from __future__ import annotations

from datetime import datetime

from kraftlet_trio.http.messages import Request, Response, json_response
from kraftlet_trio.simulators.kubernetes.bodies import decoded_body
from kraftlet_trio.simulators.kubernetes.identities import API_AUDIENCE, Identities, User
from kraftlet_trio.simulators.kubernetes.resources import Json

AUTHENTICATION = "authentication.k8s.io"
AUTHORIZATION = "authorization.k8s.io"

REVIEW_KINDS = {
    (AUTHENTICATION, "tokenreviews"): "TokenReview",
    (AUTHENTICATION, "selfsubjectreviews"): "SelfSubjectReview",
    (AUTHORIZATION, "subjectaccessreviews"): "SubjectAccessReview",
    (AUTHORIZATION, "selfsubjectaccessreviews"): "SelfSubjectAccessReview",
}


def answer_review(
    request: Request, identities: Identities, user: User, now: datetime
) -> Response | None:
    """None when the request is no review. Raises ``ApiError`` (400) for a body that is not one."""
    match request.path.strip("/").split("/"):
        case ["apis", group, "v1", plural] if (group, plural) in REVIEW_KINDS:
            kind = REVIEW_KINDS[group, plural]
        case _:
            return None
    if request.method != "POST":
        return None
    spec: Json = decoded_body(request).get("spec") or {}
    match kind:
        case "TokenReview":
            audiences = spec.get("audiences") or (API_AUDIENCE,)
            bearer = identities.bearer(spec.get("token", ""), now, audiences)
            status: Json = {"authenticated": bearer is not None}
            if bearer is not None:
                status["user"] = bearer.as_json()
        case "SelfSubjectReview":
            status = {"userInfo": user.as_json()}
        case _:
            status = {"allowed": True}
    metadata = {"creationTimestamp": None}
    answer = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": metadata, "spec": spec}
    return json_response({**answer, "status": status}, 201)

"""An API server that knows a few tokens and rights, and counts what it is asked."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from kraftlet_trio.http.messages import Handler, Request, Response, json_response

NODE = "kraftlet"


@attrs.define
class ReviewingApi:
    tokens: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    """A user by token."""
    rights: set[tuple[str, str, str]] = attrs.field(factory=set)
    """User, verb and subresource of the node."""
    pods: bytes = b'{"kind":"PodList","apiVersion":"v1","items":[]}'
    seconds: float = 0.0
    """What an answer takes."""
    status: int = 200
    """What is answered to everything, if not 200."""
    answer_others: Handler | None = None
    """Answers what is no review, in place of a list of *pods*."""
    requests: list[Request] = attrs.field(factory=list)

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        await trio.sleep(self.seconds)
        if self.status != 200:
            return json_response({"kind": "Status", "code": self.status}, self.status)
        match request.path.rpartition("/")[2]:
            case "tokenreviews":
                user = self.tokens.get(request.json()["spec"]["token"])
                return self._reviewed({"authenticated": user is not None, "user": user or {}})
            case "subjectaccessreviews":
                spec = request.json()["spec"]
                asked = spec["resourceAttributes"]
                assert (asked["resource"], asked["name"]) == ("nodes", NODE)
                right = (spec["user"], asked.get("verb", ""), asked["subresource"])
                return self._reviewed({"allowed": right in self.rights})
            case _ if self.answer_others is not None:
                return await self.answer_others(request)
            case _:
                return Response(headers={"content-type": "application/json"}, body=self.pods)

    def _reviewed(self, status: dict[str, Any]) -> Response:
        return json_response({"status": status}, 201)

    def asked(self, plural: str) -> list[dict[str, Any]]:
        """The specs of the reviews of that kind, in turn."""
        return [one.json()["spec"] for one in self.requests if one.path.endswith(plural)]

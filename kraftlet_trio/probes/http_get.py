"""httpGet: what an application's answer means for a probe, and for a hook.

Source: kubelet's probe/http/http.go and lifecycle/handlers.go, and the reference of probes for
redirects: those to the same host are followed ten times, any other one ends the probe well.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from kraftlet_trio.probes.http_exchange import (
    HttpAnswer,
    HttpAnsweredToTls,
    HttpFailed,
    get,
)
from kraftlet_trio.probes.http_request import HttpRequest, redirected
from kraftlet_trio.probes.means import NETWORK_HINT, Dial
from kraftlet_trio.probes.outcome import CannotProbe, Healthy, Outcome, Unhealthy

MOST_REDIRECTS = 10


async def probe_http(dial: Dial, request: HttpRequest, *, timeout_seconds: float) -> Outcome:
    """Healthy for a status from 200 to 399. Raises ``CannotProbe`` where a body breaks off."""
    stage = "connection"

    def at(reached: str) -> None:
        nonlocal stage
        stage = reached

    with trio.move_on_after(timeout_seconds):
        try:
            return _judged(await get_following(dial, request, at))
        except HttpFailed as error:
            return Unhealthy(f'Get "{request.url}": {error}')
    if stage == "body":
        raise CannotProbe(
            "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
        )
    hint = f" ({NETWORK_HINT})" if stage == "connection" else ""
    return Unhealthy(
        f'Get "{request.url}": context deadline exceeded '
        f"(Client.Timeout exceeded while awaiting headers){hint}"
    )


async def call_http(dial: Dial, request: HttpRequest) -> None:
    """Whatever the status and the body, as long as there is an answer. Raises ``HttpFailed``.

    A hook that asks for HTTPS where there is only HTTP gets that: before Kubernetes 1.23 the
    scheme was not looked at.
    """
    with suppress(CannotProbe):  # only the body can be the matter
        try:
            await get_following(dial, request)
        except HttpAnsweredToTls:
            await get_following(dial, request.over_http())


async def get_following(
    dial: Dial, request: HttpRequest, at: Callable[[str], None] = lambda _: None
) -> HttpAnswer:
    """The answer that redirects lead to, or the one that is not followed. Raises as ``get``."""
    origin = request
    for _ in range(MOST_REDIRECTS):
        answer = await get(dial, request, at)
        try:
            following = redirected(request, answer.status, answer.location)
        except ValueError as error:
            raise HttpFailed(str(error)) from error
        if following is None or following.leads_elsewhere(origin):
            return answer
        request = following
        at("connection")
    return await get(dial, request, at)


def _judged(answer: HttpAnswer) -> Outcome:
    if 200 <= answer.status < 300:
        return Healthy()
    if 300 <= answer.status < 400:
        body = answer.body.decode(errors="replace")
        return Healthy(f"Probe terminated redirects, Response body: {body}")
    # The body may hold what not everybody is to read (kubernetes issue 99425).
    return Unhealthy(f"HTTP probe failed with statuscode: {answer.status}")

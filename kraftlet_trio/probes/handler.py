"""A lifecycle hook's handler, run once.

Source: kubelet's lifecycle/handlers.go. An exit code counts, an HTTP status doesn't.
"""

from __future__ import annotations

import trio

from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.cloud.sandbox import CommandNotFound, SandboxMissing
from kraftlet_trio.kubernetes.pod import Container, HTTPGetAction, LifecycleHandler
from kraftlet_trio.probes.exec_command import MOST_OUTPUT_BYTES
from kraftlet_trio.probes.http_exchange import HttpFailed
from kraftlet_trio.probes.http_get import call_http
from kraftlet_trio.probes.http_request import http_request
from kraftlet_trio.probes.means import ProbeMeans
from kraftlet_trio.probes.outcome import CannotProbe


class HookError(Exception):
    """The handler failed. What a server or command said of it may be in the text."""


class HookImpossible(HookError):
    """The handler cannot be run. The text is for everybody, and says what to do."""


async def run_handler(
    means: ProbeMeans, handler: LifecycleHandler, container: Container, instance: Instance
) -> None:
    """Raises ``HookError``. Callers bound it in time."""
    if handler.exec is not None:
        await _run_command(means, handler.exec.command, instance)
    elif handler.http_get is not None:
        await _call(means, handler.http_get, container, instance)
    elif handler.sleep is not None:
        await trio.sleep(handler.sleep.seconds)
    else:
        raise HookImpossible(
            f"container {container.name} has a hook that cannot be run; "
            "write exec, httpGet or sleep"
        )


async def _call(
    means: ProbeMeans, action: HTTPGetAction, container: Container, instance: Instance
) -> None:
    if not means.network:
        raise HookImpossible(
            "the daemon does not reach instances over the network (KRAFTLET_PROBE_NETWORK=none); "
            "write an exec hook"
        )
    if not (action.host or instance.private_ip):
        raise HookImpossible("the instance has no private address yet")
    try:
        request = http_request(action, container, instance.private_ip, "lifecycle")
    except CannotProbe as error:
        raise HookImpossible(str(error)) from error
    try:
        await call_http(means.dial, request)
    except HttpFailed as error:
        raise HookError(str(error)) from error


async def _run_command(means: ProbeMeans, argv: tuple[str, ...], instance: Instance) -> None:
    try:
        result = await means.sandbox.run(
            instance.uuid, argv, timeout_seconds=None, most_bytes=MOST_OUTPUT_BYTES
        )
    except (SandboxMissing, CommandNotFound) as error:
        raise HookImpossible(str(error)) from error
    except CloudError as error:
        raise HookError(str(error)) from error
    if result.exit_code:
        output = result.output.decode(errors="replace")
        raise HookError(f"command terminated with exit code {result.exit_code}: {output}")

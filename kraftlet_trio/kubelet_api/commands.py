"""``/exec``, ``/run`` and ``/attach``: commands in containers, and what their consoles show."""

from __future__ import annotations

from functools import partial
from urllib.parse import unquote

import attrs

from kraftlet_trio.cloud.console import ConsolePage
from kraftlet_trio.cloud.errors import CloudError, CloudUnavailable, ResourceNotFound
from kraftlet_trio.cloud.objects import Instance
from kraftlet_trio.cloud.sandbox import CommandTimedOut, SandboxClient, quoted
from kraftlet_trio.commands.relayed_command import relay_command
from kraftlet_trio.commands.terminal import relay_terminal
from kraftlet_trio.consoles.consoles import Consoles
from kraftlet_trio.consoles.run_log import LogQuestion, RunLog
from kraftlet_trio.http.messages import Request, Response
from kraftlet_trio.kubelet_api.answers import text
from kraftlet_trio.kubelet_api.running_containers import (
    NotThere,
    RunningContainers,
    executes_commands,
)
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.mapping.annotations import ENABLE_EXEC
from kraftlet_trio.mapping.console_runs import Which
from kraftlet_trio.streaming.remote_command import CommandEnd, CommandStreams, WantedStreams
from kraftlet_trio.streaming.upgrade import upgrade_to_command

READY_SECONDS = 15.0
"""For a plugin whose instance wakes up, or has just started."""
RUN_SECONDS = 600.0
MOST_RUN_OUTPUT_BYTES = 1024 * 1024


@attrs.frozen
class Commands:
    """Their *path* is as ``RunningContainers.container`` takes it."""

    _containers: RunningContainers
    _sandbox: SandboxClient
    _consoles: Consoles

    async def exec(self, request: Request, *path: str) -> Response:
        argv = [value for name, value in request.query if name == "command"]
        try:
            wanted = _wanted(request)
            if not argv:
                raise NotThere(400, "you must specify the command: ?command=…&command=…")
            instance = await self._able(*path)
        except NotThere as refusal:
            return text(str(refusal), refusal.status)
        relay = relay_terminal if wanted.tty else relay_command
        return upgrade_to_command(
            request, wanted, partial(relay, self._sandbox, instance.uuid, argv)
        )

    async def run(self, request: Request, *path: str) -> Response:
        """Its words are split at single spaces; both its streams are in the answer."""
        argv = dict(request.query).get("cmd", "").split(" ")
        try:
            if not argv[0]:
                raise NotThere(400, "you must specify the command: ?cmd=…")
            instance = await self._able(*path)
            result = await self._sandbox.run(
                instance.uuid,
                argv,
                timeout_seconds=RUN_SECONDS,
                most_bytes=MOST_RUN_OUTPUT_BYTES,
            )
        except NotThere as refusal:
            return text(str(refusal), refusal.status)
        except (CloudError, CommandTimedOut) as error:
            return text(f"{error}\n", 500)
        if result.exit_code:
            output = result.output.decode(errors="replace")
            return text(f"command {quoted(argv)} exited with {result.exit_code}: {output}", 500)
        return Response(headers={"content-type": "text/plain"}, body=result.output)

    async def attach(self, request: Request, *path: str) -> Response:
        """What the console shows from now on, until the container's run is over."""
        try:
            wanted = _wanted(request)
            _, container, instance = self._containers.container(*path)
            if wanted.stdin:
                raise NotThere(
                    400,
                    f"the standard input of container {container.name} cannot be reached on "
                    "Unikraft Cloud; attach without it, or use exec",
                )
            if wanted.tty != container.tty:
                has = "has a terminal" if container.tty else "has no terminal"
                cure = f"ask for tty={int(container.tty)}"
                raise NotThere(400, f"container {container.name} {has}: {cure}")
            run = RunLog(self._consoles, instance.uuid, Which.LATEST, None)
            extent = await run.measure()
        except NotThere as refusal:
            return text(str(refusal), refusal.status)
        except ResourceNotFound:
            return text(f'container not found ("{unquote(path[-1])}")', 500)
        except CloudError as error:
            return text(f"Unikraft Cloud does not tell what the console shows: {error}", 503)
        return upgrade_to_command(request, wanted, partial(_show_console, run, extent))

    async def _able(self, *path: str) -> Instance:
        """The container's instance, once it executes commands. Raises ``NotThere``."""
        pod, container, instance = self._containers.container(*path)
        if not executes_commands(instance):
            raise NotThere(501, _no_sandbox(pod, container.name))
        try:
            await self._sandbox.wait_ready(instance.uuid, READY_SECONDS)
        except CloudUnavailable as error:
            raise NotThere(503, f"container {container.name} does not answer: {error}") from error
        except CloudError as error:
            raise NotThere(500, f"container {container.name}: {error}") from error
        return instance


def _wanted(request: Request) -> WantedStreams:
    """Raises ``NotThere``."""
    asked = {name for name, value in request.query if value in ("1", "true")}
    wanted = WantedStreams(
        stdin="input" in asked,
        stdout="output" in asked,
        stderr="error" in asked and "tty" not in asked,
        tty="tty" in asked,
    )
    if not (wanted.stdin or wanted.stdout or "error" in asked):
        raise NotThere(400, "you must specify at least 1 of stdin, stdout, stderr")
    return wanted


def _no_sandbox(pod: Pod, container: str) -> str:
    return (
        f"container {container} of Pod {pod.metadata.name} has no sandbox plugin, by which "
        f'commands are executed: create the Pod with the annotation {ENABLE_EXEC}: "true", or set '
        "KRAFTLET_ENABLE_EXEC=true for all Pods of the node"
    )


async def _show_console(run: RunLog, extent: ConsolePage, streams: CommandStreams) -> CommandEnd:
    question = LogQuestion(follow=True, tail_lines=0)
    try:
        await run.write(question, extent, streams.send_stdout)
    except CloudError as error:
        return CommandEnd(failure=str(error))
    return CommandEnd()

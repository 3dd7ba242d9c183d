"""A client's command, as of ``kubectl exec``: its streams are joined to one that runs inside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.cloud.sandbox import SandboxClient
from kraftlet_trio.commands.running_command import Output, RunningCommand
from kraftlet_trio.streaming.remote_command import CommandEnd, CommandStreams


async def relay_command(
    sandbox: SandboxClient, instance: str, argv: Sequence[str], streams: CommandStreams
) -> CommandEnd:
    """Run *argv* in the instance with that UUID for whoever is at the other end of *streams*.

    It is killed when the client leaves.
    """

    async def show(output: Output) -> None:
        await streams.send_stdout(output.stdout)
        await streams.send_stderr(output.stderr)

    try:
        command = await RunningCommand.start(sandbox, instance, argv)
    except CloudError as error:
        return CommandEnd(failure=str(error))
    async with command:
        return await relayed(command, show, partial(pass_input_on, command, streams))


async def relayed(
    command: RunningCommand,
    show: Callable[[Output], Awaitable[None]],
    *inputs: Callable[[], Awaitable[None]],
) -> CommandEnd:
    """Show what it writes until its end, with *inputs* under way meanwhile."""
    failures: list[str] = []
    async with trio.open_nursery() as nursery:

        async def guarded(work: Callable[[], Awaitable[None]]) -> None:
            try:
                await work()
            except CloudError as error:
                failures.append(str(error))
                nursery.cancel_scope.cancel()

        async def show_all() -> None:
            while output := await command.read():
                await show(output)
            nursery.cancel_scope.cancel()

        for work in (show_all, *inputs):
            nursery.start_soon(guarded, work)
    return CommandEnd(exit_code=command.exit_code or 0, failure="; ".join(failures))


async def pass_input_on(command: RunningCommand, streams: CommandStreams) -> None:
    reads = True
    # What it does not read is taken all the same: other streams share the client's connection.
    while data := await streams.receive_stdin():
        reads = reads and await command.write(data)
    if reads:
        await command.end_input()

"""A client's command with a terminal, which the platform itself has none of.

A program in the guest opens one where it can: ``script`` of util-linux, or else Python. It says
which one it is before anything else, so that its size can be set from outside. Without either the
daemon itself does to the characters what nobody could type a line without.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from functools import partial

import attrs
import structlog
import trio

from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.cloud.sandbox import CommandNotFound, SandboxClient
from kraftlet_trio.commands.line_discipline import Key, LineDiscipline, printed
from kraftlet_trio.commands.relayed_command import pass_input_on, relayed
from kraftlet_trio.commands.running_command import Output, RunningCommand
from kraftlet_trio.streaming.remote_command import CommandEnd, CommandStreams, TerminalSize

log = structlog.get_logger()

FIRST_SIZE_SECONDS = 0.5
"""Clients tell it at once, if at all."""
RESIZE_SECONDS = 10.0
NOTICE = (
    b"No terminal in this container, for want of util-linux's script and of python3:\r\n"
    b"lines go to the command whole, and programs that draw on the screen do not work.\r\n"
)

_MARK = b"\x1e"
_NONE = "none"
# Behind its name: what is to run in the terminal, the Python that opens one, and the plain words.
_OPEN_TERMINAL = """\
export TERM="${TERM:-xterm}" SHELL=/bin/sh
if [ -c /dev/ptmx ]; then
  case "$(script --version 2>/dev/null)" in
    *util-linux*) exec script -qefc "$1" /dev/null ;;
  esac
  if command -v python3 >/dev/null 2>&1; then
    exec python3 -c "$2" "$1"
  fi
fi
shift 2
printf '\\036none\\036'
exec "$@"
"""
_OPEN_BY_PYTHON = """\
import os, pty, sys
code = os.waitstatus_to_exitcode(pty.spawn(["/bin/sh", "-c", sys.argv[1]]))
sys.exit(code if code >= 0 else 128 - code)
"""


async def relay_terminal(
    sandbox: SandboxClient, instance: str, argv: Sequence[str], streams: CommandStreams
) -> CommandEnd:
    """As ``relay_command``, with the best terminal that can be had."""
    try:
        command, tty, begun = await _start(sandbox, instance, argv, await _first_size(streams))
    except CloudError as error:
        return CommandEnd(failure=str(error))
    async with command:
        if tty == _NONE:
            plain = _PlainTerminal(command, streams)
            await streams.send_stdout(NOTICE + printed(begun))
            return await relayed(command, plain.show, plain.type_in)

        async def show(output: Output) -> None:
            await streams.send_stdout(output.stdout + output.stderr)

        await streams.send_stdout(begun)
        resize = partial(_resize, sandbox, instance, tty, streams)
        return await relayed(command, show, partial(pass_input_on, command, streams), resize)


async def _start(
    sandbox: SandboxClient, instance: str, argv: Sequence[str], size: TerminalSize | None
) -> tuple[RunningCommand, str, bytes]:
    """The command, its terminal's device, and what it has written already.

    Raises ``CloudError``.
    """
    words = terminal_command(argv, size)
    try:
        command = await RunningCommand.start(sandbox, instance, words)
    except CommandNotFound:  # there is no shell
        return await RunningCommand.start(sandbox, instance, argv), _NONE, b""
    try:
        written = b""
        while (said := announced(written)) is None and (output := await command.read()):
            written += output.stdout + output.stderr
    except BaseException:
        await command.aclose()
        raise
    tty, rest = said or ("", written)
    return command, tty, rest


def terminal_command(argv: Sequence[str], size: TerminalSize | None) -> list[str]:
    """The words that run *argv* in a terminal of that size, which is announced first."""
    fit = "" if size is None else f"stty rows {size.height} cols {size.width} 2>/dev/null; "
    inside = f"{fit}printf '\\036%s\\036' \"$(tty)\"; exec {shlex.join(argv)}"
    return ["/bin/sh", "-c", _OPEN_TERMINAL, "sh", inside, _OPEN_BY_PYTHON, *argv]


def announced(written: bytes) -> tuple[str, bytes] | None:
    """The terminal's device and what was written behind its announcement.

    None while that is not whole; an empty name where something else has been written.
    """
    if not written.startswith(_MARK):
        return ("", written) if written else None
    tty, mark, rest = written[1:].partition(_MARK)
    return (tty.decode(errors="replace"), rest) if mark else None


async def _first_size(streams: CommandStreams) -> TerminalSize | None:
    with trio.move_on_after(FIRST_SIZE_SECONDS):
        return await streams.receive_size()
    return None


async def _resize(sandbox: SandboxClient, instance: str, tty: str, streams: CommandStreams) -> None:
    while tty.startswith("/"):
        size = await streams.receive_size()
        words = ("stty", "-F", tty, "rows", str(size.height), "cols", str(size.width))
        try:
            await sandbox.run(instance, words, timeout_seconds=RESIZE_SECONDS, most_bytes=1024)
        except CloudError as error:
            log.debug("terminal not resized", instance=instance, error=str(error))


@attrs.define(eq=False)
class _PlainTerminal:
    """The daemon's own means, in front of a command that has pipes only."""

    _command: RunningCommand
    _streams: CommandStreams
    _discipline: LineDiscipline = attrs.field(factory=LineDiscipline, init=False)
    _showing: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def show(self, output: Output) -> None:
        async with self._showing:
            await self._streams.send_stdout(printed(output.stdout + output.stderr))

    async def type_in(self) -> None:
        reads = True
        while data := await self._streams.receive_stdin():
            shown, events = self._discipline.typed(data)
            async with self._showing:
                await self._streams.send_stdout(shown)
            for event in events:
                match event:
                    case Key.INTERRUPT:
                        await self._command.send_signal(signal.SIGINT)
                    case Key.QUIT:
                        await self._command.send_signal(signal.SIGQUIT)
                    case Key.END_OF_FILE:
                        await self._command.end_input()
                        reads = False
                    case line:
                        reads = reads and await self._command.write(line)

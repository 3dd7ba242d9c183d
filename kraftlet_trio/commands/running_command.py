"""A command that runs inside an instance: its output as it comes, its input, its end.

The sandbox plugin tells nothing by itself: output is asked for, at once while some comes, and ever
more seldom while none does. All of it stays in the guest's memory until the command is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs
import trio

from kraftlet_trio.cloud.errors import CloudUnavailable
from kraftlet_trio.cloud.sandbox import (
    MOST_STDIN_BYTES,
    CommandGone,
    CommandLogs,
    SandboxClient,
    SandboxMissing,
)
from kraftlet_trio.doorbell import Doorbell

START_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0
MOST_OUTPUT_BYTES = 256 * 1024
"""Of each stream, in one answer."""
UNANSWERED_SECONDS = 10.0
"""For how long reading goes on while the platform does not answer."""
CLOSE_SECONDS = 5.0
KILLED = 137


@attrs.frozen
class Output:
    """Of both streams, in no order between them; empty at the end of the command."""

    stdout: bytes = b""
    stderr: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.stdout or self.stderr)


@attrs.define(eq=False)
class RunningCommand(trio.abc.AsyncResource):
    """Close it, or use it as a context: what still runs then is killed.

    All methods raise ``CloudError`` where the platform does not answer.
    """

    _sandbox: SandboxClient
    _instance: str
    _command: str
    exit_code: int | None = attrs.field(default=None, init=False)
    """Known once its output has ended; that of a kill where its container stopped before it."""
    _stdout_read: int = attrs.field(default=0, init=False)
    _stderr_read: int = attrs.field(default=0, init=False)
    _pause: float = attrs.field(default=FIRST_PAUSE_SECONDS, init=False)
    _written: Doorbell = attrs.field(factory=Doorbell, init=False)

    @classmethod
    async def start(
        cls, sandbox: SandboxClient, instance: str, argv: Sequence[str]
    ) -> RunningCommand:
        """Start it in the instance with that UUID.

        It is not left half-way: who cancels waits for 15 s at most. Raises ``CloudError``.
        """
        with trio.move_on_after(START_SECONDS, shield=True):
            return cls(sandbox, instance, await sandbox.start(instance, argv))
        raise CloudUnavailable(f"the command did not start within {START_SECONDS:.0f} s")

    async def read(self) -> Output:
        """The next output, as soon as there is some; empty at the end."""
        exit_code = None
        while self.exit_code is None:
            try:
                logs = await self._logs()
            except (CommandGone, SandboxMissing):
                self.exit_code = KILLED
                break
            self._stdout_read += len(logs.stdout)
            self._stderr_read += len(logs.stderr)
            if logs.stdout or logs.stderr:
                self._pause = FIRST_PAUSE_SECONDS
                return Output(logs.stdout, logs.stderr)
            if exit_code is not None:
                self.exit_code = exit_code
                break
            await self._wait()
            # Asked before the output: what has ended has written all of it.
            exit_code = await self._ended()
        return Output()

    async def write(self, data: bytes) -> bool:
        """Give it input; False if it reads no more. While it does not read, this waits."""
        for start in range(0, len(data), MOST_STDIN_BYTES):
            if not await self._write(data[start : start + MOST_STDIN_BYTES], eof=False):
                return False
        return True

    async def end_input(self) -> None:
        await self._write(b"", eof=True)

    async def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended already."""
        with suppress(CommandGone, SandboxMissing):
            await self._sandbox.send_signal(self._instance, self._command, number)

    async def aclose(self) -> None:
        """Kill what still runs, and free what the plugin keeps of it; takes 5 s at most."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._sandbox.free(self._instance, self._command)

    async def _wait(self) -> None:
        with trio.move_on_after(self._pause) as resting:
            await self._written.wait()
        longer = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._pause = longer if resting.cancelled_caught else FIRST_PAUSE_SECONDS

    async def _ended(self) -> int | None:
        try:
            return await self._sandbox.exit_code(self._instance, self._command)
        except CloudUnavailable:
            return None  # to be asked again
        except (CommandGone, SandboxMissing):
            return KILLED

    async def _logs(self) -> CommandLogs:
        give_up_at = trio.current_time() + UNANSWERED_SECONDS
        while True:
            try:
                return await self._sandbox.logs(
                    self._instance,
                    self._command,
                    stdout_from=self._stdout_read,
                    stderr_from=self._stderr_read,
                    most_bytes=MOST_OUTPUT_BYTES,
                )
            except CloudUnavailable:
                if trio.current_time() > give_up_at:
                    raise
            await trio.sleep(LONGEST_PAUSE_SECONDS)

    async def _write(self, data: bytes, *, eof: bool) -> bool:
        try:
            await self._sandbox.write_stdin(self._instance, self._command, data, eof=eof)
        except (CommandGone, SandboxMissing):
            return False
        self._written.ring()
        return True

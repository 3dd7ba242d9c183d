"""A connection to a port inside of an instance, by a command that runs there.

For daemons that do not reach the instances' private network. What relays is whatever the guest
has of socat, nc, python3 and bash.
"""

from __future__ import annotations

import errno

import attrs
import trio

from kraftlet_trio.cloud.errors import CloudError
from kraftlet_trio.cloud.sandbox import SandboxClient
from kraftlet_trio.commands.running_command import RunningCommand

_CONNECTED = b"\n"
_REFUSED = 111

# Behind its name: the port, and the Python that relays. An empty line says that it is connected.
_RELAY = """\
wanted=$(printf ':%04X' "$1")
known= listens=
for table in /proc/net/tcp /proc/net/tcp6; do
  if [ -r "$table" ]; then
    known=1
    while read -r _ local _ state _; do
      case "$local $state" in
        *"$wanted 0A") listens=1 ;;
      esac
    done <"$table"
  fi
done
if [ -n "$known" ] && [ -z "$listens" ]; then
  exit 111
fi
if command -v socat >/dev/null 2>&1; then
  echo
  exec socat -t 86400 STDIO "TCP:127.0.0.1:$1"
elif command -v python3 >/dev/null 2>&1; then
  echo
  exec python3 -c "$2" "$1"
elif command -v nc >/dev/null 2>&1; then
  echo
  exec nc 127.0.0.1 "$1"
elif command -v bash >/dev/null 2>&1; then
  echo
  exec bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" 4<&0; cat <&4 >&3 & cat <&3; kill $!' bash "$1"
fi
echo "the container has none of socat, python3, nc and bash" >&2
exit 127
"""
_RELAY_BY_PYTHON = """\
import os, socket, sys, threading
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def send():
    while data := os.read(0, 65536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := connection.recv(65536):
    while data:
        data = data[os.write(1, data):]
"""


async def open_tunnel(
    sandbox: SandboxClient, instance: str, port: int
) -> trio.abc.HalfCloseableStream:
    """Connect to that port of the instance's own loopback address.

    Raises ``OSError``: refused where nobody listens, else with the platform's or the guest's words.
    """
    try:
        command = await RunningCommand.start(sandbox, instance, relay_command_line(port))
    except CloudError as error:
        raise OSError(f"through the sandbox plugin: {error}") from error
    tunnel = _Tunnel(command)
    try:
        await tunnel.wait_connected()
    except BaseException:
        await command.aclose()
        raise
    return tunnel


def relay_command_line(port: int) -> list[str]:
    """It writes an empty line once it is connected, or ends with 111 where nobody listens."""
    return ["/bin/sh", "-c", _RELAY, "sh", str(port), _RELAY_BY_PYTHON]


@attrs.define(eq=False)
class _Tunnel(trio.abc.HalfCloseableStream):
    _command: RunningCommand
    _unread: bytes = attrs.field(default=b"", init=False)

    async def wait_connected(self) -> None:
        """Raises ``OSError``."""
        problem = b""
        try:
            while output := await self._command.read():
                problem += output.stderr
                if output.stdout:
                    self._unread = output.stdout.removeprefix(_CONNECTED)
                    return
        except CloudError as error:
            raise OSError(f"through the sandbox plugin: {error}") from error
        if self._command.exit_code == _REFUSED:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
        words = problem.decode(errors="replace").strip()
        raise OSError(f"through the sandbox plugin: {words or self._command.exit_code}")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._unread:
            try:
                output = await self._command.read()
            except CloudError as error:
                raise trio.BrokenResourceError(str(error)) from error
            if not output:
                return b""
            self._unread = output.stdout
        size = len(self._unread) if max_bytes is None else max_bytes
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            taken = await self._command.write(bytes(data))
        except CloudError as error:
            raise trio.BrokenResourceError(str(error)) from error
        if not taken:
            raise trio.BrokenResourceError("the relay has ended")

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        try:
            await self._command.end_input()
        except CloudError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def aclose(self) -> None:
        await self._command.aclose()

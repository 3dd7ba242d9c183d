"""The words by which a port is reached from inside, run by a real shell."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading

import pytest

from kraftlet_trio.commands.tunnel import relay_command_line

TOOLS = ("sh", "cat", "printf")


@pytest.fixture(params=["socat", "python3", "nc", "bash"])
def guest(request, tmp_path):
    """Environment of a guest that has that one means."""
    found = sys.executable if request.param == "python3" else shutil.which(request.param)
    if found is None:
        pytest.skip(f"this machine lacks {request.param}")
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool))
    (tmp_path / request.param).symlink_to(found)
    return request.param, {"PATH": str(tmp_path)}


def test_bytes_go_both_ways(guest):
    means, environment = guest
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received = []

        def serve():
            connection, _ = listener.accept()
            with connection:
                asked = connection.recv(65536)
                received.append(asked)
                connection.sendall(asked.upper() * 1000)
                if means != "bash":  # which cannot close one half
                    received.append(connection.recv(65536))

        server = threading.Thread(target=serve)
        server.start()
        with subprocess.Popen(
            relay_command_line(listener.getsockname()[1]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        ) as relay:
            assert relay.stdin is not None
            assert relay.stdout is not None
            assert relay.stdout.readline() == b"\n"
            relay.stdin.write(b"question")
            relay.stdin.flush()
            assert relay.stdout.read(8000) == b"QUESTION" * 1000
            relay.stdin.close()
            assert relay.stdout.read() == b""
            server.join(timeout=10)
        assert received[0] == b"question"
        assert received[1:] in ([], [b""])


def test_a_port_where_nobody_listens_is_refused(guest):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = subprocess.run(
        relay_command_line(port), stdin=subprocess.DEVNULL, capture_output=True, env=guest[1]
    )
    assert (done.returncode, done.stdout) == (111, b"")


def test_a_guest_without_any_means_says_so(tmp_path):
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = subprocess.run(
            relay_command_line(listener.getsockname()[1]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": str(tmp_path)},
        )
    assert done.returncode == 127
    assert done.stderr == b"the container has none of socat, python3, nc and bash\n"

"""``kubectl exec``, ``cp``, ``attach`` and ``port-forward``, by each of kubectl's protocols.

Containers are processes of this machine, and the API server is a real one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from kraftlet_trio.mapping.annotations import POD_PREFIX
from tests.e2e.bed.cloud import Cloud, running_cloud
from tests.e2e.bed.daemon import Daemon
from tests.e2e.bed.expectations import pod_is_ready
from tests.e2e.bed.kubectl import KUBECTL, Kubectl
from tests.e2e.bed.processes import free_port
from tests.e2e.bed.waiting import eventually
from tests.e2e.bed.workloads import a_pod

NODE = "kraftlet-commands"
HERE: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": NODE}}
PROTOCOLS = {
    "websocket": {},
    "spdy": {
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false",
        "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false",
    },
}


def shell(script: str) -> dict[str, Any]:
    return {"name": "app", "image": "busybox", "command": ["sh", "-c", script]}


@pytest.fixture(scope="module")
def processes(folder: Path) -> Iterator[Cloud]:
    with running_cloud(folder, processes=True) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def daemon(
    processes: Cloud, folder: Path, daemon_kubeconfig: Path, kubectl: Kubectl
) -> Iterator[Daemon]:
    """A node of its own, before a cloud of its own."""
    options = {"KRAFTLET_ENABLE_EXEC": "true", "KRAFTLET_PROBE_NETWORK": "direct"}
    daemon = Daemon(processes.url, daemon_kubeconfig, folder, node=NODE, options=options)
    daemon.start()
    try:
        daemon.wait_until_ready()
        kubectl.apply(a_pod("box", **HERE, containers=[shell("exec sleep 1000")]))
        eventually(lambda: pod_is_ready(kubectl, "box"))
        yield daemon
        assert daemon.bugs(0) == []
    finally:
        pods = f"--field-selector=spec.nodeName={NODE}"
        kubectl("delete", "pods", pods, "--grace-period=1", "--timeout=30s")
        daemon.stop()
        kubectl("delete", "node", NODE, "--ignore-not-found")


@pytest.fixture(params=PROTOCOLS)
def environment(request: pytest.FixtureRequest, kubectl: Kubectl) -> dict[str, str]:
    return {
        **os.environ,
        "KUBECONFIG": str(kubectl.kubeconfig),
        "HOME": str(kubectl.home),
        **PROTOCOLS[request.param],
    }


def run(
    environment: dict[str, str], *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [KUBECTL, *arguments], input=stdin, capture_output=True, env=environment, timeout=60
    )


class Terminal:
    """kubectl with a terminal of its own, as somebody sits before it."""

    def __init__(
        self, environment: dict[str, str], width: int, height: int, *arguments: str
    ) -> None:
        self._screen, inner = pty.openpty()
        self._fit(width, height)
        self.seen = b""
        self._client = subprocess.Popen(
            [KUBECTL, *arguments],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environment,
            start_new_session=True,
        )
        os.close(inner)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.kill()
        self._client.wait()
        os.close(self._screen)

    def resize(self, width: int, height: int) -> None:
        self._fit(width, height)
        self._client.send_signal(signal.SIGWINCH)

    def _fit(self, width: int, height: int) -> None:
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def expect(self, *words: bytes) -> None:
        """Any of *words*, behind what was expected before."""
        end = time.monotonic() + 20
        while not any(word in self.seen for word in words):
            assert time.monotonic() < end, self.seen
            if select.select([self._screen], [], [], 0.5)[0]:
                self.seen += os.read(self._screen, 65536)
        self.seen = self.seen.split(next(word for word in words if word in self.seen), 1)[1]

    def wait(self) -> int:
        return self._client.wait(timeout=20)


def test_streams_are_apart_and_the_exit_code_is_the_commands(daemon, environment) -> None:
    script = "cat; echo to stderr >&2; exit 42"
    done = run(environment, "exec", "-i", "box", "--", "sh", "-c", script, stdin=b"to stdout")
    assert done.stdout == b"to stdout"
    assert done.stderr.splitlines() == [
        b"to stderr",
        b"command terminated with exit code 42",
    ]
    assert done.returncode == 42


def test_ten_megabytes_go_in_and_come_back_as_they_were(daemon, environment) -> None:
    data = os.urandom(10 * 1024 * 1024)
    done = run(environment, "exec", "-i", "box", "--", "cat", stdin=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_what_is_no_program_is_said(daemon, environment) -> None:
    done = run(environment, "exec", "box", "--", "no-such-program")
    assert done.returncode != 0
    assert b"Program not found: no-such-program" in done.stderr


def test_a_command_ends_with_its_client(daemon, environment, tmp_path) -> None:
    told = tmp_path / "told"
    client = subprocess.Popen(
        [KUBECTL, "exec", "box", "--", "sh", "-c", f"echo $$ >{told}; exec sleep 1000"],
        env=environment,
    )
    eventually(lambda: told.exists() and told.read_text().strip())
    command = Path("/proc", told.read_text().strip())
    assert command.exists()
    client.kill()
    client.wait()
    eventually(lambda: not command.exists())


def test_a_terminal_has_the_clients_size_and_follows_it(daemon, environment) -> None:
    with Terminal(environment, 100, 30, "exec", "-it", "box", "--", "sh") as terminal:
        terminal.expect(b"# ", b"$ ")
        terminal.type(b"test -t 0 && test -t 1 && echo has a term''inal\r")
        terminal.expect(b"has a terminal")
        terminal.type(b"stty size\r")
        terminal.expect(b"30 100")
        script = "trap \"echo told of ch''ange; exit\" WINCH; echo lis''tens; "
        script += "while :; do sleep 0.1; done"
        terminal.type(f"sh -c '{script}'\r".encode())
        terminal.expect(b"listens")
        terminal.resize(71, 41)
        terminal.expect(b"told of change")
        terminal.type(b"stty size\r")
        terminal.expect(b"41 71")
        terminal.type(b"sleep 1000\r")
        terminal.expect(b"sleep 1000")
        terminal.type(b"\x03")
        terminal.type(b"exit 7\r")
        assert terminal.wait() == 7


def test_files_are_copied_both_ways(daemon, environment, tmp_path) -> None:
    here, there, back = (tmp_path / name for name in ("here", "there", "back"))
    (here / "deep" / "er").mkdir(parents=True)
    (here / "empty").mkdir()
    (here / "a").write_bytes(os.urandom(300_000))
    (here / "deep" / "er" / "b.sh").write_text("echo b\n")
    (here / "deep" / "er" / "b.sh").chmod(0o750)
    for source, target in ((here, f"box:{there}"), (f"box:{there}", back)):
        done = run(environment, "cp", str(source), str(target))
        assert done.returncode == 0, done.stderr
    assert contents(there) == contents(back) == contents(here)
    # On the way back kubectl gives them modes of its own.
    assert (there / "deep" / "er" / "b.sh").stat().st_mode & 0o777 == 0o750


def contents(folder: Path) -> dict[str, bytes]:
    """By path; of folders, nothing."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def upgrades(daemon: Daemon) -> int:
    """How many connections the daemon speaks a streaming protocol on, or did."""
    return daemon.log.read_text().count('"connection upgraded"')


def test_a_console_is_attached_to_from_now_on(daemon, environment, kubectl) -> None:
    script = "echo before; while [ ! -e go ]; do sleep 0.1; done; seq 3; exit 3"
    kubectl.apply(a_pod("says", **HERE, restartPolicy="Never", containers=[shell(script)]))
    try:
        eventually(lambda: pod_is_ready(kubectl, "says"))
        eventually(lambda: kubectl("logs", "says").stdout == "before\n")
        before = upgrades(daemon)
        with subprocess.Popen(
            [KUBECTL, "attach", "says"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        ) as attached:
            eventually(lambda: upgrades(daemon) > before)
            run(environment, "exec", "says", "--", "touch", "go")
            stdout, stderr = attached.communicate(timeout=30)
        assert stdout == b"1\n2\n3\n"
        assert attached.returncode == 0, stderr
    finally:
        kubectl("delete", "pod", "says", "--grace-period=1")


def test_input_cannot_be_attached_to(daemon, environment) -> None:
    done = run(environment, "attach", "-i", "box", stdin=b"hello")
    assert done.returncode != 0
    assert b"the standard input of container app cannot be reached" in done.stderr


SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer((ADDRESS), Handler)
open("serves", "w").close()
server.serve_forever()
"""


def a_server(name: str, address: str) -> dict[str, Any]:
    """Of HTTP: it sends back what is posted to it. *address* is Python."""
    container = {
        "name": "app",
        "image": "busybox",
        "command": [sys.executable, "-c", SERVER.replace("ADDRESS", address)],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"exec": {"command": ["test", "-e", "serves"]}, "periodSeconds": 1},
    }
    pod = a_pod(name, **HERE, containers=[container])
    # Its address is one of this machine's: traffic to it neither counts nor wakes.
    pod["metadata"]["annotations"] = {f"{POD_PREFIX}scale_to_zero.policy": "off"}
    return pod


@pytest.fixture(scope="module")
def web(daemon: Daemon, kubectl: Kubectl) -> None:
    kubectl.apply(a_server("web", 'os.environ["UKC_SIM_IP"], 8080'))
    eventually(lambda: pod_is_ready(kubectl, "web"))


@contextmanager
def forwarded(environment: dict[str, str], target: str, port: int) -> Iterator[int]:
    """The port here that leads there."""
    with subprocess.Popen(
        [KUBECTL, "port-forward", target, f":{port}"],
        stdout=subprocess.PIPE,
        env=environment,
    ) as client:
        assert client.stdout is not None
        found = re.match(rb"Forwarding from 127.0.0.1:(\d+) ->", client.stdout.readline())
        assert found is not None
        try:
            yield int(found[1])
        finally:
            client.terminate()


@pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl")
def test_a_port_is_forwarded_to_curl(web, environment) -> None:
    with forwarded(environment, "pod/web", 8080) as port:

        def answers() -> bool:
            done = subprocess.run(
                ["curl", "-sf", "--data-binary", "hello", f"http://127.0.0.1:{port}/"],
                capture_output=True,
            )
            return done.stdout == b"hello"

        eventually(answers)


def test_twenty_four_connections_are_forwarded_at_once(web, environment) -> None:
    def ask(port: int) -> bool:
        body = os.urandom(200_000)
        url = f"http://127.0.0.1:{port}/"
        with httpx.Client(trust_env=False, timeout=30) as client:
            return all(client.post(url, content=body).content == body for _ in range(3))

    with forwarded(environment, "pod/web", 8080) as port, ThreadPoolExecutor(24) as pool:
        eventually(lambda: ask(port))
        assert list(pool.map(ask, [port] * 24)) == [True] * 24


def by_python(
    kubectl: Kubectl, *arguments: str, stdin: bytes
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tests.e2e.bed.python_client", *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)},
        timeout=60,
    )


def test_the_python_client_executes_commands(daemon, kubectl) -> None:
    script = "read line; echo got $line; echo oops >&2; seq 100000; exit 42"
    done = by_python(kubectl, "exec", "box", "sh", "-c", script, stdin=b"something\n")
    assert done.returncode == 42, done.stderr
    numbers = [str(number).encode() for number in range(1, 100_001)]
    assert done.stdout.splitlines() == [b"got something", *numbers]
    assert done.stderr == b"oops\n"


def test_the_python_client_forwards_ports(web, kubectl) -> None:
    body = b"hello" * 10_000
    head = f"POST / HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: {len(body)}"
    done = by_python(
        kubectl, "port-forward", "web", "8080", stdin=head.encode() + b"\r\n\r\n" + body
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"HTTP/1.1 200")
    assert done.stdout.endswith(b"\r\n\r\n" + body)


@pytest.fixture
def far_daemon(daemon: Daemon) -> Iterator[Daemon]:
    """The same, but not on the instances' private network."""
    near = daemon.options
    for options in ({**near, "KRAFTLET_PROBE_NETWORK": "none"}, near):
        daemon.stop()
        daemon.options = options
        daemon.start()
        daemon.wait_until_ready()
        if options is not near:
            yield daemon


def test_ports_are_reached_through_the_container_where_the_network_is_not(
    far_daemon, environment, kubectl
) -> None:
    port = free_port()
    kubectl.apply(a_server("inner", f'"127.0.0.1", {port}'))
    eventually(lambda: pod_is_ready(kubectl, "inner"))
    body = os.urandom(200_000)
    with (
        forwarded(environment, "pod/inner", port) as local,
        httpx.Client(trust_env=False, timeout=30) as client,
    ):
        for _ in range(3):
            assert client.post(f"http://127.0.0.1:{local}/", content=body).content == body
    kubectl("delete", "pod", "inner", "--grace-period=1")


def test_a_port_where_nobody_listens_is_said(daemon, environment) -> None:
    with socket.socket() as connection, forwarded(environment, "pod/box", 9) as port:
        connection.connect(("127.0.0.1", port))
        assert connection.recv(1) == b""
